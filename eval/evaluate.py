"""Rates and distortions of codecs on files: every rate is the size of a file that was written and decoded again."""

import math
import os
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from fewbits.codecs.codec import Progress, no_progress, part_of
from fewbits.codecs.media import Image
from fewbits.errors import FewbitsError, InputError
from fewbits.eval.contenders import Contender, entrant
from fewbits.eval.environment import describe_environment
from fewbits.eval.ledger import NOTHING_KEPT, Ledger
from fewbits.eval.metrics import METRICS, USUAL_METRICS, Metric, metric
from fewbits.eval.sound_metrics import SoundMetric

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".avif", ".tif", ".tiff", ".bmp", ".ppm", ".pgm")
_WARM_UP_SIDE = 256


def evaluate(
    paths: Sequence[str | Path],
    codecs: Sequence[tuple[str, Sequence[float] | None]],
    effort: int = 5,
    metrics: Sequence[str] = USUAL_METRICS,
    progress: Progress = no_progress,
    ledger: Ledger = NOTHING_KEPT,
) -> dict[str, object]:
    """Runs codecs over pictures.

    Args:
        paths: pictures, and folders of pictures.
        codecs: (name, settings), settings None for the codec's own spread; see `contenders.available`.
        effort: 1 to 9, for neural codecs.
        metrics: names from `metrics.METRICS`.
        ledger: keeps records, for a run that is interrupted.

    Returns:
        An object ready for JSON: `environment`; `notices`, sentences for the user; and `records`, one for each file,
        codec and setting, with `file`, `codec`, `setting`, `bytes`, `bpp` (bits per pixel of the whole file),
        `metrics` (name to value, None where the metric cannot be had or is infinite), `exact` (every sample came back
        as it was), `encode_s` and `decode_s` (wall seconds, without reading the source); for neural codecs also
        `estimate_bits`.

    Raises:
        InputError: for unknown names and settings, and for files that cannot be read or coded.
    """
    entrants = [entrant(name, settings) for name, settings in codecs]
    for name in metrics:
        metric(name)
    sources = expand(paths)
    total = len(sources) * sum(len(settings) for _, settings in entrants)
    records: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory(prefix="fewbits-eval-") as folder:
        for name, codec, setting, image in _runs(sources, entrants, effort):
            reports = part_of(progress, len(records), total, f"{codec.name}@{setting:g} {name}")
            reports(0, "coding")
            measure = partial(_measure, codec, setting, image, effort, metrics, Path(folder), reports)
            record = {"file": name, "codec": codec.name, "setting": setting}
            records.append(ledger.record(sources[name], record, measure))
    progress(1, "done")
    environment = describe_environment() | {"effort": effort}
    return {"environment": environment, "notices": missing_packages(metrics, METRICS), "records": records}


def missing_packages(names: Sequence[str], known: Mapping[str, Metric] | Mapping[str, SoundMetric]) -> list[str]:
    """Sentences on those metrics, of pictures or sounds, whose packages are not installed."""
    labels = [known[name].label for name in names if not known[name].installed]
    return [f"Left out, for want of the extra packages of fewbits[metrics]: {', '.join(labels)}."] if labels else []


def expand(paths: Sequence[str | Path], suffixes: Collection[str] = PICTURE_SUFFIXES,
           kind: str = "picture") -> dict[str, Path]:
    """Pictures, or files of another kind, among paths and in folders, by the name that they have in records.

    Args:
        paths: files, and folders of files.
        suffixes: ends of the names of those files of a folder that are taken.
        kind: what they are, in words.

    Returns:
        Path below the folder that all of them share (so each its own name) to the path as given, in order.

    Raises:
        InputError: if a path does not exist, or there is no such file at all.
    """
    files: list[Path] = []
    for path in map(Path, paths):
        if path.is_dir():
            files += sorted(p for p in path.iterdir() if p.suffix.lower() in suffixes and p.is_file())
        elif path.is_file():
            files.append(path)
        else:
            raise InputError(f"There is no file {path}.")
    if not files:
        raise InputError(f"There is no {kind} to evaluate.")
    return named(files)


def named(files: Sequence[Path]) -> dict[str, Path]:
    """Path below the folder that all files share (so each its own name) to the path as given, in order."""
    shared = os.path.commonpath([p.resolve().parent for p in files])
    return {p.resolve().relative_to(shared).as_posix(): p for p in files}


def _runs(sources: dict[str, Path], entrants: list[tuple[Contender[Image], list[float]]],
          effort: int) -> Iterator[tuple[str, Contender[Image], float, Image]]:
    """Everything to measure, file by file so that one picture is in memory at a time."""
    cold = {codec.name for codec, _ in entrants}
    for name, path in sources.items():
        image = Image.open(path)
        for codec, settings in entrants:
            if codec.name in cold:
                _warm_up(codec, image, settings[0])
                cold.remove(codec.name)
            for setting in settings:
                yield name, codec, setting, image


def _warm_up(codec: Contender[Image], image: Image, setting: float) -> None:
    """Codes a corner with the least effort, so that imports, weights and compilation do not count as coding."""
    corner = np.ascontiguousarray(image.pixels[:_WARM_UP_SIDE, :_WARM_UP_SIDE])
    codec.decode(codec.encode(Image(corner), setting, 1)[0])


def _measure(codec: Contender[Image], setting: float, image: Image, effort: int, metrics: Sequence[str],
             folder: Path, progress: Progress) -> dict[str, object]:
    """One record, without what names it."""
    decoded, trip = codec.trip(image, setting, effort, folder, progress)
    values, exact = compare(image, decoded, metrics)
    return {**trip, "bpp": 8 * trip["bytes"] / (image.width * image.height), "metrics": values, "exact": exact}


def compare(source: Image, decoded: Image, names: Sequence[str]) -> tuple[dict[str, float | None], bool]:
    """Metrics by name, None where one cannot be had or is infinite, and whether every sample of the source came back.

    Raises:
        FewbitsError: if the pictures differ in size.
    """
    if decoded.pixels.shape[:2] != source.pixels.shape[:2]:
        raise FewbitsError(f"{decoded.width} x {decoded.height} pixels of a picture of {source.width} x "
                           f"{source.height} came back.")
    a, b = source.rgb(), decoded.rgb()
    values = {name: _finite(METRICS[name].compute(a, b)) if METRICS[name].installed else None for name in names}
    return values, decoded.bits == source.bits and np.array_equal(decoded.pixels, source.pixels)


def _finite(value: float | None) -> float | None:
    """JSON knows no infinity."""
    return value if value is not None and math.isfinite(value) else None
