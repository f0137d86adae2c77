"""What evaluations of pictures, sounds and films call their things, so that one set of curves and pages serves all."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fewbits.errors import InputError
from fewbits.eval.metrics import METRICS, USUAL_METRICS, Metric
from fewbits.eval.sound_metrics import SOUND_METRICS, SoundMetric
from fewbits.eval.video_metrics import VIDEO_METRICS, VideoMetric

AnyMetric = Metric | SoundMetric | VideoMetric


@dataclass(frozen=True)
class Medium:
    """Pictures, sounds or films.

    Attributes:
        thing: what one file is, in words.
        mark: a key that its records have, and those of media after it in `MEDIA` do not.
        rate, unit, digits: the key of a rate in records, its unit in tables, and the decimals that it gets there.
        axis, ticks: the rate in words, and where its axis has marks.
        metrics: all of them by name.
        usual: names of those that are measured where nothing else is asked for.
        plotted, compared: names of those that get a plot and a delta rate.
        anchor: the codec that rates are compared with where nothing else is asked for.
    """

    thing: str
    mark: str
    rate: str
    unit: str
    digits: int
    axis: str
    ticks: tuple[float, ...]
    metrics: Mapping[str, AnyMetric]
    usual: tuple[str, ...]
    plotted: tuple[str, ...]
    compared: tuple[str, ...]
    anchor: str


PICTURES = Medium("picture", "bpp", "bpp", "bpp", 4, "bits per pixel",
                  (0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1, 1.5, 2, 3, 5, 10, 20),
                  METRICS, USUAL_METRICS, tuple(METRICS), tuple(METRICS), "avif-psnr")
SOUNDS = Medium("sound", "kbps", "kbps", "kbit/s", 2, "kbit/s",
                (0.5, 0.7, 1, 1.5, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 1000, 2000),
                SOUND_METRICS, tuple(SOUND_METRICS), ("pesq_wb", "stoi", "visqol_speech", "visqol_audio", "mel"),
                ("pesq_wb", "visqol_speech", "visqol_audio", "mel"), "opus")
FILMS = Medium("film", "frames", "bpp", "bpp", 4, "bits per pixel",
               (0.001, 0.002, 0.003, 0.005, 0.007, 0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.2, 0.3, 0.5, 0.7, 1, 2, 5),
               VIDEO_METRICS, tuple(VIDEO_METRICS), tuple(VIDEO_METRICS), tuple(VIDEO_METRICS), "x264")
MEDIA = {"video": FILMS, "audio": SOUNDS, "image": PICTURES}
"""All media by kind; records of films have the keys of the others too."""


def medium_of(result: Mapping[str, Any]) -> Medium:
    """What an evaluation was of, by its records."""
    keys = {key for record in result["records"] for key in record}
    return next((medium for medium in MEDIA.values() if medium.mark in keys), PICTURES)


def metric_of(name: str) -> AnyMetric:
    """The metric of this name, of any medium, as those of one name are drawn alike; raises `InputError` for no name."""
    known: dict[str, AnyMetric] = {**METRICS, **SOUND_METRICS, **VIDEO_METRICS}
    if name not in known:
        raise InputError(f"There is no metric {name!r}; there are: {', '.join(known)}.")
    return known[name]


def short_label(name: str) -> str:
    """The label of a metric without its unit."""
    return metric_of(name).label.partition(" (")[0].removesuffix(" dB")


def less_is_better(name: str) -> bool:
    """Whether a metric falls where quality rises; its scale turns it round."""
    scale = metric_of(name).scale
    return scale(1) < scale(0)
