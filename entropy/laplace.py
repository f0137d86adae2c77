"""Laplacians as integer tables that need not be shipped.

They are made in decimal arithmetic, whose results are correctly rounded by its standard, so that every machine makes
the same integers; floats decide nothing.
"""

from decimal import Decimal, localcontext
from functools import cache
from itertools import pairwise

import numpy as np

from fewbits.entropy.tables import MAX_REACH, TAIL, SymbolTables
from fewbits.kernels.ans import TOTAL

DIGITS = 40


@cache
def laplace_tables(low: str, steps_an_octave: int, count: int) -> SymbolTables:
    """Zero-mean Laplacians integrated over unit steps, of mean absolute values that grow evenly in octaves.

    Args:
        low: the smallest mean absolute value, as a decimal number.
        steps_an_octave: tables in a doubling, a power of two.
        count: tables; table k has the mean absolute value `low * 2**(k / steps_an_octave)`.
    """
    with localcontext() as context:
        context.prec = DIGITS
        ratio = Decimal(2)
        while steps_an_octave > 1:
            ratio, steps_an_octave = ratio.sqrt(), steps_an_octave // 2
        rows = [_row(Decimal(low) * ratio**k) for k in range(count)]
    return SymbolTables.from_frequencies(rows, [1 - len(row) // 2 for row in rows])


def _row(scale: Decimal) -> np.ndarray:
    """Frequencies of -n ... n, and of the escape."""
    beyond = [(Decimal("-0.5") / scale).exp() / 2]  # 1/2, 3/2, ... steps above the centre
    ratio, tail = (-1 / scale).exp(), Decimal(TAIL)
    while 2 * beyond[-1] >= tail and len(beyond) <= MAX_REACH:
        beyond.append(beyond[-1] * ratio)
    side = [above - further for above, further in pairwise(beyond)]
    shares = [*side[::-1], 1 - 2 * beyond[0], *side, 2 * beyond[-1]]
    frequencies = [1 + int(share * (TOTAL - len(shares))) for share in shares]
    frequencies[len(side)] += TOTAL - sum(frequencies)  # what rounding down has left goes to 0
    return np.array(frequencies, np.int32)
