"""What pages are made of: the document, with the house's style, and the parts that stand in it, as HTML."""

import html
import textwrap
from collections.abc import Sequence

from fewbits.eval.palette import DARK, LIGHT

STYLE = f"""
:root {{ color-scheme: light dark; --paper: #ffffff; --shade: #f4f6f8; {LIGHT} }}
@media (prefers-color-scheme: dark) {{ :root {{ --paper: #14171b; --shade: #1d2126; {DARK} }} }}
""" + """body { margin: 0 auto; max-width: 72rem; padding: 1.5rem; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.6rem; margin: 0 0 .3rem; } h2 { font-size: 1.2rem; margin: 2.2rem 0 .6rem; }
.scroll + h1 { margin-top: 3.5rem; }
p { max-width: 48rem; margin: .4rem 0; } .faint { color: var(--faint); }
svg { width: 100%; min-width: 36rem; height: auto; font-family: system-ui, sans-serif; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .8rem; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap; }
th { font-weight: 600; background: var(--shade); } th:first-child, td:first-child { text-align: left; }
tr.neural td { font-weight: 600; }
.words th:last-child, .words td:last-child { white-space: normal; text-align: left; min-width: 16rem; }
details .words td:last-child { white-space: nowrap; }
.crops { display: flex; flex-wrap: wrap; gap: .8rem; margin: .6rem 0 1.6rem; }
figure { margin: 0; } figure img { display: block; image-rendering: pixelated; }
figcaption { font-size: .82rem; line-height: 1.35; margin-top: .2rem; }
pre { overflow-x: auto; background: var(--shade); padding: .6rem .8rem; margin: .6rem 0;
  font-size: .85rem; }
audio { display: block; width: 100%; min-width: 15rem; margin-top: .3rem; }
a { color: var(--series-1); }
summary { cursor: pointer; padding: .3rem 0; }
"""


def document(title: str, body: Sequence[str]) -> str:
    """A whole page that fetches nothing, in light or dark colours as the reader has it."""
    return ('<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            f"<title>{text(title)}</title><style>{STYLE}</style></head><body>\n" + "\n".join(body)
            + "\n</body></html>\n")


def section(title: str, words: str, content: str) -> str:
    """A heading, a sentence or none, and what follows, which is HTML already."""
    return f"<h2>{text(title)}</h2>{note(words)}{content}"


def note(words: str) -> str:
    return f'<p class="faint">{text(words)}</p>' if words else ""


def plot(svg: str) -> str:
    """A plot that stays large enough to be read on a narrow screen."""
    return f'<div class="scroll">{svg}</div>'


def command(line: str) -> str:
    return f"<pre>{text(in_lines(line))}</pre>"


def in_lines(command: str) -> str:
    """A command in lines that a shell joins again."""
    whole = command.replace("--codec ", "--codec\0")  # which stays with its name
    lines = textwrap.wrap(whole, 112, break_on_hyphens=False, break_long_words=False)
    return " \\\n    ".join(lines).replace("\0", " ")


def table(head: Sequence[str], rows: Sequence[Sequence[str]], neural: Sequence[str], words: bool = False) -> str:
    """A table whose rows of neural codecs are set in bold; `words`: the last column holds text, not a figure."""
    inside = "<tr>" + "".join(f"<th>{text(cell)}</th>" for cell in head) + "</tr>"
    for row in rows:
        kind = ' class="neural"' if row[0] in neural else ""
        inside += f"<tr{kind}>" + "".join(f"<td>{text(cell)}</td>" for cell in row) + "</tr>"
    kind = ' class="words"' if words else ""
    return f'<div class="scroll"><table{kind}>{inside}</table></div>'


def text(value: object) -> str:
    """Anything as text that means no tags."""
    return html.escape(str(value))
