"""Learned separable upsampling of a plane by two, and the way back, for encoders.

Computes what `upsampling` defines, with sums in any order. A row of the result is made in one go: a vertical
combination of four rows, then its horizontal expansion, so that nothing but the two planes goes through memory.
"""

import numpy as np
from numba import float32, njit, void

_ZERO = np.float32(0)
_PLANE = float32[:, ::1]
_ROW = float32[::1]


@njit(inline="always")
def _source(row, tap, height):  # type: ignore[no-untyped-def]
    """The input row that a tap of the filter meets for an output row; odd rows meet the filter mirrored."""
    offset = 2 - tap if row & 1 else tap - 2
    return min(max((row >> 1) + offset, 0), height - 1)


@njit(inline="always", fastmath=True)
def _combine(plane, row, taps, padded):  # type: ignore[no-untyped-def]
    """The vertical combination for an output row, with two replicated values at both ends."""
    height, width = plane.shape
    a, b, c, d = (plane[_source(row, 0, height)], plane[_source(row, 1, height)],
                  plane[_source(row, 2, height)], plane[_source(row, 3, height)])
    f0, f1, f2, f3 = taps[0], taps[1], taps[2], taps[3]
    inner = padded[2:]
    for x in range(width):
        inner[x] = f0 * a[x] + f1 * b[x] + f2 * c[x] + f3 * d[x]
    padded[0] = padded[1] = padded[2]
    padded[width + 2] = padded[width + 3] = padded[width + 1]


@njit(void(_PLANE, _ROW, _PLANE), cache=True, nogil=True, fastmath=True)
def upsample(plane, taps, result):  # type: ignore[no-untyped-def]
    """Fills `result`, (2 H or 2 H - 1, 2 W or 2 W - 1), from `plane`, (H, W), with the four taps of a phase."""
    width = plane.shape[1]
    padded = np.empty(width + 4, np.float32)
    wide = np.empty(2 * width, np.float32)
    f0, f1, f2, f3 = taps[0], taps[1], taps[2], taps[3]
    for row in range(result.shape[0]):
        _combine(plane, row, taps, padded)
        for x in range(width):
            wide[2 * x] = f0 * padded[x] + f1 * padded[x + 1] + f2 * padded[x + 2] + f3 * padded[x + 3]
            wide[2 * x + 1] = f3 * padded[x + 1] + f2 * padded[x + 2] + f1 * padded[x + 3] + f0 * padded[x + 4]
        target = result[row]
        for x in range(target.size):
            target[x] = wide[x]


@njit(void(_PLANE, _ROW, _PLANE, _PLANE, _ROW), cache=True, nogil=True, fastmath=True)
def upsample_gradient(plane, taps, result_gradient, plane_gradient, taps_sum):  # type: ignore[no-untyped-def]
    """Adds the gradients of `plane` and `taps` to `plane_gradient` and `taps_sum`."""
    height, width = plane.shape
    padded, padded_gradient = np.empty(width + 4, np.float32), np.empty(width + 4, np.float32)
    # Zeros around them spare the loop below its special cases at the borders.
    padded_even, padded_odd = np.zeros(width + 8, np.float32), np.zeros(width + 8, np.float32)
    even, odd = padded_even[4:], padded_odd[4:]
    f0, f1, f2, f3 = taps[0], taps[1], taps[2], taps[3]
    for row in range(result_gradient.shape[0]):
        source = result_gradient[row]
        pairs = source.size // 2
        for x in range(pairs):
            even[x] = source[2 * x]
            odd[x] = source[2 * x + 1]
        if source.size & 1:
            even[pairs] = source[2 * pairs]
        _combine(plane, row, taps, padded)
        s0 = s1 = s2 = s3 = _ZERO
        for x in range(width):
            s0 += even[x] * padded[x] + odd[x] * padded[x + 4]
            s1 += even[x] * padded[x + 1] + odd[x] * padded[x + 3]
            s2 += even[x] * padded[x + 2] + odd[x] * padded[x + 2]
            s3 += even[x] * padded[x + 3] + odd[x] * padded[x + 1]
        for x in range(width + 4):
            padded_gradient[x] = (f0 * (padded_even[x + 4] + padded_odd[x])
                                  + f1 * (padded_even[x + 3] + padded_odd[x + 1])
                                  + f2 * (padded_even[x + 2] + padded_odd[x + 2])
                                  + f3 * (padded_even[x + 1] + padded_odd[x + 3]))
        padded_gradient[2] += padded_gradient[0] + padded_gradient[1]
        padded_gradient[width + 1] += padded_gradient[width + 2] + padded_gradient[width + 3]
        inner = padded_gradient[2:]
        for tap in range(4):
            values, target = plane[_source(row, tap, height)], plane_gradient[_source(row, tap, height)]
            f, s = taps[tap], _ZERO
            for x in range(width):
                s += inner[x] * values[x]
                target[x] += f * inner[x]
            if tap == 0:
                s0 += s
            elif tap == 1:
                s1 += s
            elif tap == 2:
                s2 += s
            else:
                s3 += s
        taps_sum[0] += s0
        taps_sum[1] += s1
        taps_sum[2] += s2
        taps_sum[3] += s3
