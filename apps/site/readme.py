"""The sections of README.md that are made from results: figures in it are never typed.

    python -m fewbits.apps.site.readme                   # from the means in docs/results
    python -m fewbits.apps.site.readme image=image.json  # from a new result of `fewbits eval`, whose means go there
"""

import json
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from fewbits.errors import InputError
from fewbits.eval.contenders import contender
from fewbits.eval.curves import Point, Result, codecs_of, extra_rate, mean_curves, neural_of
from fewbits.eval.medium import medium_of, short_label
from fewbits.eval.page import in_lines
from fewbits.eval.plots import rate_distortion_svg, standalone
from fewbits.eval.summary import means, rates_against

_MARKED = re.compile(r"(<!-- results:(\w+) -->\n).*?(<!-- /results -->)", re.DOTALL)


@dataclass(frozen=True)
class Section:
    """What the README shows of an evaluation.

    Attributes:
        kind: of its media.
        title: what it is of; `{files}` stands for how many.
        comparisons: anchors, each with the metric at which rates are compared.
        points: a codec, and the settings of it that get a row each.
    """

    kind: str
    title: str
    comparisons: tuple[tuple[str, str], ...]
    points: tuple[str, tuple[int, ...]]


SECTIONS = {"image": Section("image", "the {files} photos of Kodak",
                             (("avif-psnr", "psnr"), ("jpeg", "psnr"), ("avif-psnr", "ms_ssim"), ("avif", "ms_ssim")),
                             ("hyperprior", (10, 30, 50, 70, 90)))}


def renewed(readme: str, results: Path) -> str:
    """The text of the README with every marked section made anew from `results`/NAME.json.

    Raises:
        InputError: for a marked section that does not exist.
    """
    def section(match: re.Match[str]) -> str:
        begin, name, end = match.groups()
        if name not in SECTIONS:
            raise InputError(f"There is no section {name!r} of results; there are: {', '.join(SECTIONS)}.")
        return begin + _section(name, json.loads((results / f"{name}.json").read_text())) + end

    return _MARKED.sub(section, readme)


def plot(name: str, result: Result) -> str:
    """The main plot of a section as an SVG file."""
    curves = mean_curves(result, SECTIONS[name].comparisons[0][1])
    return standalone(rate_distortion_svg(curves, medium_of(result), neural_of(result), codecs_of(result)))


def _section(name: str, result: Result) -> str:
    shown, environment = SECTIONS[name], result["environment"]
    files = max(record["files"] for record in result["records"])
    label = short_label(shown.comparisons[0][1])
    return "\n".join([
        f"On {shown.title.format(files=files)}, {environment['cores']} cores ({environment['processor']}), "
        f"{environment['date'][:10]}:", "", "```", in_lines(environment["command"]), "```", "",
        f"![{label} over rate](docs/results/{name}.svg)", "", *_rates(shown, result), "", *_points(shown, result), ""])


def _rates(shown: Section, result: Result) -> list[str]:
    """Each codec against each anchor, and its mean seconds a file."""
    head = ["codec", *(f"bits against `{anchor}`, equal {short_label(metric)}" for anchor, metric in shown.comparisons),
            "encode s", "decode s"]
    rows = []
    for codec, rates in rates_against(result, shown.comparisons).items():
        own = codec in neural_of(result)
        name = f"**{codec}**" if own else f"{codec} ({contender(codec, shown.kind).about})"
        cells = [_percent(rate.percent) for rate in rates]
        times = [fmean(r[key] for r in result["records"] if r["codec"] == codec) for key in ("encode_s", "decode_s")]
        cells += [f"{seconds:.2f}" for seconds in times]
        rows.append([name, *(f"**{cell}**" if own else cell for cell in cells)])
    return _table(head, rows)


def _points(shown: Section, result: Result) -> list[str]:
    """One codec at some of its settings."""
    codec, settings = shown.points
    medium, metrics = medium_of(result), list(dict.fromkeys(metric for _, metric in shown.comparisons))
    anchor, metric = shown.comparisons[0]
    base = next(curve for curve in mean_curves(result, metric) if curve.codec == anchor)
    rows = []
    for record in result["records"]:
        if record["codec"] == codec and record["setting"] in settings:
            values = [f"{record['metrics'][name]:.{4 if name == 'ms_ssim' else 2}f}" for name in metrics]
            extra = extra_rate(base, Point(record["setting"], record[medium.rate], record["metrics"][metric]))
            rows.append([f"{record['setting']:g}", f"{record[medium.rate]:.3f}", *values, _percent(extra)])
    against = f"bits against `{anchor}`, equal {short_label(metric)}"
    return _table([f"`{codec}`, quality", medium.axis, *map(short_label, metrics), against], rows)


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{round(value, 1) + 0.0:+.1f} %"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows)]


def main(arguments: Sequence[str]) -> None:
    root = Path(__file__).resolve().parent.parent.parent
    results, readme = root / "docs" / "results", root / "README.md"
    for name, _, path in (argument.partition("=") for argument in arguments):
        result = means(json.loads(Path(path).read_text()))
        (results / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n")
        (results / f"{name}.svg").write_text(plot(name, result))
    readme.write_text(renewed(readme.read_text(), results))


if __name__ == "__main__":
    main(sys.argv[1:])
