"""Rate-distortion curves out of records, and what lies between two of them (Bjontegaard delta rate)."""

import json
import math
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fewbits.errors import InputError
from fewbits.eval.medium import medium_of, metric_of
from fewbits.eval.metrics import METRICS
from fewbits.eval.video_metrics import VIDEO_METRICS

Result = Mapping[str, Any]
"""What `evaluate` returns, or the same read from JSON."""


@dataclass(frozen=True)
class Point:
    """A mean over files at one setting: rate (bits per pixel, or kbit/s of sounds) and value of the metric."""

    setting: float | None
    rate: float
    value: float


@dataclass(frozen=True)
class Curve:
    """Points of one codec under one metric, by rising rate.

    Attributes:
        source: where a published curve comes from; empty for measured ones.
        files: number of files in the mean; 0 where that is not known.
    """

    codec: str
    metric: str
    points: tuple[Point, ...]
    files: int = 0
    source: str = ""


@dataclass(frozen=True)
class BDRate:
    """Bjontegaard delta rate of a curve against an anchor.

    Attributes:
        percent: mean difference in rate at equal quality, negative for fewer bits; None where there is none.
        low, high: range of quality that both curves cover, as values of the metric; 0 and 0 where there is none.
        overlap: that range as a share of the range that either covers, on the metric's scale.
        dropped: settings of the curve left out because another of its points has no more bits and no less quality.
        reason: why there is no figure; empty where there is one.
    """

    percent: float | None
    low: float = 0.0
    high: float = 0.0
    overlap: float = 0.0
    dropped: tuple[float | None, ...] = ()
    reason: str = ""


@dataclass(frozen=True)
class BDRow:
    """A codec's delta rates against the anchor, by metric; `source` says where a published curve comes from."""

    codec: str
    rates: dict[str, BDRate]
    source: str = ""


def metrics_of(result: Result) -> list[str]:
    """Metrics that the records hold, in their order."""
    return [name for name in medium_of(result).metrics if any(name in r["metrics"] for r in result["records"])]


def plotted_metrics(result: Result) -> list[str]:
    """Those that get a plot."""
    return [name for name in metrics_of(result) if name in medium_of(result).plotted]


def compared_metrics(result: Result) -> list[str]:
    """Those under which codecs get delta rates."""
    return [name for name in metrics_of(result) if name in medium_of(result).compared]


def codecs_of(result: Result) -> list[str]:
    """Codecs in the order of the evaluation."""
    return list(dict.fromkeys(r["codec"] for r in result["records"]))


def neural_of(result: Result) -> list[str]:
    """Codecs of fewbits among those measured: records of anchors have no estimate."""
    return list(dict.fromkeys(r["codec"] for r in result["records"] if "estimate_bits" in r))


def mean_curves(result: Result, name: str) -> list[Curve]:
    """Curves of all codecs under a metric: rate and metric averaged over files for each setting.

    All means are over the same files: those for which every setting has a value, settings aside where no file has
    one. So too small a picture leaves the MS-SSIM curves, and one that came back exactly leaves them all. Codecs
    without any point, as lossless ones, are left out.
    """
    key = medium_of(result).rate
    cells: dict[tuple[str, float], dict[str, Mapping[str, Any]]] = {}
    for r in result["records"]:
        cell = cells.setdefault((r["codec"], r["setting"]), {})
        if r["metrics"].get(name) is not None and not r["exact"]:
            cell[r["file"]] = r
    cells = {key: cell for key, cell in cells.items() if cell}
    files = set.intersection(*(set(cell) for cell in cells.values())) if cells else set()
    curves: dict[str, list[Point]] = {}
    for (codec, setting), cell in cells.items():
        if files:
            rate = sum(cell[f][key] for f in files) / len(files)
            value = sum(cell[f]["metrics"][name] for f in files) / len(files)
            curves.setdefault(codec, []).append(Point(setting, rate, value))
    return [Curve(codec, name, _by_rate(points), len(files)) for codec, points in curves.items()]


def load_published(path: str | Path) -> list[Curve]:
    """Curves from a JSON list of `{"codec", "source", "points": [{"bpp", "psnr", "ms_ssim"...}]}`, of
    pictures or films.

    Returns:
        One curve for each codec and metric that its points hold.

    Raises:
        InputError: if the file cannot be read as such a list.
    """
    try:
        entries = json.loads(Path(path).read_text(encoding="utf-8"))
        if not isinstance(entries, list):
            raise TypeError("at the top")
        return [curve for entry in entries for curve in _published(entry)]
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path} is not a list of curves (codec, source and points with bpp and psnr or ms_ssim): "
                         f"{type(error).__name__} {error}.") from None


def bd_rate(anchor: Curve, test: Curve) -> BDRate:
    """Mean difference in rate at equal quality: piecewise cubic (PCHIP) log rate over the metric's scale.

    The mean is over the range of quality that both curves cover, however small; the caller sees it in the result.
    """
    import bjontegaard  # brings matplotlib

    scale = metric_of(test.metric).scale
    base, _ = undominated(anchor.points, scale)
    points, dropped = undominated(test.points, scale)
    lost = tuple(p.setting for p in dropped)
    if min(len(base), len(points)) < 2:
        return BDRate(None, dropped=lost, reason="fewer than two points that rise with rate")
    low, high = max(base[0].value, points[0].value, key=scale), min(base[-1].value, points[-1].value, key=scale)
    if scale(low) >= scale(high):
        return BDRate(None, dropped=lost, reason="no quality that both curves reach")
    ends = [scale(p.value) for p in (base[0], base[-1], points[0], points[-1])]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about a small overlap, which is in the result
        percent = bjontegaard.bd_rate(
            [p.rate for p in base], [scale(p.value) for p in base],
            [p.rate for p in points], [scale(p.value) for p in points],
            method="pchip", require_matching_points=False, min_overlap=0,
        )
    return BDRate(float(percent), low, high, (scale(high) - scale(low)) / (max(ends) - min(ends)), lost)


def extra_rate(anchor: Curve, point: Point) -> float | None:
    """How many percent more rate a point takes than a curve at equal quality; None beyond the curve's ends."""
    from scipy.interpolate import PchipInterpolator

    scale, (base, _) = metric_of(anchor.metric).scale, undominated(anchor.points, metric_of(anchor.metric).scale)
    if len(base) < 2 or not scale(base[0].value) <= scale(point.value) <= scale(base[-1].value):
        return None
    log_rate = PchipInterpolator([scale(p.value) for p in base], [math.log(p.rate) for p in base])
    return 100 * math.expm1(math.log(point.rate) - float(log_rate(scale(point.value))))


def bd_table(result: Result, anchor: str = "avif-psnr", published: Iterable[Curve] = ()) -> list[BDRow]:
    """Delta rates of every measured and published curve against a measured anchor, fewest bits (in the first metric,
    PSNR of pictures and films) first.

    Published curves are means over their own files: beside the result they mean something where it has the same.
    """
    names = compared_metrics(result)
    measured = {name: {c.codec: c for c in mean_curves(result, name)} for name in names}
    thing = medium_of(result).thing
    lossless = {codec: all(r["exact"] for r in result["records"] if r["codec"] == codec) for codec in codecs_of(result)}
    rows = {codec: BDRow(codec, {
        name: BDRate(None, reason="lossless") if exact else
        _rate_or_reason(measured[name], anchor, measured[name].get(codec), thing) for name in names
    }) for codec, exact in lossless.items()}
    for curve in published:
        if curve.metric in names:
            row = rows.setdefault(f"{curve.codec}\n{curve.source}", BDRow(curve.codec, {}, curve.source))
            row.rates[curve.metric] = _rate_or_reason(measured[curve.metric], anchor, curve, thing)

    def key(row: BDRow) -> float:
        figures = [row.rates[n].percent for n in names if n in row.rates]
        return next((f for f in figures if f is not None), math.inf)

    return sorted(rows.values(), key=key)


def undominated(points: Sequence[Point],
                quality: Callable[[float], float] = float) -> tuple[list[Point], list[Point]]:
    """Points whose quality, a function of their value, rises with rate, and those left out.

    A point is left out where another has no more bits and no less quality; interpolation needs the rest alone.
    """
    kept: list[Point] = []
    dropped: list[Point] = []
    for point in sorted(points, key=lambda p: (p.rate, -quality(p.value))):
        (dropped if kept and quality(point.value) <= quality(kept[-1].value) else kept).append(point)
    return kept, dropped


def _rate_or_reason(measured: Mapping[str, Curve], anchor: str, curve: Curve | None, thing: str) -> BDRate:
    """A delta rate, or why there is none."""
    if measured and anchor not in measured:
        return BDRate(None, reason=f"{anchor} was not measured")
    if curve is None or not measured:
        return BDRate(None, reason=f"no points that all {thing}s have")
    return bd_rate(measured[anchor], curve)


def _published(entry: Mapping[str, Any]) -> list[Curve]:
    """Curves of one entry of a published list."""
    curves = []
    for name in {**METRICS, **VIDEO_METRICS}:
        points = [Point(None, float(p["bpp"]), float(p[name])) for p in entry["points"] if p.get(name) is not None]
        if points:
            curves.append(Curve(str(entry["codec"]), name, _by_rate(points),
                                source=str(entry.get("source") or "published")))
    return curves


def _by_rate(points: Iterable[Point]) -> tuple[Point, ...]:
    return tuple(sorted(points, key=lambda p: p.rate))
