"""The synthesis from latent planes to red, green and blue, and the way back, for encoders.

Computes what `synthesis` defines, with sums in any order. Planes that 3x3 layers read have a ring of two values around
them: replicated ones in activations, zeros in gradients.
"""

import numpy as np
from numba import boolean, float32, float64, int64, njit, void

from fewbits.kernels import dense
from fewbits.kernels.dense import BLOCK

RING = 2

_ZERO = np.float32(0)
_PLANES = float32[:, :, ::1]
_PLANE = float32[:, ::1]
_ROW = float32[::1]
_KERNEL = float32[:, :, :, ::1]


@njit(inline="always")
def _load(planes, row, column, count, x):  # type: ignore[no-untyped-def]
    """Fills the first rows of a block with `count` values of each plane."""
    for i in range(planes.shape[0]):
        source, target = planes[i, row, column:], x[i]
        for p in range(count):
            target[p] = source[p]


@njit(inline="always")
def replicate(planes, row, width):  # type: ignore[no-untyped-def]
    """Fills the ring beside a finished row, and above or below it where it is the first or the last."""
    height = planes.shape[1] - 2 * RING
    for o in range(planes.shape[0]):
        line = planes[o, row + RING]
        line[RING - 1] = line[RING]
        line[RING + width] = line[RING + width - 1]
        if row == 0:
            planes[o, RING - 1] = line
        if row == height - 1:
            planes[o, RING + height] = line


@njit(void(_PLANES, _PLANE, _ROW, _PLANE, int64, int64, _PLANES), cache=True, nogil=True, fastmath=True)
def pixelwise(planes, first, first_bias, last, first_row, last_row, result):  # type: ignore[no-untyped-def]
    """The layers that see one pixel at a time, for some rows.

    Args:
        planes: (n, H, W). first: (hidden + 4, n padded to fours) with its bias; its rows from `hidden` on are the
            linear part and one of padding. last: (4, hidden), with a row of padding.
        result: (3, H + 4, W + 4).
    """
    hidden = last.shape[1]
    width = planes.shape[2]
    x = np.zeros((first.shape[1], BLOCK), np.float32)
    one, out = np.empty((hidden + 4, BLOCK), np.float32), np.empty((4, BLOCK), np.float32)
    no_bias = np.zeros(4, np.float32)
    for row in range(first_row, last_row):
        for column in range(0, width, BLOCK):
            count = min(BLOCK, width - column)
            _load(planes, row, column, count, x)
            dense.forward(first, first_bias, x, one)
            dense.rectify(one, hidden)
            dense.forward(last, no_bias, one, out)
            for o in range(3):
                target, nonlinear, linear = result[o, row + RING, column + RING :], out[o], one[hidden + o]
                for p in range(count):
                    target[p] = nonlinear[p] + linear[p]
        replicate(result, row, width)


@njit(void(_PLANES, _PLANE, _ROW, _PLANE, int64, int64, _PLANES, _PLANE, _ROW, _PLANE), cache=True, nogil=True,
      fastmath=True)
def pixelwise_gradient(planes, first, first_bias, last, first_row, last_row, result_gradient,
                       first_sum, first_bias_sum, last_sum):  # type: ignore[no-untyped-def]
    """The way back of `pixelwise`: writes the gradients of the planes over them, adds to the sums of the parameters.

    A gradient takes the place of a value that is in the cache; planes of their own would take a fifth more time, and as
    much memory again.
    """
    hidden = last.shape[1]
    width = planes.shape[2]
    first_back, last_back = first.T.copy(), last.T.copy()
    no_bias, unused = np.zeros(max(first.shape[0], first.shape[1]), np.float32), np.zeros(4, np.float32)
    x, x_gradient = np.zeros((first.shape[1], BLOCK), np.float32), np.empty((first.shape[1], BLOCK), np.float32)
    one, one_gradient = np.empty((hidden + 4, BLOCK), np.float32), np.zeros((hidden + 4, BLOCK), np.float32)
    out_gradient = one_gradient[hidden:]  # the linear part is added to the result, so their gradients are the same
    for row in range(first_row, last_row):
        for column in range(0, width, BLOCK):
            count = min(BLOCK, width - column)
            _load(planes, row, column, count, x)
            dense.forward(first, first_bias, x, one)
            dense.rectify(one, hidden)
            out_gradient[:3, count:] = _ZERO
            _load(result_gradient, row + RING, column + RING, count, out_gradient)
            dense.weight_gradient(out_gradient, one[:hidden], last_sum, unused)
            dense.forward(last_back, no_bias, out_gradient, one_gradient[:hidden])
            dense.keep_active(one_gradient, one, hidden)
            dense.weight_gradient(one_gradient, x, first_sum, first_bias_sum)
            dense.forward(first_back, no_bias, one_gradient, x_gradient)
            for i in range(planes.shape[0]):
                source, target = x_gradient[i], planes[i, row, column:]
                for p in range(count):
                    target[p] = source[p]


@njit(inline="always", fastmath=True)
def _add_layer(planes, kernel, row, column, sums):  # type: ignore[no-untyped-def]
    """Adds what a 3x3 layer makes of the surroundings of a row, from a column on, to the rows of `sums`.

    All three outputs at once, so that inputs are loaded once.
    """
    red, green, blue = sums[0], sums[1], sums[2]
    for i in range(3):
        for dy in range(3):
            source = planes[i, row - 1 + dy, column - 1 :]
            r, g, b = kernel[0, i, dy], kernel[1, i, dy], kernel[2, i, dy]
            r0, r1, r2, g0, g1, g2, b0, b1, b2 = r[0], r[1], r[2], g[0], g[1], g[2], b[0], b[1], b[2]
            for p in range(red.size):
                left, middle, right = source[p], source[p + 1], source[p + 2]
                red[p] += r0 * left + r1 * middle + r2 * right
                green[p] += g0 * left + g1 * middle + g2 * right
                blue[p] += b0 * left + b1 * middle + b2 * right


@njit(void(_PLANES, _KERNEL, _ROW, boolean, int64, int64, _PLANES), cache=True, nogil=True, fastmath=True)
def residual(planes, weight, bias, rectified, first_row, last_row, result):  # type: ignore[no-untyped-def]
    """A 3x3 layer added to its input, for some rows: (3, H + 4, W + 4) to the same."""
    width = planes.shape[2] - 2 * RING
    sums = np.empty((3, width), np.float32)
    for row in range(first_row, last_row):
        for o in range(3):
            sums[o] = bias[o]
        _add_layer(planes, weight, row + RING, RING, sums)
        for o in range(3):
            own, added, target = planes[o, row + RING, RING:], sums[o], result[o, row + RING, RING:]
            if rectified:
                for p in range(width):
                    target[p] = own[p] + max(added[p], _ZERO)
            else:
                for p in range(width):
                    target[p] = own[p] + added[p]
        replicate(result, row, width)


@njit(void(_PLANES, _PLANES, _PLANES, int64, int64, _PLANES), cache=True, nogil=True)
def keep_active(planes, result, result_gradient, first_row, last_row, layer_gradient):  # type: ignore[no-untyped-def]
    """The gradient within a rectified residual layer: that of its result, where the layer added anything."""
    width = planes.shape[2] - 2 * RING
    for row in range(first_row + RING, last_row + RING):
        for o in range(3):
            g, a, b = result_gradient[o, row, RING:], planes[o, row, RING:], result[o, row, RING:]
            target = layer_gradient[o, row, RING:]
            for p in range(width):
                target[p] = g[p] if b[p] > a[p] else _ZERO


@njit(inline="always", fastmath=True)
def _layer_sums(planes, layer_gradient, row, width, weight_sum, bias_sum):  # type: ignore[no-untyped-def]
    red, green, blue = (layer_gradient[0, row + RING, RING:], layer_gradient[1, row + RING, RING:],
                        layer_gradient[2, row + RING, RING:])
    r = g = b = _ZERO
    for p in range(width):
        r += red[p]
        g += green[p]
        b += blue[p]
    bias_sum[0] += r
    bias_sum[1] += g
    bias_sum[2] += b
    for i in range(3):
        for dy in range(3):
            source = planes[i, row + RING - 1 + dy, RING - 1 :]
            r0 = r1 = r2 = g0 = g1 = g2 = b0 = b1 = b2 = _ZERO
            for p in range(width):
                left, middle, right = source[p], source[p + 1], source[p + 2]
                r0 += red[p] * left
                r1 += red[p] * middle
                r2 += red[p] * right
                g0 += green[p] * left
                g1 += green[p] * middle
                g2 += green[p] * right
                b0 += blue[p] * left
                b1 += blue[p] * middle
                b2 += blue[p] * right
            weight_sum[0, i, dy, 0] += r0
            weight_sum[0, i, dy, 1] += r1
            weight_sum[0, i, dy, 2] += r2
            weight_sum[1, i, dy, 0] += g0
            weight_sum[1, i, dy, 1] += g1
            weight_sum[1, i, dy, 2] += g2
            weight_sum[2, i, dy, 0] += b0
            weight_sum[2, i, dy, 1] += b1
            weight_sum[2, i, dy, 2] += b2


@njit(void(_PLANES, _KERNEL, _PLANES, _PLANES, int64, int64, _PLANES, _KERNEL, _ROW), cache=True, nogil=True,
      fastmath=True)
def residual_gradient(planes, weight, result_gradient, layer_gradient, first_row, last_row,
                      planes_gradient, weight_sum, bias_sum):  # type: ignore[no-untyped-def]
    """The way back of `residual`: fills rows of `planes_gradient`, adds to the sums of the parameters.

    Args:
        layer_gradient: from `keep_active`, or `result_gradient` itself where the layer is not rectified.
    """
    height, width = planes.shape[1] - 2 * RING, planes.shape[2] - 2 * RING
    turned = np.ascontiguousarray(weight[:, :, ::-1, ::-1].transpose(1, 0, 2, 3))
    sums = np.empty((3, width + 2), np.float32)
    for row in range(first_row, last_row):
        sums[:] = _ZERO
        _add_layer(layer_gradient, turned, row + RING, RING - 1, sums)
        # The first row is also what the ring above it was copied from, the last what is below.
        if row == 0:
            _add_layer(layer_gradient, turned, row + RING - 1, RING - 1, sums)
        if row == height - 1:
            _add_layer(layer_gradient, turned, row + RING + 1, RING - 1, sums)
        for i in range(3):
            line, own, target = sums[i], result_gradient[i, row + RING, RING:], planes_gradient[i, row + RING, RING:]
            line[1] += line[0]
            line[width] += line[width + 1]
            inner = line[1:]
            for p in range(width):
                target[p] = own[p] + inner[p]
        _layer_sums(planes, layer_gradient, row, width, weight_sum, bias_sum)


@njit(float64(_PLANES, _PLANES, float32, int64, int64, _PLANES), cache=True, nogil=True, fastmath=True)
def squared_error(planes, target, weight, first_row, last_row, gradient):  # type: ignore[no-untyped-def]
    """Sum of squared differences of some rows; fills their gradient, times `weight`.

    Args:
        planes, gradient: (3, H + 4, W + 4). target: (3, H, W).
    """
    width = target.shape[2]
    total = 0.0
    for row in range(first_row, last_row):
        for o in range(3):
            x, t, g = planes[o, row + RING, RING:], target[o, row], gradient[o, row + RING, RING:]
            line = _ZERO
            for p in range(width):
                d = x[p] - t[p]
                line += d * d
                g[p] = np.float32(2) * weight * d
            total += line
    return total
