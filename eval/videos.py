"""Codecs on films: rates, distortions and times; every rate is the size of a file written and decoded again."""

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from fewbits.codecs.codec import Progress, no_progress, part_of
from fewbits.codecs.film import MAX_VIDEO_PIXELS, Video
from fewbits.codecs.sound_track import SoundTrack
from fewbits.codecs.suffixes import suffixes_of
from fewbits.codecs.video_source import VideoFile, VideoSource
from fewbits.errors import InputError
from fewbits.eval.contenders import Contender, available, entrant, parse_codec
from fewbits.eval.environment import describe_environment
from fewbits.eval.evaluate import expand
from fewbits.eval.ledger import NOTHING_KEPT, Ledger
from fewbits.eval.metrics import MS_SSIM_MIN_SIDE
from fewbits.eval.trip import read_through
from fewbits.eval.video_metrics import VIDEO_METRICS, ceiling, compare

_WARM_UP_FRAMES, _WARM_UP_SIDE = 2, 128

Seen = Callable[[dict[str, Any], VideoSource, VideoSource], None]
"""Called with a record, the source, and what the codec made of it."""


def asked_for(codecs: Sequence[str]) -> bool:
    """Whether one of the codecs (`NAME` or `NAME@SETTING,SETTING...`) is for films."""
    return any(text.partition("@")[0] in available("video") for text in codecs)


def evaluate(
    paths: Sequence[str | Path],
    codecs: Sequence[str],
    effort: int = 5,
    metrics: Sequence[str] = tuple(VIDEO_METRICS),
    seen: Seen = lambda record, source, decoded: None,
    progress: Progress = no_progress,
    ledger: Ledger = NOTHING_KEPT,
) -> dict[str, object]:
    """Runs codecs over films, without their sound.

    Args:
        paths: films, and folders of films.
        codecs: `NAME` or `NAME@SETTING,SETTING...`, from `contenders.available("video")`.
        effort: 1 to 9, for neural codecs.
        metrics: names from `video_metrics.VIDEO_METRICS`.
        seen: called after each record that is measured, to look at what it is about while that is there.
        ledger: keeps records, for a run that is interrupted.

    Returns:
        An object ready for JSON: `environment`, with `effort`; `notices`, sentences for the user; `films`, by name
        `width`, `height`, `frames`, `fps`, `psnr_420` (dB that are left when frames become planes of 4:2:0 and RGB
        again) and `read_s` (wall seconds to read the source); and `records`, one for each file, codec and setting,
        with `file`, `codec`, `setting`, `frames`, `seconds` (length of the film), `bytes`, `bpp` (bits per pixel of
        all frames) and `kbps` (kbit/s) of the whole file, `metrics` (name to value, None where the metric cannot be
        had), `exact` (every sample came back as it was), `encode_s` (wall seconds, with those of reading the source,
        which is done frame by frame) and `decode_s`; for neural codecs also `estimate_bits`.

    Raises:
        InputError: for unknown names and settings, and for files that cannot be read or coded.
    """
    entrants = [entrant(*parse_codec(text, "video"), "video") for text in codecs]
    unknown = [name for name in metrics if name not in VIDEO_METRICS]
    if unknown:
        raise InputError(f"There is no metric {unknown[0]!r} of films; there are: {', '.join(VIDEO_METRICS)}.")
    files = expand(paths, suffixes_of("video"), "film")
    sources = {name: VideoFile(path, MAX_VIDEO_PIXELS) for name, path in files.items()}
    total = len(sources) * sum(len(settings) for _, settings in entrants)
    records: list[dict[str, Any]] = []
    films = {name: _described(film) for name, film in sources.items()}
    with tempfile.TemporaryDirectory(prefix="fewbits-eval-") as folder:
        for name, codec, setting, film in _runs(sources, entrants):
            reports = part_of(progress, len(records), total, f"{codec.name}@{setting:g} {name}")
            reports(0, "coding")
            record = {"file": name, "codec": codec.name, "setting": setting}
            measure = partial(_measure, record, codec, film, effort, metrics, Path(folder), seen, reports)
            records.append(ledger.record(files[name], record, measure))
    progress(1, "done")
    notices = [f"{name}: {sentence}" for name, film in sources.items()
               for sentence in (*film.notices, *_sentences(film, films[name], metrics))]
    environment = describe_environment() | {"effort": effort}
    return {"environment": environment, "notices": notices, "films": films, "records": records}


class Placed(VideoSource):
    """What a classical codec made of a film, at the rate and without the rows and columns that were added to it."""

    def __init__(self, decoded: VideoSource, source: VideoSource) -> None:
        self._decoded = decoded
        self.width, self.height = min(decoded.width, source.width), min(decoded.height, source.height)
        self.count, self.rate, self.colour = decoded.count, source.rate, decoded.colour

    @property
    def sound(self) -> SoundTrack | None:
        return None

    def frames(self, start: int = 0, stop: int | None = None) -> Iterator[np.ndarray]:
        return (frame[: self.height, : self.width] for frame in self._decoded.frames(start, stop))


def _described(film: VideoSource) -> dict[str, float]:
    """What is told of a film, without its name."""
    start = time.perf_counter()
    read_through(film)
    read_s = time.perf_counter() - start
    return {"width": film.width, "height": film.height, "frames": film.count, "fps": float(film.rate),
            "psnr_420": ceiling(film), "read_s": read_s}


def _sentences(film: VideoSource, described: dict[str, float], metrics: Sequence[str]) -> list[str]:
    """What people should know to read the figures of a film."""
    sentences = [f"{film.count} frames of {film.width} x {film.height} pixels, {film.rate} a second. 4:2:0 alone, "
                 f"which the anchors code, leaves {described['psnr_420']:.2f} dB of PSNR. To read the film takes "
                 f"{described['read_s']:.2f} s, which are in every time of encoding."]
    if "ms_ssim" in metrics and min(film.width, film.height) < MS_SSIM_MIN_SIDE:
        sentences.append(f"MS-SSIM cannot be had: it takes frames of {MS_SSIM_MIN_SIDE} pixels or more on each side.")
    return sentences


def _runs(sources: dict[str, VideoFile], entrants: list[tuple[Contender[VideoSource], list[float]]],
          ) -> Iterator[tuple[str, Contender[VideoSource], float, VideoSource]]:
    """Everything to measure, file by file."""
    for number, (name, film) in enumerate(sources.items()):
        for codec, settings in entrants:
            if number == 0:  # so that imports, weights and compilation do not count as coding
                read_through(codec.decode(codec.encode(_corner(film), settings[0], 1)[0]))
            for setting in settings:
                yield name, codec, setting, film


def _corner(film: VideoSource) -> Video:
    """A small part of a film."""
    frames = [frame[:_WARM_UP_SIDE, :_WARM_UP_SIDE] for frame in film.frames(0, _WARM_UP_FRAMES)]
    return Video(np.stack(frames), film.rate, film.colour)


def _measure(named: dict[str, Any], codec: Contender[VideoSource], film: VideoSource, effort: int,
             metrics: Sequence[str], folder: Path, seen: Seen, progress: Progress) -> dict[str, Any]:
    """One record, without what names it."""
    decoded, trip = codec.trip(film, named["setting"], effort, folder, progress)
    result = decoded if codec.neural else Placed(decoded, film)
    values, exact = compare(film, result, metrics)
    measured = {
        "frames": film.count,
        "seconds": film.seconds,
        **trip,
        "bpp": 8 * trip["bytes"] / film.pixel_count,
        "kbps": 8 * trip["bytes"] / film.seconds / 1000,
        "metrics": values,
        "exact": exact,
    }
    seen(named | measured, film, result)
    return measured
