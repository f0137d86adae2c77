"""One self-contained page about an evaluation: plots, tables, crops; nothing is fetched from anywhere."""

import base64
import html
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from PIL import Image as PillowImage

from fewbits.errors import InputError
from fewbits.eval.crops import CropRow
from fewbits.eval.curves import (
    BDRate,
    BDRow,
    Curve,
    Result,
    bd_table,
    codecs_of,
    compared_metrics,
    mean_curves,
    metrics_of,
    plotted_metrics,
)
from fewbits.eval.medium import Medium, medium_of, metric_of, short_label
from fewbits.eval.palette import DARK, LIGHT

_STYLE = f"""
:root {{ color-scheme: light dark; --paper: #ffffff; --shade: #f4f6f8; {LIGHT} }}
@media (prefers-color-scheme: dark) {{ :root {{ --paper: #14171b; --shade: #1d2126; {DARK} }} }}
""" + """body { margin: 0 auto; max-width: 72rem; padding: 1.5rem; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.6rem; margin: 0 0 .3rem; } h2 { font-size: 1.2rem; margin: 2.2rem 0 .6rem; }
p { max-width: 48rem; margin: .4rem 0; } .faint { color: var(--faint); }
svg { width: 100%; height: auto; font-family: system-ui, sans-serif; }
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
summary { cursor: pointer; padding: .3rem 0; }
"""


# what is shown of each medium, and what has to be known about it
_SHOWN = {
    "picture": ("Side by side", "The middle of each picture. Rate and PSNR are of the whole picture; a codec that does "
                                "not go so low or so high stands with its nearest setting."),
    "sound": ("Spectrograms", "The first channel's first seconds, from 0 Hz at the bottom to half the rate of the "
                              "samples, over 65 dB. Each codec stands with the nearest of its settings; its rate is "
                              "that of the whole sound."),
    "film": ("One frame", "The middle of the middle frame of the first film. Each codec stands with the nearest of its "
                          "settings; rate and PSNR are of the whole film."),
}


def write_html(result: Result, path: str | Path, anchor: str | None = None, published: Iterable[Curve] = (),
               crops: Sequence[CropRow] = ()) -> None:
    """Writes the page.

    Args:
        result: what `evaluate`, of pictures, sounds or films, returned, or the same read from JSON.
        anchor: codec that rates are compared with; None for the usual one.
        published: curves to lay under the plots, from `curves.load_published`.
        crops: from `crops.take_crops`, `spectrograms.take_spectrograms` or `stills.Stills.rows`.

    Raises:
        InputError: if the result holds no record, or the page cannot be written.
    """
    if not result["records"]:
        raise InputError("There is nothing to report: the evaluation has no records.")
    published = list(published)
    body = [
        _head(result),
        *_plots(result, published),
        _bd_section(result, anchor or medium_of(result).anchor, published),
        _crop_section(crops, medium_of(result)),
        _time_section(result),
        _point_section(result),
        _environment_section(result["environment"]),
    ]
    page = ('<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            f"<title>fewbits eval</title><style>{_STYLE}</style></head><body>\n"
            + "\n".join(body) + "\n</body></html>\n")
    try:
        Path(path).write_text(page, encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}.") from None


def _head(result: Result) -> str:
    environment = result["environment"]
    return (f"<h1>{_text(', '.join(codecs_of(result)))}</h1>"
            + _note(f"{_count(len(_distinct(result, 'file')), medium_of(result))}, {environment['date']}, fewbits "
                    f"{environment['fewbits']}. Rates are sizes of files that were written, read and decoded.")
            + "".join(_note(sentence) for sentence in result.get("notices", ())))


def _plots(result: Result, published: Sequence[Curve]) -> list[str]:
    """A section for each metric."""
    from fewbits.eval.plots import rate_distortion_svg

    total, medium = len(_distinct(result, "file")), medium_of(result)
    sections = []
    for name in plotted_metrics(result):
        curves, title = mean_curves(result, name), f"{metric_of(name).label} over rate"
        if not curves:
            sections.append(_section(title, f"No {medium.thing} has a value at every setting.", ""))
            continue
        files = curves[0].files
        note = f"Means over {_count(files, medium)}."
        if files < total:
            note += f" {total - files} of {total} are left out: too small for the metric, or decoded exactly somewhere."
        if published:
            note += " Grey: published curves, means over the files of their sources."
        plot = rate_distortion_svg(curves, medium, _neural(result), codecs_of(result), published)
        sections.append(_section(title, note, plot))
    return sections


def _bd_section(result: Result, anchor: str, published: Sequence[Curve]) -> str:
    names = compared_metrics(result)
    rows = bd_table(result, anchor, published)
    head = ["codec", *(f"{short_label(name)}{part}" for name in names for part in ("", " range", " overlap"))]

    def cells(row: BDRow) -> list[str]:
        return [row.codec, *(cell for name in names for cell in _bd_cells(name, row.rates.get(name)))]

    measured = [[*cells(row), _bd_notes(row)] for row in rows if not row.source]
    text = _table([*head, "notes"], measured, _neural(result), words=True)
    below = [[*cells(row), row.source] for row in rows if row.source]
    if below:
        note = _note("These are means over the files of their sources. The figures mean something only where the same "
                     "files were measured here.")
        text += (f"<details><summary>The {len(below)} published curves</summary>{note}"
                 f"{_table([*head, 'source'], below, (), words=True)}</details>")
    return _section(f"BD-rate against {anchor}",
                    "Mean difference in rate at equal quality (Bjontegaard, PCHIP"
                    f"{', MS-SSIM in dB' if 'ms_ssim' in names else ''}) over the range of "
                    "quality that both curves cover; negative is fewer bits. Overlap is that range as a share of what "
                    "either curve covers: the smaller, the less the figure says.", text)


def _bd_cells(name: str, rate: BDRate | None) -> list[str]:
    if rate is None or rate.percent is None:
        return ["-", "", ""]
    digits, unit = (1, " dB") if name.startswith("psnr") else (3, "")
    percent = round(rate.percent, 1) + 0.0  # no -0.0
    return [f"{percent:+.1f} %", f"{rate.low:.{digits}f} to {rate.high:.{digits}f}{unit}", f"{rate.overlap:.0%}"]


def _bd_notes(row: BDRow) -> str:
    """Why figures are missing, and which settings were left out."""
    notes = list(dict.fromkeys(rate.reason for rate in row.rates.values() if rate.reason))
    for name, rate in row.rates.items():
        if rate.dropped:
            settings = ", ".join(f"{s:g}" for s in rate.dropped if s is not None)
            notes.append(f"{short_label(name)} without setting {settings}: no better than a smaller file")
    return "; ".join(notes)


def _crop_section(crops: Sequence[CropRow], medium: Medium) -> str:
    if not crops:
        return ""
    text = ""
    for row in crops:
        figures = [_figure(row.source, "source", row.file), *(_figure(c.pixels, c.codec, c.caption) for c in row.crops)]
        text += f'<h3>{_text(row.file)}</h3><div class="crops">{"".join(figures)}</div>'
    title, note = _SHOWN[medium.thing]
    return _section(f"{title} at about {crops[0].rate:g} {medium.axis}", note, text)


def _figure(pixels: np.ndarray, title: str, caption: str) -> str:
    file = io.BytesIO()
    PillowImage.fromarray(pixels).save(file, format="WEBP", lossless=True)
    data = base64.b64encode(file.getvalue()).decode()
    height, width = pixels.shape[:2]
    return (f'<figure><img width="{width}" height="{height}" alt="{_text(title)}" src="data:image/webp;base64,{data}">'
            f"<figcaption><b>{_text(title)}</b><br>{_text(caption)}</figcaption></figure>")


def _time_section(result: Result) -> str:
    """How long files take, and how far they are above the models' own estimates."""
    note, in_words = _TIMES[medium_of(result).thing]
    rows = []
    for codec in codecs_of(result):
        records = [r for r in result["records"] if r["codec"] == codec]
        times = [in_words(records, key) for key in ("encode_s", "decode_s")]
        rows.append([codec, *times, _over_estimate(records)])
    return _section("Time", f"{note} Over estimate: what a file has beyond the model's own estimate of its size, the "
                    "largest case.", _table(["codec", "encode", "decode", "over estimate"], rows, _neural(result)))


def _seconds(records: list[Mapping[str, Any]], key: str) -> str:
    values = [r[key] for r in records]
    return f"{fmean(values):.3f} ({min(values):.3f} to {max(values):.3f})"


def _times_real_time(records: list[Mapping[str, Any]], key: str) -> str:
    return f"{sum(r['seconds'] for r in records) / sum(r[key] for r in records):,.1f} x real time"


def _frames_a_second(records: list[Mapping[str, Any]], key: str) -> str:
    return f"{sum(r['frames'] for r in records) / sum(r[key] for r in records):,.1f} frames/s"


# what the times of each medium say, and how they are told
_TIMES = {
    "picture": ("Wall seconds a picture, mean (least to most); anchors encode in one thread.", _seconds),
    "sound": ("Seconds of sound in a second; anchors encode in one thread.", _times_real_time),
    "film": ("Frames a second; encoding includes reading the source. Anchors take as many threads as they choose.",
             _frames_a_second),
}


def _over_estimate(records: list[Mapping[str, Any]]) -> str:
    over = [(r["bytes"] - r["estimate_bits"] / 8, r["bytes"]) for r in records if r.get("estimate_bits")]
    if not over:
        return ""
    extra, size = max(over)
    return f"{extra:.0f} of {size} bytes"


def _point_section(result: Result) -> str:
    """Means over all files, setting by setting."""
    names, medium = metrics_of(result), medium_of(result)
    cells: dict[tuple[str, float], list[Mapping[str, Any]]] = {}
    for r in result["records"]:
        cells.setdefault((r["codec"], r["setting"]), []).append(r)
    rows = []
    for (codec, setting), records in cells.items():
        values = [[r["metrics"].get(name) for r in records] for name in names]
        exact = sum(r["exact"] for r in records)
        rows.append([codec, f"{setting:g}", f"{fmean(r[medium.rate] for r in records):.{medium.digits}f}",
                     *("-" if None in v else f"{fmean(v):.4f}" for v in values),
                     f"{exact} of {len(records)}" if exact else "",
                     *(f"{fmean(r[key] for r in records):.3f}" for key in ("encode_s", "decode_s"))])
    head = ["codec", "setting", medium.unit, *(short_label(name) for name in names), "exact", "encode s", "decode s"]
    thing = medium.thing
    return _section("Points", f"Means over all {thing}s; a dash where some {thing} has no value. Exact: {thing}s of "
                    "which every sample came back.", _table(head, rows, _neural(result)))


def _environment_section(environment: Mapping[str, Any]) -> str:
    rows = []
    for key, value in environment.items():
        if isinstance(value, Mapping):
            value = ", ".join(f"{k} {v}" for k, v in value.items() if v)
        if value is not None:
            rows.append(f"<tr><td>{_text(key.replace('_', ' '))}</td><td>{_text(value)}</td></tr>")
    return _section("Environment", "", f'<div class="scroll"><table class="words">{"".join(rows)}</table></div>')


def _section(title: str, note: str, content: str) -> str:
    return f"<h2>{_text(title)}</h2>{_note(note)}{content}"


def _note(text: str) -> str:
    return f'<p class="faint">{_text(text)}</p>' if text else ""


def _count(files: int, medium: Medium) -> str:
    return f"{files} {medium.thing}{'s' * (files != 1)}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], neural: Sequence[str], words: bool = False) -> str:
    """A table whose rows of neural codecs are set in bold; `words`: the last column holds text, not a figure."""
    text = "<tr>" + "".join(f"<th>{_text(cell)}</th>" for cell in head) + "</tr>"
    for row in rows:
        kind = ' class="neural"' if row[0] in neural else ""
        text += f"<tr{kind}>" + "".join(f"<td>{_text(cell)}</td>" for cell in row) + "</tr>"
    kind = ' class="words"' if words else ""
    return f'<div class="scroll"><table{kind}>{text}</table></div>'


def _neural(result: Result) -> list[str]:
    """Codecs of fewbits among those measured: records of anchors have no estimate."""
    return list(dict.fromkeys(r["codec"] for r in result["records"] if "estimate_bits" in r))


def _distinct(result: Result, key: str) -> list[Any]:
    return list(dict.fromkeys(r[key] for r in result["records"]))


def _text(value: object) -> str:
    return html.escape(str(value))
