"""Latents made continuous, so that gradients can find them, and the optimiser's step.

Soft rounding of noisy soft rounding approaches rounding as its temperature falls (E. Agustsson and L. Theis,
"Universally Quantized Neural Compression", NeurIPS 2020; used as in C3). The step is Adam's (arXiv 1412.6980).
Divisions that might raise an error would keep loops from being vectorised; hence `error_model`.
"""

import numpy as np
from numba import float32, int64, njit, uint32, void

from fewbits.kernels.elementary import exp2

_PLANE = float32[:, ::1]
_ZERO, _HALF, _ONE, _TWO = np.float32(0), np.float32(0.5), np.float32(1), np.float32(2)
_TWO_LOG2E = np.float32(2 / np.log(2))
_UNIT16 = np.float32(2**-16)
_SIXTEEN, _LOW16 = np.uint32(16), np.uint32(0xFFFF)


@njit(inline="always")
def _hash(x):  # type: ignore[no-untyped-def]
    """A 32-bit finaliser: neighbouring numbers give unrelated bits."""
    x = np.uint32((x ^ (x >> _SIXTEEN)) * np.uint32(0x7FEB352D))
    x = np.uint32((x ^ (x >> np.uint32(15))) * np.uint32(0x846CA68B))
    return np.uint32(x ^ (x >> _SIXTEEN))


@njit(inline="always", fastmath=True)
def _soft_round(x, sharpness, height):  # type: ignore[no-untyped-def]
    """Value and slope of soft rounding; `sharpness` = 1 / temperature, `height` = 1 / tanh(sharpness / 2)."""
    floor = np.floor(x)
    e = exp2((x - floor - _HALF) * sharpness * _TWO_LOG2E)
    tanh = _ONE - _TWO / (e + _ONE)
    return floor + _HALF + _HALF * height * tanh, _HALF * height * sharpness * (_ONE - tanh * tanh)


@njit(void(_PLANE, float32, float32, uint32, int64, _PLANE, _PLANE), cache=True, nogil=True, fastmath=True,
      error_model="numpy")
def relax(latents, temperature, noise, seed, margin, plane, slope):  # type: ignore[no-untyped-def]
    """Fills the inside of `plane` with relaxed latents and `slope` with their derivatives by the latents.

    Args:
        latents, slope: (H, W) float32. plane: the same with `margin` around it, which is left alone.
        temperature: of soft rounding; 0 rounds, with slope 1.
        noise: standard deviation; its shape is triangular.
        seed: other noise for every seed.
    """
    height, width = latents.shape
    if temperature == _ZERO:
        for y in range(height):
            source, target, back = latents[y], plane[y + margin, margin:], slope[y]
            for x in range(width):
                target[x] = np.floor(source[x] + _HALF)
                back[x] = _ONE
        return
    sharpness = _ONE / temperature
    edge = exp2(sharpness * _HALF * _TWO_LOG2E)
    top = (edge + _ONE) / (edge - _ONE)
    spread = noise * np.float32(np.sqrt(6.0)) * _UNIT16
    for y in range(height):
        source, target, back = latents[y], plane[y + margin, margin:], slope[y]
        begin = _hash(np.uint32(seed + np.uint32(y) * np.uint32(0x9E3779B9)))
        for x in range(width):
            bits = _hash(np.uint32(begin + np.uint32(x)))
            triangle = np.float32(np.int32(bits & _LOW16) + np.int32(bits >> _SIXTEEN) - np.int32(0xFFFF))
            soft, inner = _soft_round(source[x], sharpness, top)
            target[x], outer = _soft_round(soft + spread * triangle, sharpness, top)
            back[x] = inner * outer


@njit(void(_PLANE, _PLANE, _PLANE, float32[:, :, ::1], _PLANE, _PLANE, int64, int64, int64, float32,
           float32, float32, float32, float32, float32), cache=True, nogil=True, fastmath=True,
      error_model="numpy")
def descend(latents, first, second, rate_gradients, distortion_gradient, slope,
            margin, first_row, last_row, step, decay1, decay2, correction1, correction2, floor):  # type: ignore[no-untyped-def]
    """Adam's step for some rows of a grid, from the gradients of its relaxed latents.

    Args:
        latents, first, second: (H, W): the latents and the two moments, all updated.
        rate_gradients: (n, H + 2 margin, W + 2 margin), to be summed.
        distortion_gradient: (H, W). slope: (H, W), from `relax`.
        step: learning rate. decay1, decay2: of the moments. correction1, correction2: 1 - decay ** steps.
        floor: added to the second moment, so that a latent without a say does not move with every whim of the noise.
    """
    width = latents.shape[1]
    for y in range(first_row, last_row):
        value, m, v, d, back = latents[y], first[y], second[y], distortion_gradient[y], slope[y]
        for x in range(width):
            g = _ZERO
            for n in range(rate_gradients.shape[0]):
                g += rate_gradients[n, y + margin, x + margin]
            g = (g + d[x]) * back[x]
            m[x] = decay1 * m[x] + (_ONE - decay1) * g
            v[x] = decay2 * v[x] + (_ONE - decay2) * g * g
            value[x] -= step * (m[x] / correction1) / (np.sqrt(v[x] / correction2 + floor) + np.float32(1e-12))
