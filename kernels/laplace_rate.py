"""Bits of numbers under Laplacians, and their slopes, in one pass.

A Laplacian of mean absolute value s puts on x +- 1/2, with a = 1 / s and d = |x|, the mass
`exp(-a (d - 1/2)) (1 - exp(-a)) / 2` where d is above 1/2, else `1 - exp(-a / 2) cosh(a d)`.
"""

import math

import numpy as np
from numba import njit, types

BITS_A_NAT = 1 / math.log(2)
SMALLEST = 1e-12  # mass that is told from none


def reference(numbers: np.ndarray, scales: np.ndarray, scale_of_number: np.ndarray) -> float:
    """The bits, plainly; arguments as of `laplace_rate`."""
    scale, distance = scales[scale_of_number], np.abs(numbers.astype(np.float64))
    inner, outer = np.exp(-np.abs(distance - 0.5) / scale), np.exp(-(distance + 0.5) / scale)
    mass = np.where(distance > 0.5, 0.5 * (inner - outer), 1 - 0.5 * (inner + outer))
    return float(-np.log2(mass).sum())


@njit(types.float64(types.float32[::1], types.float64[::1], types.int64[::1], types.float32[::1], types.float64[::1]),
      cache=True, nogil=True)
def laplace_rate(numbers, scales, scale_of_number, slopes, scale_slopes):  # type: ignore[no-untyped-def]
    """The bits of all numbers.

    Args:
        numbers: (n,).
        scales: (s,), mean absolute values.
        scale_of_number: (n,), which scale each number has.
        slopes: (n,), filled with those of the bits by the numbers.
        scale_slopes: (s,), to which those by the logarithms of the scales are added.
    """
    total = 0.0
    sharpness = 1.0 / scales
    ends = np.exp(-sharpness)
    halves = np.exp(-0.5 * sharpness)
    tops = -np.log(0.5 * (1.0 - ends))
    end_slopes = ends / (1.0 - ends)
    for i in range(numbers.size):
        k = scale_of_number[i]
        a, x = sharpness[k], np.float64(numbers[i])
        d = abs(x)
        if d > 0.5:
            nats, by_number, by_sharpness = a * (d - 0.5) + tops[k], a, d - 0.5 - end_slopes[k]
        else:
            up = math.exp(a * d)
            sinh, cosh = 0.5 * (up - 1.0 / up), 0.5 * (up + 1.0 / up)
            mass = max(1.0 - halves[k] * cosh, SMALLEST)
            nats = -math.log(mass)
            by_number = halves[k] * a * sinh / mass
            by_sharpness = halves[k] * (d * sinh - 0.5 * cosh) / mass
        total += nats
        slopes[i] = BITS_A_NAT * (by_number if x > 0 else -by_number)
        scale_slopes[k] -= BITS_A_NAT * a * by_sharpness
    return BITS_A_NAT * total
