"""Rounding the networks of a fit to the integers of a file, each tensor as coarsely as it can bear.

What rounding a tensor costs grows with the square of its step. One trial with a coarse step tells how fast; the step
where a bit saved for the parameters costs a bit elsewhere follows from it.
"""

import math
from typing import TYPE_CHECKING

import numpy as np

from fewbits.codecs.image.overfit.architecture import CONTEXT_NETWORKS, UNIT, DecoderSize
from fewbits.codecs.image.overfit.networks import (
    MAX_SHIFT,
    PARAMETER_LIMIT,
    Networks,
    check_ranges,
    coded_difference,
)
from fewbits.codecs.image.overfit.parameters import Parameters

if TYPE_CHECKING:
    from fewbits.codecs.image.overfit.fitting import Fit

TRIAL_SHIFT = 6


class Rounding:
    """How the parameters of a fit are rounded: by name, the low bits that the difference from the start lacks."""

    def __init__(self, work: "Fit") -> None:
        self._start = work.starts.networks(work.schedule.size, work.start)
        self.shifts: dict[str, int] = {}
        base = work.rounded_total()
        for name, view in work.parameters.views.items():
            goal = view.astype(np.float64) * UNIT
            self.shifts[name] = _best_shift(_harm_per_square(work, view, goal, self._start[name], base))
            view[:] = goal / UNIT

    def networks(self, parameters: Parameters) -> Networks:
        """The nearest integers of a file."""
        networks = {name: _rounded(view.astype(np.float64) * UNIT, self._start[name], self.shifts[name])
                    for name, view in parameters.views.items()}
        return _within_ranges(networks, self._start, parameters.size)


def leave_unchanged_what_pays_not(work: "Fit", networks: Networks, shifts: dict[str, int]) -> Networks:
    """Networks with those tensors put back to the start's whose differences take more bits than they save."""
    start = work.starts.networks(work.schedule.size, work.start)
    kept = dict(networks)
    base = work.rounded_total()
    for name, view in work.parameters.views.items():
        bits = coded_difference(networks[name].astype(np.int64) - start[name], work.starts.tables, shifts[name]).bits
        if not bits:
            continue
        view[:] = start[name] / UNIT
        without = work.rounded_total()
        if without < base + bits:
            kept[name], base = start[name], without
        view[:] = kept[name] / UNIT
    return kept


def _harm_per_square(work: "Fit", view: np.ndarray, goal: np.ndarray, start: np.ndarray, base: float) -> float:
    """How many bits a tensor's rounding costs, for each squared unit of its error."""
    view[:] = _rounded(goal, start, TRIAL_SHIFT) / UNIT
    square = float(np.square(view.astype(np.float64) * UNIT - goal).sum())
    return max(work.rounded_total() - base, 1e-2) / max(square, 1e-9)


def _within_ranges(networks: Networks, start: Networks, size: DecoderSize) -> Networks:
    """Networks that the integer arithmetic of decoders can hold: a context network that it cannot is the start's."""
    for number in range(CONTEXT_NETWORKS):
        own = {name: value for name, value in networks.items() if name.startswith(f"context.{number}.")}
        try:
            check_ranges(start | own, size)
        except ValueError:
            networks |= {name: start[name] for name in own}
    return networks


def _best_shift(harm_per_square: float) -> int:
    """The step where d/dstep of harm * step**2 / 12 equals d/dstep of log2(step)."""
    step = math.sqrt(6 / (math.log(2) * harm_per_square))
    return min(max(round(math.log2(max(step, 1.0))), 0), MAX_SHIFT)


def _rounded(goal: np.ndarray, start: np.ndarray, shift: int) -> np.ndarray:
    """The start and a multiple of 2**shift, as near to the goal as can be."""
    rounded = start + np.rint((goal - start) / 2**shift).astype(np.int64) * 2**shift
    beyond = np.abs(rounded) > PARAMETER_LIMIT
    return np.where(beyond, start, rounded).astype(np.int32)
