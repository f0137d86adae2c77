"""Sets of experts: which neighbours they look at, and how far back they learn. Part of the format."""

from dataclasses import dataclass

import numpy as np

OWN = ((0, -1), (-1, 0), (-1, -1), (-1, 1), (0, -2), (-2, 0), (-2, -1), (-2, 1), (-1, -2), (-1, 2), (-2, -2), (-2, 2),
       (0, -3), (-3, 0), (-3, -1), (-3, 1), (-1, -3), (-1, 3), (-2, -3), (-2, 3), (-3, -2), (-3, 2), (0, -4), (-4, 0))
"""Neighbours in the plane itself, rows down and columns right, in the order in which experts use them."""

EARLIER = ((0, 0), (0, -1), (-1, 0), (0, 1), (1, 0), (-1, -1), (-1, 1), (1, -1), (1, 1),
           (0, -2), (-2, 0), (0, 2), (2, 0))
"""Neighbours in each earlier plane."""


@dataclass(frozen=True)
class Expert:
    """One predictor.

    Attributes:
        own, earlier: how many of the neighbours it looks at, in its plane and in each earlier one.
        reach: the weight of a sample falls by this with each row and each column of distance.
        ridge: see `kernels.least_squares`.
    """

    own: int
    earlier: int
    reach: float
    ridge: float

    def places(self, plane: int, sources: int) -> np.ndarray:
        """(n, 3) int64: plane, rows down, columns right of each input. The plane looks at `sources` earlier ones."""
        places = [(plane, *place) for place in OWN[: self.own]]
        for source in range(sources):
            places += [(source, *place) for place in EARLIER[: self.earlier]]
        return np.array(places, np.int64)


SETS: tuple[tuple[Expert, ...], ...] = (
    (Expert(6, 3, 0.8, 4.0),),
    (Expert(4, 3, 0.6, 4.0), Expert(10, 5, 0.85, 8.0)),
    (Expert(2, 2, 0.3, 4.0), Expert(6, 4, 0.65, 4.0), Expert(14, 9, 0.88, 4.0)),
    (Expert(2, 2, 0.3, 4.0), Expert(6, 5, 0.6, 4.0), Expert(12, 9, 0.82, 8.0), Expert(24, 13, 0.94, 8.0)),
    (Expert(2, 2, 0.3, 4.0), Expert(4, 3, 0.45, 4.0), Expert(6, 5, 0.6, 4.0), Expert(10, 5, 0.75, 8.0),
     Expert(16, 9, 0.87, 8.0), Expert(24, 13, 0.95, 8.0)),
)
"""Files name a set by its number."""

SET_OF_EFFORT = (0, 1, 1, 2, 3, 3, 3, 4, 4)
"""For efforts 1 to 9."""

BLEND_REACH, BLEND_RIDGE = 0.9, 1.0
CALM = 2.0  # see `kernels.residual_circuit`, for samples of 8 bits


def windows(experts: tuple[Expert, ...], unit: float) -> np.ndarray:
    """(E + 1, 3) float64: across, down and ridge of the experts and of the blend.

    Args:
        unit: what a step of 8 bits is in the samples at hand.
    """
    rows = [(e.reach, e.reach, e.ridge * unit * unit) for e in experts]
    return np.array([*rows, (BLEND_REACH, BLEND_REACH, BLEND_RIDGE)], np.float64)
