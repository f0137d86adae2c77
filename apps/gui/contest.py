"""One file through several codecs at about one size, without any of the page."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fewbits.apps.gui.coding import metric_in_words, opened
from fewbits.apps.gui.previews import preview
from fewbits.codecs import kinds, registry, sources
from fewbits.codecs.codec import Progress, Target, no_progress
from fewbits.eval.matched import Entry, entries

_USUAL_RATES = {"image": Target(bits_per_pixel=0.5), "audio": Target(kbps=12), "video": Target(bits_per_pixel=0.05)}
_PLOTTED = {"image": "psnr", "audio": "mel", "video": "psnr"}


@dataclass(frozen=True)
class Contest:
    """What codecs made of one file.

    Attributes:
        shown: files for a browser and words about each, the source first; of sounds, these are spectrograms.
        heard: of sounds, what can be played, in the same order.
        plot: an SVG element, empty where there is nothing to plot.
        table: head and rows.
    """

    shown: list[tuple[Path, str]]
    heard: list[Path]
    plot: str
    table: list[list[str]]


def every_name() -> list[str]:
    """Names of all codecs for pictures, sounds and films."""
    from fewbits.eval.contenders import available

    return [name for kind in _USUAL_RATES for name in available(kind)]


def choices(source: Path) -> tuple[list[str], list[str], int]:
    """Names of all codecs for what a file holds, those to begin with, and a size in bytes to bring them to.

    Raises:
        InputError: if the file cannot be read.
    """
    from fewbits.eval.contenders import available, contender

    kind = sources.kind_of_source(source)
    usual = registry.entry(registry.default(kind))
    names = [name for name in available(kind) if "-" not in name or name in registry.names(kind)]
    anchors = [name for name in names if name not in registry.names(kind) and not contender(name, kind).lossless]
    own = [] if usual.family == "overfitted" else [usual.name]  # which take minutes
    return names, own + anchors, kinds.size_aimed_at(_USUAL_RATES[kind], opened(source)) or 0


def compare(source: Path, codecs: list[str], size: int, effort: int, curves: bool, folder: Path,
            progress: Progress = no_progress) -> Contest:
    """Codes a file with each codec, near to a size in bytes, and where curves are wanted near its half and its double.

    Raises:
        FewbitsError: for what cannot be read or coded.
    """
    progress(0, "reading")
    media = opened(source)
    first = preview(folder, media)
    shown, heard = [((first.pictures or first.films)[0], "source")], list(first.sounds)
    records = []
    for number, entry in enumerate(entries(media, codecs, [size, size // 2, 2 * size] if curves else [size], effort,
                                           progress)):
        records.append(entry.record)
        if entry.record["setting"] == size:
            place = folder / str(number)
            place.mkdir()
            # a spectrogram is as bright as that of the source says
            made = preview(place, media, entry.decoded) if heard else preview(place, entry.decoded)
            shown.append(((made.pictures or made.films)[-1], _caption(entry)))
            heard += made.sounds[-1:]
    kind = kinds.kind_of(media)
    return Contest(shown, heard, _plot(records, kind), _table(records, kind))


def _caption(entry: Entry) -> str:
    from fewbits.eval.medium import short_label

    metrics = entry.record["metrics"]
    name = next(iter(metrics))
    words = "lossless" if entry.record["exact"] else f"{short_label(name)} {metric_in_words(name, metrics[name])}"
    return f"{entry.record['codec']}: {words}"


def _plot(records: list[dict[str, Any]], kind: str) -> str:
    from fewbits.eval.curves import codecs_of, mean_curves
    from fewbits.eval.medium import MEDIA
    from fewbits.eval.plots import rate_distortion_svg  # brings matplotlib

    result = {"records": records}
    curves = mean_curves(result, _PLOTTED[kind])
    own = [name for name in codecs_of(result) if name in registry.names(kind)]
    return rate_distortion_svg(curves, MEDIA[kind], own, codecs_of(result)) if curves else ""


def _table(records: list[dict[str, Any]], kind: str) -> list[list[str]]:
    from fewbits.eval.curves import codecs_of
    from fewbits.eval.medium import MEDIA, short_label

    medium = MEDIA[kind]
    names = [name for name in medium.usual if any(r["metrics"].get(name) is not None for r in records)]
    head = ["codec", "bytes", medium.unit, *(short_label(name) for name in names), "encode s", "decode s"]
    ordered = sorted(records, key=lambda r: (r["setting"], codecs_of({"records": records}).index(r["codec"])))
    return [head, *([r["codec"], f"{r['bytes']}", f"{r[medium.rate]:.{medium.digits}f}",
                     *("exact" if r["exact"] else _number(r["metrics"].get(name)) for name in names),
                     f"{r['encode_s']:.2f}", f"{r['decode_s']:.2f}"] for r in ordered)]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"

