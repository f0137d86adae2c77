"""Rate-distortion plots as SVG that takes its colours from the page it stands in."""

import io
import re
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from statistics import fmean
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullFormatter, NullLocator

from fewbits.eval.curves import Curve, Result
from fewbits.eval.medium import Medium, less_is_better, metric_of
from fewbits.eval.palette import DARK, LIGHT

# matplotlib knows no CSS: it draws in stand-in colours, and the page's own take their place afterwards
_INK, _FAINT, _GRID = "#010101", "#020202", "#030303"
_SERIES = tuple(f"#0401{i:02x}" for i in range(10))
_VARIABLES = {_INK: "--ink", _FAINT: "--faint", _GRID: "--line"} | {c: f"--series-{i}" for i, c in enumerate(_SERIES)}
_MARKERS = "osD^vPX<>h"
_LABEL_LENGTH = 36
_LABEL_GAP = 0.028  # of the height of the plot, between labels of published curves


def rate_distortion_svg(curves: Sequence[Curve], medium: Medium, emphasised: Sequence[str], order: Sequence[str],
                        published: Sequence[Curve] = ()) -> str:
    """A plot of curves under one metric over the rate, as an `<svg>` element.

    Args:
        curves: what was measured, all under one metric; at least one.
        medium: what they are of.
        emphasised: codecs to draw in heavier lines.
        order: all codecs of the page: it fixes a codec's colour and marker whatever else is in this plot.
        published: curves to lay under, in grey.
    """
    name = curves[0].metric
    with _settings(name):
        figure = Figure(figsize=(9.2, 5.6))
        axes = figure.add_axes((0.065, 0.09, 0.7 if published else 0.92, 0.89))
        _frame(axes, curves, medium)
        _draw_published(axes, [c for c in published if c.metric == name])
        for curve in curves:
            axes.plot([p.rate for p in curve.points], [metric_of(name).scale(p.value) for p in curve.points],
                      label=curve.codec, **_line(order.index(curve.codec), curve.codec in emphasised))
        axes.legend(loc="best", frameon=False)
        return _as_element(figure)


def rate_time_svg(result: Result, medium: Medium, emphasised: Sequence[str], order: Sequence[str]) -> str:
    """A plot of mean rates over mean seconds of encoding, setting by setting, as an `<svg>` element.

    Args:
        result: an evaluation of lossless codecs.
        medium, emphasised, order: as of `rate_distortion_svg`.
    """
    with _settings("time"):
        figure = Figure(figsize=(9.2, 5.6))
        axes = figure.add_axes((0.065, 0.09, 0.92, 0.89))
        for codec in order:
            cells: dict[float, list[Mapping[str, Any]]] = {}
            for record in result["records"]:
                if record["codec"] == codec:
                    cells.setdefault(record["setting"], []).append(record)
            points = sorted((setting, fmean(r["encode_s"] for r in cell), fmean(r[medium.rate] for r in cell))
                            for setting, cell in cells.items())
            axes.plot([seconds for _, seconds, _ in points], [rate for *_, rate in points], label=codec,
                      **_line(order.index(codec), codec in emphasised))
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(FuncFormatter(lambda seconds, _: f"{seconds:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
        _plain(axes)
        axes.set_xlabel(f"seconds a {medium.thing} to encode (logarithmic)")
        axes.set_ylabel(medium.axis)
        axes.legend(loc="upper right", frameon=False)
        return _as_element(figure)


def standalone(svg: str) -> str:
    """An element of these as a file of its own, in light or dark colours as its reader has it."""
    style = (f"<style>svg {{ font-family: system-ui, sans-serif; {LIGHT} }}\n"
             f"@media (prefers-color-scheme: dark) {{ svg {{ {DARK} }} }}</style>")
    head, rest = svg.split(">", 1)
    return f'{head} xmlns="http://www.w3.org/2000/svg">{style}{rest}'


def _settings(salt: str) -> AbstractContextManager[None]:
    """matplotlib's, for the time of a plot; the salt keeps names in one plot of a page apart from those in others."""
    return rc_context({"svg.fonttype": "none", "font.family": "sans-serif", "font.size": 10, "svg.hashsalt": salt,
                       "axes.edgecolor": _FAINT, "text.color": _INK, "axes.labelcolor": _INK,
                       "xtick.color": _INK, "ytick.color": _INK})


def _line(number: int, strong: bool) -> dict[str, Any]:
    """How the line of a codec is drawn, by its place among all."""
    return {"color": _SERIES[number % len(_SERIES)], "marker": _MARKERS[number % len(_MARKERS)],
            "linewidth": 2.6 if strong else 1.4, "markersize": 7 if strong else 4.5, "zorder": 4 if strong else 3}


def _frame(axes: Axes, curves: Sequence[Curve], medium: Medium) -> None:
    """Axes that the measured curves fill."""
    name = curves[0].metric
    scale, down = metric_of(name).scale, less_is_better(name)
    rates = [p.rate for c in curves for p in c.points]
    values = [scale(p.value) for c in curves for p in c.points]
    margin = 0.04 * (max(values) - min(values)) or 1.0
    axes.set_xscale("log")
    axes.set_xlim(min(rates) / 1.08, max(rates) * 1.08)
    axes.set_ylim(min(values) - margin, max(values) + margin)
    axes.xaxis.set_major_locator(FixedLocator(medium.ticks))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda rate, _: f"{rate:g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_locator(MaxNLocator(10, integer="dB" in metric_of(name).label))
    if down:
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{abs(value):.3g}"))
    _plain(axes)
    axes.set_xlabel(f"{medium.axis}, size of the file (logarithmic)")
    axes.set_ylabel(f"{metric_of(name).label}{' (less is better, and above)' if down else ''}")


def _plain(axes: Axes) -> None:
    """A grid, and no more ink than needed."""
    axes.grid(color=_GRID, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, which="both")
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _draw_published(axes: Axes, curves: Sequence[Curve]) -> None:
    """Grey lines, named in the right margin where there is room: labels that would touch are left out."""
    ends = []
    for curve in curves:
        scale = metric_of(curve.metric).scale
        xs, ys = [p.rate for p in curve.points], [scale(p.value) for p in curve.points]
        axes.plot(xs, ys, color=_FAINT, linewidth=0.8, alpha=0.55, zorder=1)
        inside = [(x, y) for x, y in zip(xs, ys, strict=True) if x <= axes.get_xlim()[1] and y <= axes.get_ylim()[1]]
        if inside:
            ends.append((axes.transAxes.inverted().transform(axes.transData.transform(inside[-1])), curve.codec))
    below = -1.0
    for (x, y), codec in sorted(ends, key=lambda end: end[0][1]):
        if y - below < _LABEL_GAP or y < 0:
            continue
        below = y
        label = codec if len(codec) <= _LABEL_LENGTH else codec[: _LABEL_LENGTH - 3] + "..."
        axes.annotate(label, (x, y), (1.015, y), xycoords="axes fraction", textcoords="axes fraction", fontsize=7.5,
                      color=_FAINT, va="center", annotation_clip=False,
                      arrowprops={"arrowstyle": "-", "color": _GRID, "linewidth": 0.6, "shrinkA": 0, "shrinkB": 2})


def _as_element(figure: Figure) -> str:
    """The figure as one element for a page: no document around it, no reference to the outside, the page's colours."""
    file = io.StringIO()
    figure.savefig(file, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = file.getvalue()
    text = text[text.index("<svg"):]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'\s(?:xmlns(?::\w+)?|width|height)="[^"]*"', "", text, count=4)
    text = text.replace("xlink:href", "href")
    for colour, variable in _VARIABLES.items():
        text = text.replace(colour, f"var({variable})")
    return text
