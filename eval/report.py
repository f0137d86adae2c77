"""One self-contained page about an evaluation: plots, tables, crops; nothing is fetched from anywhere."""

import base64
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from PIL import Image as PillowImage

from fewbits.errors import InputError
from fewbits.eval import page
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
    neural_of,
    plotted_metrics,
)
from fewbits.eval.medium import Medium, medium_of, metric_of, short_label

# what is shown of each medium, and what has to be known about it
_SHOWN = {
    "picture": ("Side by side", "The middle of each picture. Rate and PSNR are of the whole picture; a codec that does "
                                "not go so low or so high stands with its nearest setting."),
    "sound": ("Spectrograms", "The first channel's first seconds, from 0 Hz at the bottom to half the rate of the "
                              "samples, over 65 dB, and the same seconds to listen to. Each codec stands with the "
                              "nearest of its settings; its rate is that of the whole sound."),
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
    compared = [_lossless_plot(result)] if _all_exact(result) else [
        *_plots(result, published),
        _bd_section(result, anchor or medium_of(result).anchor, published),
        _crop_section(crops, medium_of(result)),
    ]
    body = [
        _head(result),
        *compared,
        _time_section(result),
        _point_section(result),
        environment_section(result["environment"]),
    ]
    try:
        Path(path).write_text(page.document("fewbits eval", body), encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}.") from None


def brief(result: Result) -> str:
    """The first plot of an evaluation and the table that goes with it, for a page about several."""
    if _all_exact(result):
        return _lossless_plot(result) + _point_section(result)
    plots = _plots(result, ())
    return next((plot for plot in plots if "<svg" in plot), plots[0]) + _bd_section(
        result, medium_of(result).anchor, ())


def _all_exact(result: Result) -> bool:
    return all(record["exact"] for record in result["records"])


def _head(result: Result) -> str:
    environment = result["environment"]
    command = environment.get("command")
    return (f"<h1>{page.text(', '.join(codecs_of(result)))}</h1>"
            + page.note(f"{_count(len(_distinct(result, 'file')), medium_of(result))}, {environment['date']}, fewbits "
                    f"{environment['fewbits']}. Rates are sizes of files that were written, read and decoded.")
            + (page.command(command) if command else "")
            + "".join(page.note(sentence) for sentence in result.get("notices", ())))


def _lossless_plot(result: Result) -> str:
    """Of an evaluation in which all samples came back: what there is to see in place of rate and distortion."""
    from fewbits.eval.plots import rate_time_svg

    medium = medium_of(result)
    note = (f"Means over {_count(len(_distinct(result, 'file')), medium)}, all of which came back exactly. Below is "
            "smaller, left is faster.")
    plot = rate_time_svg(result, medium, neural_of(result), codecs_of(result))
    return page.section("Size over time", note, page.plot(plot))


def _plots(result: Result, published: Sequence[Curve]) -> list[str]:
    """A section for each metric."""
    from fewbits.eval.plots import rate_distortion_svg

    total, medium = len(_distinct(result, "file")), medium_of(result)
    sections = []
    for name in plotted_metrics(result):
        curves, title = mean_curves(result, name), f"{metric_of(name).label} over rate"
        if not curves:
            sections.append(page.section(title, f"No {medium.thing} has a value at every setting.", ""))
            continue
        files = curves[0].files
        note = f"Means over {_count(files, medium)}."
        if files < total:
            note += f" {total - files} of {total} are left out: too small for the metric, or decoded exactly somewhere."
        if published:
            note += " Grey: published curves, means over the files of their sources."
        plot = rate_distortion_svg(curves, medium, neural_of(result), codecs_of(result), published)
        sections.append(page.section(title, note, page.plot(plot)))
    return sections


def _bd_section(result: Result, anchor: str, published: Sequence[Curve]) -> str:
    names = compared_metrics(result)
    rows = bd_table(result, anchor, published)
    head = ["codec", *(f"{short_label(name)}{part}" for name in names for part in ("", " range", " overlap"))]

    def cells(row: BDRow) -> list[str]:
        return [row.codec, *(cell for name in names for cell in _bd_cells(name, row.rates.get(name)))]

    measured = [[*cells(row), _bd_notes(row)] for row in rows if not row.source]
    text = page.table([*head, "notes"], measured, neural_of(result), words=True)
    below = [[*cells(row), row.source] for row in rows if row.source]
    if below:
        note = page.note("These are means over the files of their sources. The figures mean something only where the "
                         "same files were measured here.")
        text += (f"<details><summary>The {len(below)} published curves</summary>{note}"
                 f"{page.table([*head, 'source'], below, (), words=True)}</details>")
    return page.section(f"BD-rate against {anchor}",
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
        figures = [_figure(row.source, "source", row.file, row.sound),
                   *(_figure(c.pixels, c.codec, c.caption, c.sound) for c in row.crops)]
        text += f'<h3>{page.text(row.file)}</h3><div class="crops">{"".join(figures)}</div>'
    title, note = _SHOWN[medium.thing]
    return page.section(f"{title} at about {crops[0].rate:g} {medium.axis}", note, text)


def _figure(pixels: np.ndarray, title: str, caption: str, sound: bytes | None) -> str:
    """A picture, a line about it, and a player where it is one of a sound."""
    file = io.BytesIO()
    PillowImage.fromarray(pixels).save(file, format="WEBP", lossless=True)
    data = base64.b64encode(file.getvalue()).decode()
    height, width = pixels.shape[:2]
    title = page.text(title)
    player = "" if sound is None else ('<audio controls preload="none" src="data:audio/flac;base64,'
                                       f'{base64.b64encode(sound).decode()}"></audio>')
    return (f'<figure><img width="{width}" height="{height}" alt="{title}" src="data:image/webp;base64,{data}">'
            f"<figcaption><b>{title}</b><br>{page.text(caption)}</figcaption>{player}</figure>")


def _time_section(result: Result) -> str:
    """How long files take, and how far they are above the models' own estimates."""
    note, in_words = _TIMES[medium_of(result).thing]
    rows = []
    for codec in codecs_of(result):
        records = [r for r in result["records"] if r["codec"] == codec]
        times = [in_words(records, key) for key in ("encode_s", "decode_s")]
        rows.append([codec, *times, _over_estimate(records)])
    table = page.table(["codec", "encode", "decode", "over estimate"], rows, neural_of(result))
    return page.section("Time", f"{note} Over estimate: what a file has beyond the model's own estimate of its size, "
                        "the largest case.", table)


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
    return page.section("Points", f"Means over all {thing}s; a dash where some {thing} has no value. Exact: {thing}s "
                        "of which every sample came back.", page.table(head, rows, neural_of(result)))


def environment_section(environment: Mapping[str, Any]) -> str:
    """What a measurement ran on."""
    rows = []
    for key, value in environment.items():
        if key == "command":
            continue  # it stands at the top
        if isinstance(value, Mapping):
            value = ", ".join(f"{k} {v}" for k, v in value.items() if v)
        if value is not None:
            rows.append(f"<tr><td>{page.text(key.replace('_', ' '))}</td><td>{page.text(value)}</td></tr>")
    return page.section("Environment", "", f'<div class="scroll"><table class="words">{"".join(rows)}</table></div>')


def _count(files: int, medium: Medium) -> str:
    return f"{files} {medium.thing}{'s' * (files != 1)}"


def _distinct(result: Result, key: str) -> list[Any]:
    return list(dict.fromkeys(r[key] for r in result["records"]))
