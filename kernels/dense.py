"""Dense layers and ReLUs over blocks of positions, forward and back, fast enough that nothing else of a fit matters.

A block is (channels, BLOCK) float32, its positions contiguous. Layers are tiny (8 to 40 channels), so that a matrix
library would spend its time on its own calls; here inner loops run over the positions, with two outputs and four inputs
at a time, which the compiler turns into full vector instructions. Channels are padded: inputs to a multiple of four,
outputs to a multiple of two.
"""

import numpy as np
from numba import njit

BLOCK = 128  # positions

_ZERO = np.float32(0)


@njit(inline="always", fastmath=True)
def forward(weight, bias, x, y):  # type: ignore[no-untyped-def]
    """y = weight @ x + bias, for weight (O, I), bias (O,), x (I, BLOCK) and y (O, BLOCK)."""
    for o in range(0, weight.shape[0], 2):
        first, second = y[o], y[o + 1]
        b0, b1 = bias[o], bias[o + 1]
        for p in range(BLOCK):
            first[p] = b0
            second[p] = b1
        for i in range(0, weight.shape[1], 4):
            x0, x1, x2, x3 = x[i], x[i + 1], x[i + 2], x[i + 3]
            a0, a1, a2, a3 = weight[o, i], weight[o, i + 1], weight[o, i + 2], weight[o, i + 3]
            c0, c1, c2, c3 = weight[o + 1, i], weight[o + 1, i + 1], weight[o + 1, i + 2], weight[o + 1, i + 3]
            for p in range(BLOCK):
                first[p] += a0 * x0[p] + a1 * x1[p] + a2 * x2[p] + a3 * x3[p]
                second[p] += c0 * x0[p] + c1 * x1[p] + c2 * x2[p] + c3 * x3[p]


@njit(inline="always", fastmath=True)
def weight_gradient(y_gradient, x, weight_sum, bias_sum):  # type: ignore[no-untyped-def]
    """Adds the gradients of weight (O, I) and bias (O,) to their sums."""
    for o in range(0, weight_sum.shape[0], 2):
        first, second = y_gradient[o], y_gradient[o + 1]
        b0 = b1 = _ZERO
        for p in range(BLOCK):
            b0 += first[p]
            b1 += second[p]
        bias_sum[o] += b0
        bias_sum[o + 1] += b1
        for i in range(0, weight_sum.shape[1], 4):
            x0, x1, x2, x3 = x[i], x[i + 1], x[i + 2], x[i + 3]
            a0 = a1 = a2 = a3 = c0 = c1 = c2 = c3 = _ZERO
            for p in range(BLOCK):
                g, h = first[p], second[p]
                a0 += g * x0[p]
                a1 += g * x1[p]
                a2 += g * x2[p]
                a3 += g * x3[p]
                c0 += h * x0[p]
                c1 += h * x1[p]
                c2 += h * x2[p]
                c3 += h * x3[p]
            weight_sum[o, i] += a0
            weight_sum[o, i + 1] += a1
            weight_sum[o, i + 2] += a2
            weight_sum[o, i + 3] += a3
            weight_sum[o + 1, i] += c0
            weight_sum[o + 1, i + 1] += c1
            weight_sum[o + 1, i + 2] += c2
            weight_sum[o + 1, i + 3] += c3


@njit(inline="always")
def rectify(activations, rows):  # type: ignore[no-untyped-def]
    """ReLU of the first rows."""
    for o in range(rows):
        a = activations[o]
        for p in range(BLOCK):
            a[p] = max(a[p], _ZERO)


@njit(inline="always")
def keep_active(gradient, activations, rows):  # type: ignore[no-untyped-def]
    """The way back through `rectify`."""
    for o in range(rows):
        g, a = gradient[o], activations[o]
        for p in range(BLOCK):
            g[p] = g[p] if a[p] > _ZERO else _ZERO
