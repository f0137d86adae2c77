"""When the frames of a file come, and which of them a film of a constant rate takes."""

import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from fewbits.entropy.container import MAX_RATE_TERM
from fewbits.errors import InputError

if TYPE_CHECKING:
    import av

_USUAL_RATES = (Fraction(24000, 1001), Fraction(24), Fraction(25), Fraction(30000, 1001), Fraction(30), Fraction(48),
                Fraction(50), Fraction(60000, 1001), Fraction(60), Fraction(120))
_GUESSED = ("avi",)  # files without times of their own: FFmpeg guesses them, and wrongly after a jump
_UNKNOWN_RATE = Fraction(25)  # of what says nothing about time
_MAX_FRAMES = 10_000_000  # beyond which times must be wrong
_STEADY = 0.25  # how far each frame may be from its place, in frames, where the rate is constant


@dataclass(frozen=True)
class Timing:
    """The times of the frames of a file.

    Attributes:
        ticks: (N,) int64, in order; None where the file says nothing.
        tick: seconds of one.
        packets: how many the file has, also of frames that are not shown.
        wanted: (count,) int64: the numbers of the frames that the film takes, in its order; some may come twice.
        rate: frames of the film a second.
        notices: sentences for the user.
    """

    ticks: np.ndarray | None
    tick: Fraction
    packets: int
    wanted: np.ndarray
    rate: Fraction
    notices: tuple[str, ...] = ()

    @property
    def start(self) -> Fraction:
        """When the first frame comes (s)."""
        return Fraction(0) if self.ticks is None else int(self.ticks[0]) * self.tick

    def seek(self, container: "av.container.InputContainer", stream: "av.VideoStream", number: int) -> None:
        """Goes to where the decoder can begin for a frame; where times are not known for certain, nowhere."""
        if self.ticks is not None and container.format.name not in _GUESSED:
            container.seek(int(self.ticks[number]), stream=stream)

    def numbered(self, frames: "Iterable[av.VideoFrame]") -> "Iterator[tuple[int, av.VideoFrame]]":
        """Decoded frames with their numbers."""
        number = -1
        for frame in frames:
            if self.ticks is None or frame.pts is None:
                number += 1
            else:
                number = int(np.searchsorted(self.ticks, frame.pts))
            yield number, frame


def timing_of(stream: "av.VideoStream", packets: "Iterable[av.Packet]") -> Timing | None:
    """The timing of a stream, from all its packets; None where it has none. Raises `InputError` for absurd times."""
    found, shown = 0, []
    for packet in packets:
        found += packet.size > 0 or packet.dts is not None  # the last one is made up
        if packet.size and not packet.is_discard:
            shown.append((packet.pts, packet.duration or 0))
    if not shown:
        return None
    rates = [_simple(Fraction(rate)) for rate in (stream.guessed_rate, stream.average_rate, stream.base_rate) if rate]
    tick = stream.time_base or Fraction(1)
    if any(pts is None for pts, _ in shown):
        rate = rates[0] if rates else _UNKNOWN_RATE
        return Timing(None, tick, found, np.arange(len(shown)), rate)
    ticks = np.unique(np.array([pts for pts, _ in shown], np.int64))
    times = (ticks - ticks[0]) * float(tick)
    for rate in (*rates, *_rates_by_times(times)):
        if np.abs(times * float(rate) - np.arange(len(ticks))).max() < _STEADY:
            return Timing(ticks, tick, found, np.arange(len(ticks)), rate)
    period = int(np.median(np.diff(ticks)))
    rate = _usual(period * tick, tick)
    wanted = _nearest(times, float(rate), float(max(period, max(shown)[1]) * tick))
    notice = (f"The frames come at no constant rate: {len(wanted)} at {float(rate):.6g} a second were taken from "
              f"{len(ticks)}, each the nearest in time.")
    return Timing(ticks, tick, found, wanted, rate, (notice,))


def announced_seconds(stream: "av.VideoStream") -> float:
    """How long a stream lasts by the tag that most files of Matroska have; 0 where there is none."""
    tag = re.fullmatch(r"(\d{1,4}):(\d\d):(\d\d(?:\.\d{1,9})?)", stream.metadata.get("DURATION", ""))
    return int(tag[1]) * 3600 + int(tag[2]) * 60 + float(tag[3]) if tag else 0


def _rates_by_times(times: np.ndarray) -> tuple[Fraction, ...]:
    """What the rate may be by the mean time between frames: a usual one, or just that."""
    if len(times) == 1:
        return (_UNKNOWN_RATE,)
    mean = Fraction((len(times) - 1) / times[-1])
    return min(_USUAL_RATES, key=lambda rate: abs(rate - mean)), _simple(mean)


def _nearest(times: np.ndarray, rate: float, last: float) -> np.ndarray:
    """For each frame of a constant rate, the number of the one that is nearest in time; the last lasts `last` s."""
    count = max(round((times[-1] + last) * rate), 1)
    if count > _MAX_FRAMES:
        raise InputError(f"By the times of its frames the film would have {count} frames, more than the limit of "
                         f"{_MAX_FRAMES}: cut it into parts.")
    return np.searchsorted((times[1:] + times[:-1]) / 2, np.arange(count) / rate)


def _usual(period: Fraction, tick: Fraction) -> Fraction:
    """The rate of a time between frames, measured in ticks: a usual one where that explains it."""
    usual = min(_USUAL_RATES, key=lambda rate: abs(1 / rate - period))
    return usual if abs(1 / usual - period) <= tick else _simple(1 / period)


def _simple(rate: Fraction) -> Fraction:
    """The nearest rate that files can hold."""
    if max(rate.numerator, rate.denominator) <= MAX_RATE_TERM:
        return rate
    possible = min(max(rate, Fraction(1, MAX_RATE_TERM)), Fraction(MAX_RATE_TERM))
    return possible.limit_denominator(max(MAX_RATE_TERM // math.ceil(possible) - 1, 1))
