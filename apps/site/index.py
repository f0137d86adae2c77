"""The page in front of the others."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fewbits.apps.site.plan import PLAN
from fewbits.eval import page, report
from fewbits.eval.curves import codecs_of
from fewbits.eval.medium import medium_of
from fewbits.version import VERSION


def write(results: Mapping[str, Mapping[str, Any]], output: Path) -> Path:
    """Writes the page about all results, by the names of their evaluations, and gives its path."""
    environment = next(iter(results.values()))["environment"]
    body = [f"<h1>fewbits {page.text(VERSION)}</h1>",
            page.note("Codecs of fewbits, in bold, beside classical ones. Every rate is the size of a file that was "
                      "written, read and decoded again. Each command was run as it stands, where this page lies."),
            _contents(results)]
    for evaluation in PLAN:
        result = results[evaluation.name]
        body += [f'<h1 id="{evaluation.name}">{page.text(evaluation.title)}</h1>',
                 page.command(result["environment"]["command"]),
                 f'<p><a href="{evaluation.name}.html">All plots, tables and examples</a></p>', report.brief(result)]
    body.append(report.environment_section(environment))
    path = output / "index.html"
    path.write_text(page.document(f"fewbits {VERSION}", body), encoding="utf-8")
    return path


def _contents(results: Mapping[str, Mapping[str, Any]]) -> str:
    """What was measured, when, a row each."""
    rows = "<tr><th>what</th><th>files</th><th>measured</th><th>codecs</th></tr>"
    for evaluation in PLAN:
        result = results[evaluation.name]
        files = len({record["file"] for record in result["records"]})
        thing = medium_of(result).thing + "s" * (files != 1)
        rows += (f'<tr><td><a href="#{evaluation.name}">{page.text(evaluation.title)}</a></td><td>{files} {thing}</td>'
                 f"<td>{page.text(result['environment']['date'][:10])}</td>"
                 f"<td>{page.text(', '.join(codecs_of(result)))}</td></tr>")
    return f'<div class="scroll"><table class="words">{rows}</table></div>'
