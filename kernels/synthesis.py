"""The synthesis of pictures: planes at full resolution to red, green and blue samples, some rows at a time.

All is float32, and the order of every sum is fixed: from left to right, biases last. So samples are the same bit for
bit on every machine and however the rows are cut.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numba import njit, types

PLANES = 7
COLOURS = 3
CHUNK = 256  # pixels that go through the layers of single pixels together, to stay in the nearest cache

_ZERO, _HALF, _WHITE, _THIRD = np.float32(0), np.float32(0.5), np.float32(255), np.float32(3)

_PLANES = types.Array(types.float32, 3, "C", readonly=True)
_MATRIX = types.Array(types.float32, 2, "C", readonly=True)
_ROW = types.Array(types.float32, 1, "C", readonly=True)
_KERNEL = types.Array(types.float32, 4, "C", readonly=True)


@dataclass(frozen=True, eq=False)
class SynthesisNetwork:
    """Parameters as float32.

    Attributes:
        first, first_bias: (hidden + 3, 7) and (hidden + 3,); the last three rows are the linear part.
        last: (3, hidden).
        residual: weight (3, 3, 3, 3) and bias (3,) of each 3x3 layer.
    """

    first: np.ndarray
    first_bias: np.ndarray
    last: np.ndarray
    residual: tuple[tuple[np.ndarray, np.ndarray], ...]

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, np.ndarray], unit: int, prefix: str = "") -> "SynthesisNetwork":
        """From `first.weight`, `first.bias`, `last.weight`, `residual.0.weight`, `residual.0.bias`, ..., all with
        `prefix` before their names, integers in units of 1 / `unit`, a power of two."""
        def floats(name: str) -> np.ndarray:
            return np.ascontiguousarray(parameters[prefix + name].astype(np.float32) / np.float32(unit))

        layers = sum(name.startswith(prefix + "residual.") for name in parameters) // 2
        residual = tuple((floats(f"residual.{i}.weight"), floats(f"residual.{i}.bias")) for i in range(layers))
        return cls(floats("first.weight"), floats("first.bias"), floats("last.weight"), residual)


@njit(types.void(_PLANES, _MATRIX, _ROW, _MATRIX, types.float32[:, :, ::1]), cache=True, nogil=True)
def single_pixels(planes, first, first_bias, last, result):  # type: ignore[no-untyped-def]
    """The layers that see one pixel at a time: planes (7, h, w) to result (3, h, w)."""
    hidden = last.shape[1]
    sums = np.empty((COLOURS, CHUNK), np.float32)
    for y in range(planes.shape[1]):
        for begin in range(0, planes.shape[2], CHUNK):
            count = min(CHUNK, planes.shape[2] - begin)
            z0, z1, z2, z3 = planes[0, y, begin:], planes[1, y, begin:], planes[2, y, begin:], planes[3, y, begin:]
            z4, z5, z6 = planes[4, y, begin:], planes[5, y, begin:], planes[6, y, begin:]
            sums[:] = _ZERO
            red, green, blue = sums[0], sums[1], sums[2]
            for o in range(hidden):
                w0, w1, w2, w3, w4, w5, w6 = (first[o, 0], first[o, 1], first[o, 2], first[o, 3], first[o, 4],
                                              first[o, 5], first[o, 6])
                bias, to_red, to_green, to_blue = first_bias[o], last[0, o], last[1, o], last[2, o]
                for x in range(count):
                    value = (w0 * z0[x] + w1 * z1[x] + w2 * z2[x] + w3 * z3[x] + w4 * z4[x] + w5 * z5[x] + w6 * z6[x]
                             + bias)
                    value = value if value > _ZERO else _ZERO
                    red[x] += to_red * value
                    green[x] += to_green * value
                    blue[x] += to_blue * value
            for c in range(COLOURS):
                o = hidden + c
                w0, w1, w2, w3, w4, w5, w6 = (first[o, 0], first[o, 1], first[o, 2], first[o, 3], first[o, 4],
                                              first[o, 5], first[o, 6])
                bias, target, added = first_bias[o], result[c, y, begin:], sums[c]
                for x in range(count):
                    target[x] = (w0 * z0[x] + w1 * z1[x] + w2 * z2[x] + w3 * z3[x] + w4 * z4[x] + w5 * z5[x]
                                 + w6 * z6[x] + bias) + added[x]


@njit(types.void(_PLANES, _KERNEL, _ROW, types.boolean, types.int64, types.float32[:, :, ::1]), cache=True, nogil=True)
def residual_layer(y, weight, bias, rectified, skipped, result):  # type: ignore[no-untyped-def]
    """A 3x3 layer added to its input.

    Args:
        y: (3, n, w), some rows of a picture.
        rectified: whether what is added goes through a ReLU.
        skipped: the row of y that becomes the result's first: 0 at the top of a picture, else 1.
        result: (3, m, w), m = n - skipped at the bottom of a picture, else one less.
    """
    count, width = y.shape[1], y.shape[2]
    lines = np.empty((COLOURS, 3, width + 2), np.float32)
    for number in range(result.shape[1]):
        row = number + skipped
        for c in range(COLOURS):
            for k in range(3):
                line = lines[c, k]
                line[1 : width + 1] = y[c, min(max(row + k - 1, 0), count - 1)]
                line[0], line[width + 1] = line[1], line[width]
        for o in range(COLOURS):
            target, b = result[o, number], bias[o]
            target[:] = _ZERO
            for c in range(COLOURS):
                for k in range(3):
                    left, middle, right, line = weight[o, c, k, 0], weight[o, c, k, 1], weight[o, c, k, 2], lines[c, k]
                    for x in range(width):
                        target[x] = target[x] + left * line[x] + middle * line[x + 1] + right * line[x + 2]
            own = y[o, row]
            for x in range(width):
                value = target[x] + b
                if rectified and not value > _ZERO:
                    value = _ZERO
                target[x] = own[x] + value


@njit(inline="always")
def _sample(value):  # type: ignore[no-untyped-def]
    """A value as a sample; what is no number becomes 0."""
    scaled = np.floor((value + _HALF) * _WHITE + _HALF)
    if not scaled > _ZERO:
        return np.uint8(0)
    return np.uint8(min(scaled, _WHITE))


@njit(types.void(_PLANES, types.uint8[:, :, ::1]), cache=True, nogil=True)
def to_samples(y, samples):  # type: ignore[no-untyped-def]
    """Values (3, n, w), 0 in the middle of the range, to samples (n, w, 3), or (n, w, 1): grey is their mean."""
    for row in range(y.shape[1]):
        for x in range(y.shape[2]):
            if samples.shape[2] == COLOURS:
                for c in range(COLOURS):
                    samples[row, x, c] = _sample(y[c, row, x])
            else:
                samples[row, x, 0] = _sample((y[0, row, x] + y[1, row, x] + y[2, row, x]) / _THIRD)


def reference(planes: np.ndarray, network: SynthesisNetwork, colours: int = COLOURS) -> np.ndarray:
    """Samples (h, w, colours) of planes (7, h, w) float32, in plain NumPy; `colours` is 3 or 1."""
    first = _in_order(network.first, planes) + network.first_bias[:, None, None]
    hidden = _rectified(first[:-COLOURS])
    y = first[-COLOURS:] + _in_order(network.last, hidden)
    for number, (weight, bias) in enumerate(network.residual):
        padded = np.pad(y, ((0, 0), (1, 1), (1, 1)), mode="edge")
        views = np.stack([padded[c, i : i + y.shape[1], j : j + y.shape[2]]
                          for c in range(COLOURS) for i in range(3) for j in range(3)])
        added = _in_order(weight.reshape(COLOURS, -1), views) + bias[:, None, None]
        y = y + (added if number == len(network.residual) - 1 else _rectified(added))
    if colours == 1:
        y = ((y[0] + y[1] + y[2]) / _THIRD)[None]
    samples = np.floor((y + _HALF) * _WHITE + _HALF)
    return np.where(samples > 0, np.minimum(samples, _WHITE), _ZERO).astype(np.uint8).transpose(1, 2, 0)


def _rectified(x: np.ndarray) -> np.ndarray:
    return np.where(x > _ZERO, x, _ZERO)  # 0 for what is no number, as in the loops


def _in_order(weight: np.ndarray, x: np.ndarray) -> np.ndarray:
    """weight (O, I) @ x (I, h, w), summed from left to right."""
    total = np.zeros((len(weight), *x.shape[1:]), np.float32)
    for column, plane in zip(weight.T, x, strict=True):
        total = total + column[:, None, None] * plane
    return total
