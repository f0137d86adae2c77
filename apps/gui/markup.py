"""Facts as HTML for the page. All text is escaped."""

import html
from collections.abc import Sequence

from fewbits.codecs.files import Part
from fewbits.eval.palette import DARK, LIGHT

STYLE = f"""
.fewbits {{ {LIGHT} }} .dark .fewbits {{ {DARK} }}
""" + """
.fewbits .facts { display: flex; flex-wrap: wrap; gap: .6rem 2.2rem; }
.fewbits .facts div { min-width: 5rem; }
.fewbits .facts dt { font-size: .8rem; color: var(--faint); }
.fewbits .facts dd { margin: 0; font-size: 1.1rem; font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
.fewbits .notes { margin: .8rem 0 0; color: var(--faint); }
.fewbits .bar { display: flex; height: 2.2rem; border-radius: 6px; overflow: hidden; background: var(--line); }
.fewbits .bar span { min-width: 2px; border-right: 1px solid var(--background-fill-primary); }
.fewbits .bar span.lost { background: repeating-linear-gradient(45deg, var(--faint) 0 4px, transparent 4px 8px); }
.fewbits .parts { margin-top: .8rem; font-variant-numeric: tabular-nums; }
.fewbits .parts div { display: flex; gap: .6rem; align-items: center; padding: .2rem 0;
  border-bottom: 1px solid var(--line); }
.fewbits .parts i { width: .8rem; height: .8rem; border-radius: 3px; }
.fewbits .parts b { flex: 1; font-weight: normal; }
.fewbits .parts span { width: 6rem; text-align: right; }
.fewbits svg { width: 100%; height: auto; max-width: 60rem; }
"""

_LISTED = 24  # parts of a file; more are summed up
_COLOURS = 10


def facts(rows: Sequence[tuple[str, str]], notes: Sequence[str] = ()) -> str:
    """Facts beside each other, each with what it is about above it, and sentences below."""
    items = "".join(f"<div><dt>{html.escape(name)}</dt><dd>{html.escape(value)}</dd></div>" for name, value in rows)
    below = "".join(f'<p class="notes">{html.escape(note)}</p>' for note in notes)
    return f'<div class="fewbits"><dl class="facts">{items}</dl>{below}</div>'


def anatomy(parts: Sequence[Part]) -> str:
    """A bar of where the bytes of a file went, and the same in rows."""
    total = sum(part.size for part in parts) or 1
    bar = rows = ""
    for number, part in enumerate(_summed_up(parts)):
        share, colour = part.size / total, f"background: var(--series-{number % _COLOURS})"
        about = html.escape(f"{part.name}: {part.size:,} bytes")
        lost = "" if part.intact else ' class="lost"'
        bar += f'<span{lost} style="flex: {part.size} 1 0; {"" if lost else colour}" title="{about}"></span>'
        name = html.escape(part.name + ("" if part.intact else " (damaged)"))
        rows += f'<div><i style="{colour}"></i><b>{name}</b><span>{part.size:,}</span><span>{share:.1%}</span></div>'
    return f'<div class="fewbits"><div class="bar">{bar}</div><div class="parts">{rows}</div></div>'


def plot(svg: str) -> str:
    """A plot of `fewbits.eval.plots`, which takes its colours from the page."""
    return f'<div class="fewbits">{svg}</div>'


def _summed_up(parts: Sequence[Part]) -> list[Part]:
    """The parts, those beyond a number as one."""
    if len(parts) <= _LISTED:
        return list(parts)
    rest = parts[_LISTED - 1 :]
    last = Part(f"{len(rest)} more sections", sum(part.size for part in rest), all(part.intact for part in rest))
    return [*parts[: _LISTED - 1], last]
