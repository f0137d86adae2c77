"""Rounding the networks of a fit to the integers of a file, each tensor as coarsely as it can bear.

What rounding a tensor costs grows with the square of its step. One trial with a coarse step tells how fast; the step
where a bit saved for the parameters costs a bit elsewhere follows from it.
"""

import math
from collections.abc import Callable

import numpy as np

from fewbits.codecs.image.overfit.architecture import CONTEXT_NETWORKS, UNIT, DecoderSize
from fewbits.codecs.image.overfit.networks import (
    PARAMETER_LIMIT,
    Networks,
    check_ranges,
    coded_difference,
)
from fewbits.codecs.image.overfit.parameters import Parameters
from fewbits.entropy.tables import SymbolTables

TRIAL_SHIFT = 6
COARSEST_SHIFT = TRIAL_SHIFT + 1  # the trial says nothing about steps much coarser than its own


class Rounding:
    """How the parameters of a fit are rounded.

    Args:
        parameters: of the fit; they are changed for trials and changed back.
        start: what differences are from.
        share: gives the part of the cost, in bits, that depends on a tensor, with the parameters as they are.

    Attributes:
        shifts: by name, how many low bits the difference from the start lacks.
    """

    def __init__(self, parameters: Parameters, start: Networks, share: Callable[[str], float]) -> None:
        self._start = start
        self.shifts: dict[str, int] = {}
        for name, view in parameters.views.items():
            exact, before = view.copy(), share(name)
            change = _rounded(exact, start[name], TRIAL_SHIFT) / UNIT - exact
            costs = []
            for direction in (change, -change):  # in the mean of both, the slope of the cost has no part
                view[:] = exact + direction
                costs.append(share(name))
            view[:] = exact
            square = float(np.square(change).sum()) * UNIT**2
            self.shifts[name] = _best_shift(max(sum(costs) / 2 - before, 1e-2) / max(square, 1e-9))

    def networks(self, parameters: Parameters) -> Networks:
        """The nearest integers of a file."""
        networks = {name: _rounded(view, self._start[name], self.shifts[name])
                    for name, view in parameters.views.items()}
        return _within_ranges(networks, self._start, parameters.size)


def leave_unchanged_what_pays_not(parameters: Parameters, networks: Networks, start: Networks, shifts: dict[str, int],
                                  tables: SymbolTables, share: Callable[[str], float]) -> Networks:
    """Networks with those tensors put back to the start's whose differences take more bits than they save.

    Args:
        parameters: of the fit, equal to `networks`; they become what is returned.
        share: as for `Rounding`.
    """
    kept = dict(networks)
    for name, view in parameters.views.items():
        bits = coded_difference(networks[name].astype(np.int64) - start[name], tables, shifts[name]).bits
        if not bits:
            continue
        changed = share(name)
        view[:] = start[name] / UNIT
        if share(name) < changed + bits:
            kept[name] = start[name]
        view[:] = kept[name] / UNIT
    return kept


def _within_ranges(networks: Networks, start: Networks, size: DecoderSize) -> Networks:
    """Networks that the integer arithmetic of decoders can hold: a context network that it cannot is the start's."""
    try:
        check_ranges(networks, size)
        return networks
    except ValueError:
        pass
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
    return min(max(round(math.log2(max(step, 1.0))), 0), COARSEST_SHIFT)


def _rounded(parameter: np.ndarray, start: np.ndarray, shift: int) -> np.ndarray:
    """The start and a multiple of 2**shift, as near to a parameter as can be, in units of a file."""
    step = 2**shift
    rounded = start + np.rint((parameter.astype(np.float64) * UNIT - start) / step).astype(np.int64) * step
    return np.where(np.abs(rounded) > PARAMETER_LIMIT, start, rounded).astype(np.int32)
