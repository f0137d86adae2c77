"""Dense layers and ReLUs over blocks of positions, forward and back, fast enough that nothing else of a fit matters.

A block is (channels, BLOCK) float32, its positions contiguous. Layers are tiny (8 to 40 channels), so that a matrix
library would spend its time on its own calls; here inner loops run over the positions, with two outputs and four inputs
at a time, which the compiler turns into full vector instructions. Channels are padded: inputs to a multiple of four,
outputs to a multiple of two.

Inner loops see a few rows of a block as one array, with a constant distance from row to row. So the compiler knows that
the rows do not overlap; if it had to compare their places before every loop, that would take as long as the loop.
"""

import numpy as np
from numba import njit

BLOCK = 128  # positions

_ZERO = np.float32(0)


@njit(inline="always")
def _four_rows(rows, p):  # type: ignore[no-untyped-def]
    """A position's values in four rows of a block."""
    return rows[p], rows[p + BLOCK], rows[p + 2 * BLOCK], rows[p + 3 * BLOCK]


@njit(inline="always")
def _four_weights(weight, o, i):  # type: ignore[no-untyped-def]
    """The weights of four inputs in an output."""
    return weight[o, i], weight[o, i + 1], weight[o, i + 2], weight[o, i + 3]


@njit(inline="always", fastmath=True)
def _product(weights, values):  # type: ignore[no-untyped-def]
    return weights[0] * values[0] + weights[1] * values[1] + weights[2] * values[2] + weights[3] * values[3]


@njit(inline="always", fastmath=True)
def forward(weight, bias, x, y):  # type: ignore[no-untyped-def]
    """y = weight @ x + bias, for weight (O, I), bias (O,), x (I, BLOCK) and y (O, BLOCK)."""
    all_inputs, all_outputs = x.reshape(-1), y.reshape(-1)
    for o in range(0, weight.shape[0], 2):
        outputs = all_outputs[o * BLOCK : (o + 2) * BLOCK]
        bias0, bias1 = bias[o], bias[o + 1]
        for i in range(0, weight.shape[1], 4):
            inputs = all_inputs[i * BLOCK : (i + 4) * BLOCK]
            weights0, weights1 = _four_weights(weight, o, i), _four_weights(weight, o + 1, i)
            for p in range(BLOCK):
                values = _four_rows(inputs, p)
                outputs[p] = (outputs[p] if i else bias0) + _product(weights0, values)
                outputs[p + BLOCK] = (outputs[p + BLOCK] if i else bias1) + _product(weights1, values)


@njit(inline="always", fastmath=True)
def weight_gradient(y_gradient, x, weight_sum, bias_sum):  # type: ignore[no-untyped-def]
    """Adds the gradients of weight (O, I) and bias (O,) to their sums."""
    all_inputs, all_outputs = x.reshape(-1), y_gradient.reshape(-1)
    for o in range(0, weight_sum.shape[0], 2):
        gradients = all_outputs[o * BLOCK : (o + 2) * BLOCK]
        b0 = b1 = _ZERO
        for p in range(BLOCK):
            b0 += gradients[p]
            b1 += gradients[p + BLOCK]
        bias_sum[o] += b0
        bias_sum[o + 1] += b1
        for i in range(0, weight_sum.shape[1], 4):
            inputs = all_inputs[i * BLOCK : (i + 4) * BLOCK]
            a0 = a1 = a2 = a3 = c0 = c1 = c2 = c3 = _ZERO
            for p in range(BLOCK):
                x0, x1, x2, x3 = _four_rows(inputs, p)
                g, h = gradients[p], gradients[p + BLOCK]
                a0 += g * x0
                a1 += g * x1
                a2 += g * x2
                a3 += g * x3
                c0 += h * x0
                c1 += h * x1
                c2 += h * x2
                c3 += h * x3
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
