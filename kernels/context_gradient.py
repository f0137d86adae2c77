"""Bits of latents under a context network, and the gradient of everything that they depend on, in one pass.

For encoders: float32, any order of sums. The integer networks of `context` decide what is coded; this pass only fits
them. Positions go through gathering, network, likelihood and all the way back while they lie in the nearest cache; for
networks this small that takes a tenth of the time of a framework's layer by layer.

Inner loops run over views that begin where the loop begins: indices that might be negative, and divisions that might
raise an error (hence `error_model`), keep the compiler from using vector instructions.
"""

import numpy as np
from numba import float32, float64, int64, njit

from fewbits.kernels import dense
from fewbits.kernels.context import CENTRE_LEVEL, LEVELS, SCALE_BITS
from fewbits.kernels.dense import BLOCK
from fewbits.kernels.elementary import exp2, log2

# log2 of a Laplacian's mean absolute value, as far as there are tables
MIN_LOG_SCALE, MAX_LOG_SCALE = (level / 2**SCALE_BITS for level in (-CENTRE_LEVEL, LEVELS - 1 - CENTRE_LEVEL))

_LOW, _HIGH = np.float32(MIN_LOG_SCALE), np.float32(MAX_LOG_SCALE)
_ZERO, _HALF, _ONE = np.float32(0), np.float32(0.5), np.float32(1)
_LN2, _LOG2E = np.float32(np.log(2)), np.float32(1 / np.log(2))
_TINY = np.float32(1e-30)

_PLANE = float32[:, ::1]
_ROW = float32[::1]


@njit(inline="always")
def _row_beside(row):  # type: ignore[no-untyped-def]
    """The second nearest row of the coarser grid."""
    return (row >> 1) + 2 * (row & 1) - 1


@njit(inline="always")
def _around(line, margin, column):  # type: ignore[no-untyped-def]
    """Views of a row of the coarser grid, from left of, at and right of the latent under an even column."""
    begin = (column >> 1) + margin
    return line[begin - 1 :], line[begin:], line[begin + 1 :]


@njit(inline="always")
def _gather_coarse(line, margin, column, count, x):  # type: ignore[no-untyped-def]
    """Fills x with the nearest and the second nearest latents in a row of the coarser grid, from an even column on."""
    nearest, beside = x[0], x[1]
    before, here, after = _around(line, margin, column)
    for pair in range((count + 1) // 2):
        nearest[2 * pair] = here[pair]
        nearest[2 * pair + 1] = here[pair]
        beside[2 * pair] = before[pair]
        beside[2 * pair + 1] = after[pair]


@njit(inline="always")
def _scatter_coarse(x_gradient, margin, column, count, line):  # type: ignore[no-untyped-def]
    """Adds to where `_gather_coarse` took from. The gradient is 0 beyond the last position."""
    nearest, beside = x_gradient[0], x_gradient[1]
    before, here, after = _around(line, margin, column)
    pairs = (count + 1) // 2
    for pair in range(pairs):
        here[pair] += nearest[2 * pair] + nearest[2 * pair + 1]
    for pair in range(pairs):
        before[pair] += beside[2 * pair]
    for pair in range(pairs):
        after[pair] += beside[2 * pair + 1]


@njit(inline="always")
def _gather(plane, coarse, neighbours, margin, row, column, count, x):  # type: ignore[no-untyped-def]
    """Fills x with the inputs of `count` positions: causal neighbours, then the nearest latents of the coarser grid."""
    for i in range(neighbours.shape[0]):
        source, target = plane[row + margin + neighbours[i, 0], column + margin + neighbours[i, 1] :], x[i]
        for p in range(count):
            target[p] = source[p]
    if coarse.shape[0]:
        first = neighbours.shape[0]
        _gather_coarse(coarse[(row >> 1) + margin], margin, column, count, x[first : first + 2])
        _gather_coarse(coarse[_row_beside(row) + margin], margin, column, count, x[first + 2 :])


@njit(inline="always")
def _scatter(x_gradient, neighbours, margin, row, column, count, plane_gradient,
             coarse_gradient):  # type: ignore[no-untyped-def]
    """Adds the gradient of the inputs to where `_gather` took them from."""
    for i in range(neighbours.shape[0]):
        target = plane_gradient[row + margin + neighbours[i, 0], column + margin + neighbours[i, 1] :]
        source = x_gradient[i]
        for p in range(count):
            target[p] += source[p]
    if coarse_gradient.shape[0]:
        first = neighbours.shape[0]
        _scatter_coarse(x_gradient[first : first + 2], margin, column, count, coarse_gradient[(row >> 1) + margin])
        _scatter_coarse(x_gradient[first + 2 :], margin, column, count, coarse_gradient[_row_beside(row) + margin])


@njit(inline="always", fastmath=True)
def _laplace(latents, out, count, out_gradient, latent_gradient, bits):  # type: ignore[no-untyped-def]
    """Bits of latents under Laplacians, integrated over unit steps around them, and their gradients.

    With t = 1 / scale and a distance z from the mean, the probability is exp(-t |z|) sinh(t / 2) where |z| > 1/2, and
    1 - exp(-t / 2) cosh(t z) nearer the mean.
    """
    for p in range(count):
        log_scale = min(max(out[1, p], _LOW), _HIGH)
        t = exp2(-log_scale)
        z = latents[p] - out[0, p]
        away = abs(z)
        sign = _ONE if z > _ZERO else -_ONE
        whole = exp2(-t * _LOG2E)
        near, far = exp2((away - _HALF) * t * _LOG2E), exp2((-away - _HALF) * t * _LOG2E)
        inside = max(_ONE - _HALF * (near + far), _TINY)
        tail = _ONE - whole
        outside = away > _HALF
        chosen = log2(tail if outside else inside)
        bits[p] = _ONE + (away - _HALF) * t * _LOG2E - chosen if outside else -chosen
        slope = t if outside else _HALF * t * (near - far) / inside
        change = (away - _HALF * (_ONE + whole) / tail if outside
                  else _HALF * ((away - _HALF) * near - (-away - _HALF) * -far) / inside)
        latent_gradient[p] = sign * slope * _LOG2E
        out_gradient[0, p] = -sign * slope * _LOG2E
        out_gradient[1, p] = -change * t if _LOW < out[1, p] < _HIGH else _ZERO  # t falls by t ln 2 a unit of log2


@njit(inline="always")
def _padded(rows, columns, filled):  # type: ignore[no-untyped-def]
    """A matrix in the left upper corner of zeros."""
    matrix = np.zeros((rows, columns), np.float32)
    matrix[: filled.shape[0], : filled.shape[1]] = filled
    return matrix


@njit(inline="always", fastmath=True)
def _predict(network, no_bias, x, one, two, out):  # type: ignore[no-untyped-def]
    """Mean and log2 of the scale of a block, into `out`; both hidden layers into `one` and `two`."""
    first, first_bias, second, second_bias, last = network
    hidden = second.shape[0]
    dense.forward(first, first_bias, x, one)
    dense.rectify(one, hidden)
    dense.forward(second, second_bias, one, two)
    dense.rectify(two, hidden)
    dense.forward(last, no_bias, two, out)
    for o in range(2):
        target, linear = out[o], one[hidden + o]
        for p in range(BLOCK):
            target[p] += linear[p]


@njit(inline="always", fastmath=True)
def _back(transposed, no_bias, x, one, two, sums, one_gradient, two_gradient,
          x_gradient):  # type: ignore[no-untyped-def]
    """From the gradient of `out`, in `one_gradient`, to those of the inputs; those of the parameters are added to their
    sums.

    The last rows of the first layer are part of `out`, so both have the same gradient. Behind it are rows of zeros that
    make the number of rows a multiple of four.
    """
    first_back, second_back, last_back = transposed
    first_sum, first_bias_sum, second_sum, second_bias_sum, last_sum, unused_bias_sum = sums
    hidden = second_sum.shape[0]
    out_gradient = one_gradient[hidden:]
    dense.weight_gradient(out_gradient, two, last_sum, unused_bias_sum)
    dense.forward(last_back, no_bias, out_gradient, two_gradient)
    dense.keep_active(two_gradient, two, hidden)
    dense.weight_gradient(two_gradient, one, second_sum, second_bias_sum)
    dense.forward(second_back, no_bias, two_gradient, one_gradient)
    dense.keep_active(one_gradient, one, hidden)
    dense.weight_gradient(one_gradient, x, first_sum, first_bias_sum)
    dense.forward(first_back, no_bias, one_gradient, x_gradient)


@njit(float64(_PLANE, _PLANE, int64[:, ::1], int64, int64, int64, int64, _PLANE, _ROW, _PLANE, _ROW, _PLANE,
              _PLANE, _PLANE, _PLANE, _ROW, _PLANE, _ROW, _PLANE), cache=True, nogil=True, fastmath=True,
      error_model="numpy")
def context_gradient(plane, coarse, neighbours, margin, first_row, last_row, width,  # type: ignore[no-untyped-def]
                     first, first_bias, second, second_bias, last,
                     plane_gradient, coarse_gradient, first_sum, first_bias_sum, second_sum, second_bias_sum, last_sum):
    """Bits of the rows `first_row` to `last_row` of a grid; gradients of the bits are added to where they belong.

    Args:
        plane: (margin + H + margin, margin + width + margin) float32, the grid with zeros around it.
        coarse: the next coarser grid, likewise; (0, 0) if there is none.
        neighbours: (n, 2) causal neighbours, rows and columns away.
        first, first_bias: (hidden + 2, n + 4), the last two rows giving the linear part of mean and log2 of the scale.
        second, second_bias: (hidden, hidden). last: (2, hidden).
        plane_gradient, coarse_gradient, ..._sum: of the same shapes.
    """
    hidden, inputs = second.shape[0], first.shape[1]
    outputs = hidden + 4  # of the first layer, padded
    network = (first, first_bias, second, second_bias, last)
    sums = (first_sum, first_bias_sum, second_sum, second_bias_sum, last_sum, np.zeros(2, np.float32))
    transposed = (_padded(inputs, outputs, first.T), second.T.copy(), _padded(hidden, 4, last.T))
    no_bias = np.zeros(max(inputs, outputs), np.float32)
    x, x_gradient = np.zeros((inputs, BLOCK), np.float32), np.empty((inputs, BLOCK), np.float32)
    one, one_gradient = np.empty((hidden + 2, BLOCK), np.float32), np.zeros((outputs, BLOCK), np.float32)
    two, two_gradient = np.empty((hidden, BLOCK), np.float32), np.empty((hidden, BLOCK), np.float32)
    out, out_gradient = np.empty((2, BLOCK), np.float32), one_gradient[hidden:]
    bits, latent_gradient = np.empty(BLOCK, np.float32), np.empty(BLOCK, np.float32)
    total = 0.0
    for row in range(first_row, last_row):
        for column in range(0, width, BLOCK):
            count = min(BLOCK, width - column)
            _gather(plane, coarse, neighbours, margin, row, column, count, x)
            _predict(network, no_bias, x, one, two, out)
            out_gradient[:2, count:] = _ZERO
            latents = plane[row + margin, column + margin :]
            _laplace(latents, out, count, out_gradient, latent_gradient, bits)
            target = plane_gradient[row + margin, column + margin :]
            for p in range(count):
                total += bits[p]
                target[p] += latent_gradient[p]
            _back(transposed, no_bias, x, one, two, sums, one_gradient, two_gradient, x_gradient)
            _scatter(x_gradient, neighbours, margin, row, column, count, plane_gradient, coarse_gradient)
    return total
