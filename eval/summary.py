"""An evaluation in few words: means over its files, for what is kept and shown beside text."""

import math
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from fewbits.eval.curves import BDRate, Result, bd_rate, codecs_of, mean_curves, metrics_of
from fewbits.eval.medium import medium_of

_DIGITS = 6  # that count, of a mean


def means(result: Result) -> dict[str, Any]:
    """The same result with one record for each codec and setting, whose `files` says of how many it is the mean.

    It has the form of a result, so that all that draws and compares takes it. A metric is None where a file lacks it.
    """
    cells: dict[tuple[str, float], list[Mapping[str, Any]]] = {}
    for record in result["records"]:
        cells.setdefault((record["codec"], record["setting"]), []).append(record)
    records = [_mean(cell, metrics_of(result), medium_of(result).rate) for cell in cells.values()]
    return {"environment": dict(result["environment"]), "records": records}


def _mean(cell: Sequence[Mapping[str, Any]], metrics: Sequence[str], rate: str) -> dict[str, Any]:
    first = cell[0]
    numbers = (rate, "seconds", "frames", "bytes", "encode_s", "decode_s", "estimate_bits")
    values = {name: [record["metrics"].get(name) for record in cell] for name in metrics}
    return {"file": "mean", "files": len(cell), "codec": first["codec"], "setting": first["setting"],
            **{key: _short([record[key] for record in cell]) for key in numbers if key in first},
            "metrics": {name: _short(each) for name, each in values.items()},
            "exact": all(record["exact"] for record in cell)}


def _short(values: Sequence[float | None]) -> float | None:
    """Their mean with as many digits as count, None where one is missing."""
    there = [value for value in values if value is not None]
    return float(f"{fmean(there):.{_DIGITS}g}") if there and len(there) == len(values) else None


def rates_against(result: Result, comparisons: Sequence[tuple[str, str]]) -> dict[str, list[BDRate]]:
    """Delta rates of each codec against pairs of an anchor and a metric; first those with the fewest bits in the first.

    Raises:
        KeyError: if an anchor was not measured.
    """
    curves = {name: {c.codec: c for c in mean_curves(result, name)} for _, name in comparisons}
    rows = {codec: [bd_rate(curves[name][anchor], curves[name][codec]) if codec in curves[name] else
                    BDRate(None, reason="no points") for anchor, name in comparisons] for codec in codecs_of(result)}
    return dict(sorted(rows.items(), key=lambda row: math.inf if row[1][0].percent is None else row[1][0].percent))
