"""The cumulative function of the logistic distribution as a table of integers, the same on every machine."""

import numpy as np

STEPS = 32  # of the table, for each unit of the argument
REACH = 24  # units on both sides of the centre: beyond, less than 2**-32 is left
CENTRE = STEPS * REACH  # number of the entry for the argument 0
LAST = 2 * CENTRE
_FRACTION = 160  # bits of the arithmetic that makes the table


def _table() -> np.ndarray:
    """Entries `round(2**32 / (1 + exp(-(i - CENTRE) / STEPS)))`, made of whole numbers alone."""
    one = 1 << _FRACTION
    term = factor = one
    for k in range(1, 60):  # exp(-1 / STEPS) by its series
        term = -term // (STEPS * k)
        factor += term
    lower, power = [], one
    for _ in range(CENTRE + 1):
        lower.append(((power << 33) // (one + power) + 1) >> 1)
        power = power * factor >> _FRACTION
    whole = [*reversed(lower), *((1 << 32) - entry for entry in lower[1:])]
    return np.array(whole, np.float64) / 2.0**32


LOGISTIC = _table()
"""(LAST + 1,) float64, multiples of 2**-32 from 0 to 1."""
