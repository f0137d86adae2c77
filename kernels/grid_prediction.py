"""Grids of integers from what a linear prediction leaves of them: each number sees decoded neighbours.

The prediction of a number is `(a * p + b * l + c * u + 16) >> 5`, with `p` the number before it in time, `l` the one to
its left, `u` the one above it, 0 where there is none, and coefficients of its channel. Integers only, so that every
machine restores the same ones.
"""

import numpy as np
from numba import njit, types

NEIGHBOURS = 3  # before, left, above
FRACTION = 5  # bits of a coefficient after the point
LIMIT = 2**26  # of a number: residuals stay within 32 bits, and sums within 64 even in hostile files


def predictions(grid: np.ndarray, coefficients: np.ndarray) -> np.ndarray:
    """What each number of a known grid is predicted as.

    Args:
        grid: (T, C, H, W) int64.
        coefficients: (C, 3) int64.
    """
    before, left, above = np.zeros((3, *grid.shape), np.int64)
    before[1:], left[..., 1:], above[:, :, 1:] = grid[:-1], grid[..., :-1], grid[:, :, :-1]
    seen = np.stack([before, left, above], -1)
    return (np.einsum("tchwn,cn->tchw", seen, coefficients) + (1 << FRACTION >> 1)) >> FRACTION


def residuals(grid: np.ndarray, coefficients: np.ndarray) -> np.ndarray:
    """(T, C, H, W) int32: what `restored` needs. Arguments as of `predictions`; the grid is within `LIMIT`."""
    return (grid - predictions(grid, coefficients)).astype(np.int32)


@njit(types.void(types.int32[:, :, :, ::1], types.int64[:, ::1]), cache=True, nogil=True)
def restore(residuals, coefficients):  # type: ignore[no-untyped-def]
    """Turns residuals (T, C, H, W) into the grid, in place; numbers beyond `LIMIT` are cut."""
    times, channels, rows, columns = residuals.shape
    for t in range(times):
        for c in range(channels):
            a, b, d = coefficients[c]
            for y in range(rows):
                for x in range(columns):
                    total = np.int64(1 << FRACTION >> 1)
                    if t:
                        total += a * residuals[t - 1, c, y, x]
                    if x:
                        total += b * residuals[t, c, y, x - 1]
                    if y:
                        total += d * residuals[t, c, y - 1, x]
                    value = residuals[t, c, y, x] + (total >> FRACTION)
                    residuals[t, c, y, x] = min(max(value, -LIMIT), LIMIT)
