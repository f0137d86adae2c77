"""What evaluations of pictures and of sounds call their things, so that one set of curves and pages serves both."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fewbits.errors import InputError
from fewbits.eval.metrics import METRICS, Metric
from fewbits.eval.sound_metrics import SOUND_METRICS, SoundMetric


@dataclass(frozen=True)
class Medium:
    """Pictures or sounds.

    Attributes:
        thing: what one file is, in words.
        rate, unit, digits: the key of a rate in records, its unit in tables, and the decimals that it gets there.
        axis, ticks: the rate in words, and where its axis has marks.
        metrics: all of them by name.
        plotted, compared: names of those that get a plot and a delta rate.
        anchor: the codec that rates are compared with where nothing else is asked for.
    """

    thing: str
    rate: str
    unit: str
    digits: int
    axis: str
    ticks: tuple[float, ...]
    metrics: Mapping[str, Metric | SoundMetric]
    plotted: tuple[str, ...]
    compared: tuple[str, ...]
    anchor: str


PICTURES = Medium("picture", "bpp", "bpp", 4, "bits per pixel",
                  (0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1, 1.5, 2, 3, 5, 10, 20),
                  METRICS, tuple(METRICS), tuple(METRICS), "avif-psnr")
SOUNDS = Medium("sound", "kbps", "kbit/s", 2, "kbit/s",
                (0.5, 0.7, 1, 1.5, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 1000, 2000),
                SOUND_METRICS, ("pesq_wb", "stoi", "visqol_speech", "visqol_audio", "mel"),
                ("pesq_wb", "visqol_speech", "visqol_audio", "mel"), "opus")


def medium_of(result: Mapping[str, Any]) -> Medium:
    """What an evaluation was of, by its records."""
    return SOUNDS if any(SOUNDS.rate in record for record in result["records"]) else PICTURES


def metric_of(name: str) -> Metric | SoundMetric:
    """The metric of this name, of pictures or sounds; raises `InputError` where there is none."""
    for medium in (PICTURES, SOUNDS):
        if name in medium.metrics:
            return medium.metrics[name]
    raise InputError(f"There is no metric {name!r}; there are: {', '.join([*METRICS, *SOUND_METRICS])}.")


def less_is_better(name: str) -> bool:
    """Whether a metric falls where quality rises; its scale turns it round."""
    scale = metric_of(name).scale
    return scale(1) < scale(0)
