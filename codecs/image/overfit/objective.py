"""What a fit minimises: the bits of a picture's latents and the error of its synthesis, with all gradients.

Everything is counted in bits: an error is worth `1 / trade` bits a pixel. The work is cut into bands of rows for as
many threads as there are; bands and the order of sums do not depend on their number, so a fit gives the same file
with one thread and with many.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from fewbits.codecs.image.overfit.architecture import (
    GRIDS,
    NEIGHBOURS,
    DecoderSize,
    context_network,
    grid_shape,
)
from fewbits.codecs.image.overfit.parameters import Parameters
from fewbits.kernels.context import MARGIN
from fewbits.kernels.context_gradient import context_gradient
from fewbits.kernels.relaxation import descend, relax
from fewbits.kernels.synthesis_gradient import (
    RING,
    keep_active,
    pixelwise,
    pixelwise_gradient,
    residual,
    residual_gradient,
    squared_error,
)
from fewbits.kernels.upsampling_gradient import upsample, upsample_gradient

SMALLEST_PERCEPTUAL_SIDE = 161  # of a picture that has the five scales of MS-SSIM
BAND = 64  # rows of a task
ADAM = (0.9, 0.95)  # decays of the moments of latents
FLOOR = 0.3  # of a latent's second moment, in units of its grid's mean: what lies still does not jitter

_NOTHING = np.zeros((0, 0), np.float32)


@dataclass(frozen=True)
class Cost:
    """Of one pass. `squared_error` is summed over all samples, samples being in 0..1."""

    bits: float
    squared_error: float


class Grid:
    """One latent grid of a picture while it is fitted.

    Args:
        distortion_gradient: where the way back of the synthesis leaves the gradient of this grid.
        is_finest: no finer grid is predicted from this one.
    """

    def __init__(self, distortion_gradient: np.ndarray, is_finest: bool) -> None:
        self.height, self.width = height, width = distortion_gradient.shape
        padded = (height + 2 * MARGIN, width + 2 * MARGIN)
        self.latents, self.first, self.second, self.slope = np.zeros((4, height, width), np.float32)
        self.plane = np.zeros(padded, np.float32)
        self.distortion_gradient = distortion_gradient
        # Even and odd bands write to planes of their own, for their neighbourhoods overlap; so do the finer grid's.
        self.rate_gradients = np.zeros((2 if is_finest else 4, *padded), np.float32)

    @property
    def inside(self) -> np.ndarray:
        """The relaxed latents."""
        return self.plane[MARGIN:-MARGIN, MARGIN:-MARGIN]


class Objective:
    """The cost of one picture, at one size of the decoder.

    Args:
        rgb: (H, W, 3) uint8.
        finest: the first grid in use, 0 or 1.
        pool: runs the tasks; None does them one by one.
        perceptual: MS-SSIM counts instead of the squared error, where the picture is large enough for it.
    """

    def __init__(self, rgb: np.ndarray, size: DecoderSize, finest: int, pool: ThreadPoolExecutor | None = None,
                 perceptual: bool = False) -> None:
        self.size, self.finest, self.pool = size, finest, pool
        self.height, self.width = rgb.shape[:2]
        self.perceptual = perceptual and min(self.height, self.width) >= SMALLEST_PERCEPTUAL_SIDE
        self.target = np.ascontiguousarray(rgb.transpose(2, 0, 1).astype(np.float32) / 255 - 0.5)
        self._neighbours = np.array(NEIGHBOURS[: size.neighbours], np.int64)
        self._levels = [np.zeros((GRIDS - k, *grid_shape(k, self.height, self.width)), np.float32)
                        for k in range(GRIDS)]  # level k holds grids k, k + 1, ... at the resolution of grid k
        # The planes at full resolution are most of the memory, and `pixelwise_gradient` needs no second set of them.
        self._level_gradients = [self._levels[0], *(np.zeros_like(level) for level in self._levels[1:])]
        self.grids = [Grid(self._level_gradients[k][0], k == finest) for k in range(finest, GRIDS)]
        ringed = (3, self.height + 2 * RING, self.width + 2 * RING)
        self._stages = [np.zeros(ringed, np.float32) for _ in range(size.residual_layers + 1)]
        self._stage_gradients = [np.zeros(ringed, np.float32) for _ in self._stages]
        self._layer_gradient = np.zeros(ringed if size.residual_layers > 1 else (3, 0, 0), np.float32)

    def relax(self, temperature: float, noise: float, seed: int) -> None:
        """Makes relaxed latents; see `relaxation.relax`."""
        tasks = []
        for number, grid in enumerate(self.grids):
            for top, bottom in _bands(grid.height):
                tasks.append((relax, grid.latents[top:bottom], np.float32(temperature), np.float32(noise),
                              np.uint32((seed * 64 + number) * 4096 + top), MARGIN,
                              grid.plane[top : bottom + 2 * MARGIN], grid.slope[top:bottom]))
        self._run(tasks)

    def cost(self, parameters: Parameters, trade: float, gradient: Parameters) -> Cost:
        """The cost of the relaxed latents. Adds to `gradient` that of the bits, and leaves those of the latents in
        the grids."""
        bits = self._rate(parameters, gradient)
        error = self._distortion(parameters, trade, gradient)
        return Cost(bits, error)

    def share(self, parameters: Parameters, trade: float, tensor: str) -> float:
        """The part of the cost, in bits, in which a tensor of the parameters has a say: all that a trial with another
        tensor can change, in a fraction of the time."""
        if tensor.startswith("context."):
            return self._rate(parameters, Parameters(self.size), int(tensor.split(".")[1]))
        self._upsample(parameters["upsampling"])
        self._synthesise(parameters)
        return self._error(trade) / (3 * trade)

    def descend(self, step: float, count: int) -> None:
        """A step of Adam for the latents, the `count`-th."""
        tasks = []
        for grid in self.grids:
            floor = FLOOR * grid.second.mean() / (1 - ADAM[1]**count)
            rates = [np.float32(x) for x in (step, *ADAM, 1 - ADAM[0]**count, 1 - ADAM[1]**count, floor)]
            tasks += [(descend, grid.latents, grid.first, grid.second, grid.rate_gradients, grid.distortion_gradient,
                       grid.slope, MARGIN, *band, *rates) for band in _bands(grid.height)]
        self._run(tasks)

    def _run(self, tasks: Sequence[tuple]) -> list:  # type: ignore[type-arg]
        if self.pool is None:
            return [task[0](*task[1:]) for task in tasks]
        return list(self.pool.map(lambda task: task[0](*task[1:]), tasks))

    def _rate(self, parameters: Parameters, gradient: Parameters, only: int | None = None) -> float:
        """The bits of all grids, or only of those that one context network predicts."""
        tasks, sums = [], []
        for number, grid in enumerate(self.grids):
            network = context_network(number + self.finest)
            if only not in (None, network):
                continue
            names = [f"context.{network}.{part}" for part in ("first.weight", "first.bias", "second.weight",
                                                              "second.bias", "last.weight")]
            coarser = self.grids[number + 1] if number + 1 < len(self.grids) else None
            for place, (top, bottom) in enumerate(_bands(grid.height)):
                sums.append((names, [np.zeros_like(parameters[name]) for name in names]))
                tasks.append((context_gradient, grid.plane, coarser.plane if coarser else _NOTHING, self._neighbours,
                              MARGIN, top, bottom, grid.width, *(parameters[name] for name in names),
                              grid.rate_gradients[place % 2],
                              coarser.rate_gradients[2 + place % 2] if coarser else _NOTHING, *sums[-1][1]))
        self._run([(np.ndarray.fill, plane, 0) for grid in self.grids for plane in grid.rate_gradients])
        bits = sum(self._run(tasks))
        for names, parts in sums:
            for name, part in zip(names, parts, strict=True):
                gradient[name][...] += part
        return bits

    def _distortion(self, parameters: Parameters, trade: float, gradient: Parameters) -> float:
        self._upsample(parameters["upsampling"])
        self._synthesise(parameters)
        error = self._error(trade)
        self._synthesise_back(parameters, gradient)
        self._upsample_back(parameters["upsampling"], gradient["upsampling"])
        return error

    def _upsample(self, taps: np.ndarray) -> None:
        for k in range(GRIDS - 1, -1, -1):
            level = self._levels[k]
            level[0] = self.grids[k - self.finest].inside if k >= self.finest else 0
            if k < GRIDS - 1:
                self._run([(upsample, self._levels[k + 1][n], taps[k, min(n, 1)], level[n + 1])
                           for n in range(GRIDS - 1 - k)])

    def _upsample_back(self, taps: np.ndarray, taps_gradient: np.ndarray) -> None:
        for k, (own, coarser) in enumerate(pairwise(self._level_gradients)):
            coarser[:] = 0
            sums = np.zeros((GRIDS - 1 - k, taps.shape[2]), np.float32)
            self._run([(upsample_gradient, self._levels[k + 1][n], taps[k, min(n, 1)], own[n + 1], coarser[n], sums[n])
                       for n in range(GRIDS - 1 - k)])
            taps_gradient[k, 0] += sums[0]
            taps_gradient[k, 1] += sums[1:].sum(0)

    def _synthesise(self, parameters: Parameters) -> None:
        """Fills all stages, the last of which is the picture."""
        bands = _bands(self.height)
        pixel_layers = _padded_synthesis(parameters)
        self._run([(pixelwise, self._levels[0], *pixel_layers, *band, self._stages[0]) for band in bands])
        for i in range(self.size.residual_layers):
            layer = parameters[f"synthesis.residual.{i}.weight"], parameters[f"synthesis.residual.{i}.bias"]
            rectified = i + 1 < self.size.residual_layers
            self._run([(residual, self._stages[i], *layer, rectified, *band, self._stages[i + 1]) for band in bands])

    def _synthesise_back(self, parameters: Parameters, gradient: Parameters) -> None:
        """From the gradient of the last stage to those of all planes and parameters."""
        bands = _bands(self.height)
        for i in reversed(range(self.size.residual_layers)):
            weight = parameters[f"synthesis.residual.{i}.weight"]
            inner = self._stage_gradients[i + 1]
            if i + 1 < self.size.residual_layers:
                inner = self._layer_gradient
                self._run([(keep_active, self._stages[i], self._stages[i + 1], self._stage_gradients[i + 1], *band,
                            inner) for band in bands])
            sums = [(np.zeros_like(weight), np.zeros(len(weight), np.float32)) for _ in bands]
            self._run([(residual_gradient, self._stages[i], weight, self._stage_gradients[i + 1], inner, *band,
                        self._stage_gradients[i], *s) for band, s in zip(bands, sums, strict=True)])
            for weight_sum, bias_sum in sums:
                gradient[f"synthesis.residual.{i}.weight"][...] += weight_sum
                gradient[f"synthesis.residual.{i}.bias"][...] += bias_sum
        pixel_layers = _padded_synthesis(parameters)
        parts = [tuple(map(np.zeros_like, pixel_layers)) for _ in bands]
        self._run([(pixelwise_gradient, self._levels[0], *pixel_layers, *band, self._stage_gradients[0], *part)
                   for band, part in zip(bands, parts, strict=True)])
        width = self.size.synthesis_width
        for first_sum, bias_sum, last_sum in parts:
            gradient["synthesis.first.weight"][...] += first_sum[: width + 3, :GRIDS]
            gradient["synthesis.first.bias"][...] += bias_sum[: width + 3]
            gradient["synthesis.last.weight"][...] += last_sum[:3]

    def _error(self, trade: float) -> float:
        """The error of the last stage, and its gradient."""
        if self.perceptual:
            from fewbits.codecs.image.overfit.perceptual import MSSSIM_WEIGHT, equivalent_error, ms_ssim_gradient

            value, gradient = ms_ssim_gradient(self.picture, self.target + np.float32(0.5))
            weight = np.float32(-MSSSIM_WEIGHT * self.height * self.width / trade)
            self._stage_gradients[-1][:, RING:-RING, RING:-RING] = weight * gradient
            return equivalent_error(value, self.height, self.width)
        worth = np.float32(1 / (3 * trade))
        return sum(self._run([(squared_error, self._stages[-1], self.target, worth, *band, self._stage_gradients[-1])
                              for band in _bands(self.height)]))

    @property
    def picture(self) -> np.ndarray:
        """(3, H, W) float32 in about 0..1: what the last pass made of the latents."""
        return self._stages[-1][:, RING:-RING, RING:-RING] + np.float32(0.5)


def _padded_synthesis(parameters: Parameters) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The pixelwise layers with the padding that the kernels want."""
    width = parameters.size.synthesis_width
    first = np.zeros((width + 4, GRIDS + 1), np.float32)
    first_bias, last = np.zeros(width + 4, np.float32), np.zeros((4, width), np.float32)
    first[: width + 3, :GRIDS] = parameters["synthesis.first.weight"]
    first_bias[: width + 3] = parameters["synthesis.first.bias"]
    last[:3] = parameters["synthesis.last.weight"]
    return first, first_bias, last


def _bands(height: int) -> list[tuple[int, int]]:
    return [(top, min(top + BAND, height)) for top in range(0, height, BAND)]
