"""The same cost as `objective.Objective`, by torch: for fits on a GPU.

Latents, their moments and all planes stay on the device; a step moves the networks' parameters there and their
gradients back. Everything is float32, without TF32. Sums on a GPU come in no fixed order, so two fits of a picture
differ a little; their files decode everywhere all the same.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.lib.mixins import NDArrayOperatorsMixin
from torch import Tensor
from torch.nn import functional as F

from fewbits.codecs.image.overfit.architecture import (
    GRIDS,
    NEIGHBOURS,
    DecoderSize,
    context_network,
    grid_shape,
)
from fewbits.codecs.image.overfit.objective import ADAM, FLOOR, SMALLEST_PERCEPTUAL_SIDE, Cost
from fewbits.codecs.image.overfit.parameters import Parameters
from fewbits.kernels.context import COARSE_INPUTS, MARGIN
from fewbits.kernels.context_gradient import MAX_LOG_SCALE, MIN_LOG_SCALE

_CONTEXT_WINDOW = (MARGIN + 1, 2 * MARGIN + 1)
_CONTEXT_CELLS = [(dy + MARGIN) * _CONTEXT_WINDOW[1] + dx + MARGIN for dy, dx in NEIGHBOURS]

# Of the 3x3 coarse latents around the one below a position: those that a context network sees, in its order, for each
# of the four positions (even or odd row, even or odd column) above it.
_COARSE_WINDOW = 9
_COARSE_CELLS = [position * _COARSE_WINDOW + 3 * row + column
                 for position, (far_row, far_column) in enumerate([(0, 0), (0, 2), (2, 0), (2, 2)])
                 for row, column in [(1, 1), (1, far_column), (far_row, 1), (far_row, far_column)]]


class DeviceArray(NDArrayOperatorsMixin):
    """A tensor that is read and written like a NumPy array. What is read or computed is a copy, in NumPy."""

    def __init__(self, tensor: Tensor) -> None:
        self._tensor = tensor

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self._tensor.shape)

    def copy(self) -> np.ndarray:
        """All of it."""
        return self._tensor.detach().to("cpu", copy=True).numpy()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self.copy() if dtype is None else self.copy().astype(dtype, copy=False)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        return getattr(ufunc, method)(*(x.copy() if isinstance(x, DeviceArray) else x for x in inputs), **kwargs)

    def __getitem__(self, place: Any) -> Any:
        return self.copy()[place]

    def __setitem__(self, place: Any, value: Any) -> None:
        self._tensor[place] = torch.from_numpy(np.array(value, np.float32)).to(self._tensor.device)


class TorchGrid:
    """One latent grid of a picture while it is fitted.

    Attributes:
        latents: (H, W). first, second: their moments.
    """

    def __init__(self, latents: Tensor, first: Tensor, second: Tensor) -> None:
        self.height, self.width = latents.shape
        self._latents, self._first, self._second = map(DeviceArray, (latents, first, second))

    # Properties without setters: `grid.latents = array` would leave the device's latents as they are.
    @property
    def latents(self) -> DeviceArray:
        return self._latents

    @property
    def first(self) -> DeviceArray:
        return self._first

    @property
    def second(self) -> DeviceArray:
        return self._second


class TorchObjective:
    """The cost of one picture, at one size of the decoder; a stand-in for `Objective`.

    Args:
        rgb: (H, W, 3) uint8.
        finest: the first grid in use, 0 or 1.
        device: of torch, "cuda" or "cpu". A pass needs about half a kilobyte a pixel there.
        perceptual: `perceptual.equivalent_error` counts in the place of the squared error, in `Cost` as well;
            pictures too small for it keep the squared error.

    Attributes:
        target: (3, H, W) float32, samples minus 1/2.
    """

    def __init__(self, rgb: np.ndarray, size: DecoderSize, finest: int, device: str = "cuda",
                 perceptual: bool = False) -> None:
        self.size, self.finest, self.device = size, finest, torch.device(device)
        self.height, self.width = rgb.shape[:2]
        self.perceptual = perceptual and min(self.height, self.width) >= SMALLEST_PERCEPTUAL_SIDE
        self.target = np.ascontiguousarray(rgb.transpose(2, 0, 1).astype(np.float32) / 255 - 0.5)
        self._target = torch.from_numpy(self.target).to(self.device)
        self._picture = torch.zeros_like(self._target)
        self._shapes = [grid_shape(k, self.height, self.width) for k in range(finest, GRIDS)]
        # All grids lie in one row, so that what treats latents alike is one operation.
        count = sum(map(math.prod, self._shapes))
        self._latents, self._first, self._second = torch.zeros((3, count), device=self.device)
        self._relaxed = torch.zeros(count, device=self.device, requires_grad=True)
        self._slope = torch.ones(count, device=self.device)
        self._generator = torch.Generator(self.device)
        self._cells = torch.tensor(_CONTEXT_CELLS[: size.neighbours], device=self.device)
        self._coarse_cells = torch.tensor(_COARSE_CELLS, device=self.device)
        moments = (self._grids_of(row) for row in (self._latents, self._first, self._second))
        self.grids = [TorchGrid(*parts) for parts in zip(*moments, strict=True)]

    @torch.no_grad()
    def relax(self, temperature: float, noise: float, seed: int) -> None:
        """Makes relaxed latents as `relaxation.relax` does, with noise of the device's own."""
        if temperature == 0:
            self._relaxed.copy_(torch.floor(self._latents + 0.5))
            self._slope.fill_(1)
            return
        self._generator.manual_seed(seed)
        uniform = torch.rand((2, self._latents.numel()), generator=self._generator, device=self.device)
        soft, inner = _soft_round(self._latents, 1 / temperature)
        relaxed, outer = _soft_round(soft + noise * math.sqrt(6) * (uniform[0] - uniform[1]), 1 / temperature)
        self._relaxed.copy_(relaxed)
        torch.mul(inner, outer, out=self._slope)

    def cost(self, parameters: Parameters, trade: float, gradient: Parameters) -> Cost:
        """The cost of the relaxed latents; see `Objective.cost`. With MS-SSIM, its `squared_error` is what that
        counts as."""
        flat = torch.from_numpy(parameters.flat.copy()).to(self.device).requires_grad_()
        self._relaxed.grad = None
        with _full_precision(), torch.enable_grad():
            # One after the other: the graph of the bits is gone before that of the picture is made.
            bits = self._bits(_views(flat, self.size))
            bits.backward()
            error = self._error(_views(flat, self.size))
            (error / (3 * trade)).backward()
        assert flat.grad is not None
        gradient.flat += flat.grad.cpu().numpy()
        return Cost(bits.item(), error.item())

    @torch.no_grad()
    def share(self, parameters: Parameters, trade: float, tensor: str) -> float:
        """See `Objective.share`."""
        views = _views(torch.from_numpy(parameters.flat.copy()).to(self.device), self.size)
        with _full_precision():
            if tensor.startswith("context."):
                return self._bits(views).item()
            return self._error(views).item() / (3 * trade)

    @torch.no_grad()
    def descend(self, step: float, count: int) -> None:
        """A step of Adam for the latents, the `count`-th; see `relaxation.descend`."""
        assert self._relaxed.grad is not None
        gradient = self._relaxed.grad * self._slope
        floor = torch.cat([FLOOR * part.mean().expand(part.numel()) for part in self._grids_of(self._second)])
        self._first.mul_(ADAM[0]).add_(gradient, alpha=1 - ADAM[0])
        self._second.mul_(ADAM[1]).addcmul_(gradient, gradient, value=1 - ADAM[1])
        root = ((self._second + floor) / (1 - ADAM[1]**count)).sqrt_().add_(1e-12)
        self._latents.addcdiv_(self._first, root, value=-step / (1 - ADAM[0]**count))

    @property
    def picture(self) -> np.ndarray:
        """(3, H, W) float32 in about 0..1: what the last pass made of the latents."""
        return (self._picture + 0.5).cpu().numpy()

    @property
    def relaxed(self) -> list[np.ndarray]:
        """The relaxed latents of the grids in use."""
        return [part.detach().to("cpu", copy=True).numpy() for part in self._grids_of(self._relaxed)]

    @property
    def gradients(self) -> list[np.ndarray]:
        """The gradients of the relaxed latents, from the last pass."""
        assert self._relaxed.grad is not None
        return [part.to("cpu", copy=True).numpy() for part in self._grids_of(self._relaxed.grad)]

    def _grids_of(self, row: Tensor) -> list[Tensor]:
        """Views of the grids in a row of all latents."""
        parts = row.split([math.prod(shape) for shape in self._shapes])
        return [part.view(shape) for part, shape in zip(parts, self._shapes, strict=True)]

    def _bits(self, views: dict[str, Tensor]) -> Tensor:
        grids = self._grids_of(self._relaxed)
        total = torch.zeros((), device=self.device)
        for number, grid in enumerate(grids):
            coarse = grids[number + 1] if number + 1 < len(grids) else None
            prefix = f"context.{context_network(number + self.finest)}."
            network = {name.removeprefix(prefix): view for name, view in views.items() if name.startswith(prefix)}
            total = total + self._bits_of_grid(grid, coarse, network)
        return total

    def _bits_of_grid(self, grid: Tensor, coarse: Tensor | None, network: dict[str, Tensor]) -> Tensor:
        hidden = self.size.context_width
        first = network["first.bias"][:, None] + self._seen(grid, coarse, network["first.weight"])
        second = torch.addmm(network["second.bias"][:, None], network["second.weight"], first[:hidden].relu())
        mean, log_scale = torch.addmm(first[hidden:], network["last.weight"], second.relu())
        return _laplace_bits(grid.flatten(), mean, log_scale).sum()

    def _seen(self, grid: Tensor, coarse: Tensor | None, weight: Tensor) -> Tensor:
        """The first layer of a context network without its bias: (outputs, H W)."""
        outputs, count = weight.shape[0], self.size.neighbours
        windows = F.unfold(F.pad(grid[None, None], (MARGIN, MARGIN, MARGIN, 0)), _CONTEXT_WINDOW)[0]
        own = weight.new_zeros(outputs, windows.shape[0]).index_copy(1, self._cells, weight[:, :count]) @ windows
        if coarse is None:
            return own
        # A coarse latent's 3x3 surroundings serve the four positions above it at once.
        windows = F.unfold(coarse[None, None], 3, padding=1)[0]
        wide = weight.new_zeros(outputs, 4 * _COARSE_WINDOW)
        wide = wide.index_copy(1, self._coarse_cells, weight[:, count : count + COARSE_INPUTS].repeat(1, 4))
        four = (wide.view(4 * outputs, _COARSE_WINDOW) @ windows).view(4 * outputs, *coarse.shape)
        height, width = grid.shape
        return own + F.pixel_shuffle(four, 2)[:, :height, :width].flatten(1)

    def _error(self, views: dict[str, Tensor]) -> Tensor:
        planes = self._upsampled(views["upsampling"])
        picture = _synthesised(planes, views, self.size)
        self._picture = picture.detach()
        if not self.perceptual:
            return (picture - self._target).square().sum()
        from fewbits.codecs.image.overfit import perceptual

        value = perceptual.ms_ssim(picture + 0.5, self._target + 0.5)
        return perceptual.equivalent_error(value, self.height, self.width)

    def _upsampled(self, taps: Tensor) -> Tensor:
        """All grids at full resolution: (7, H, W)."""
        grids = self._grids_of(self._relaxed)
        planes = grids[-1][None]
        for k in range(GRIDS - 2, -1, -1):
            shape = grid_shape(k, self.height, self.width)
            own = grids[k - self.finest] if k >= self.finest else torch.zeros(shape, device=self.device)
            finer = [own[None], _upsample(planes[:1], taps[k, 0], shape)]
            if len(planes) > 1:
                finer.append(_upsample(planes[1:], taps[k, 1], shape))
            planes = torch.cat(finer)
        return planes


@contextmanager
def _full_precision() -> Iterator[None]:
    """Keeps TF32, whose ten bits of mantissa are too few here, out of convolutions and products."""
    products = torch.backends.cuda.matmul
    before = products.allow_tf32
    products.allow_tf32 = False
    try:
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            yield
    finally:
        products.allow_tf32 = before


def _views(flat: Tensor, size: DecoderSize) -> dict[str, Tensor]:
    """The parameters by name, as in `Parameters`."""
    shapes = size.shapes()
    parts = flat.split([math.prod(shape) for shape in shapes.values()])
    return {name: part.view(shape) for (name, shape), part in zip(shapes.items(), parts, strict=True)}


def _soft_round(x: Tensor, sharpness: float) -> tuple[Tensor, Tensor]:
    """Value and slope of soft rounding."""
    half = 0.5 / math.tanh(sharpness / 2)
    floor = x.floor()
    tanh = torch.tanh((x - floor - 0.5) * sharpness)
    return floor + 0.5 + half * tanh, half * sharpness * (1 - tanh * tanh)


def _laplace_bits(latents: Tensor, mean: Tensor, log_scale: Tensor) -> Tensor:
    """Bits of latents under Laplacians integrated over unit steps; see `context_gradient._laplace`."""
    steepness = torch.exp2(-log_scale.clamp(MIN_LOG_SCALE, MAX_LOG_SCALE))
    distance = (latents - mean).abs()
    near = distance.clamp(max=0.5)  # the formula for the middle must stay finite where it is not used
    middle = 1 - 0.5 * (torch.exp((near - 0.5) * steepness) + torch.exp((-near - 0.5) * steepness))
    tail = 1 + (distance - 0.5) * steepness / math.log(2) - torch.log2(-torch.expm1(-steepness))
    return torch.where(distance > 0.5, tail, -torch.log2(middle.clamp(min=1e-30)))


def _upsample(planes: Tensor, taps: Tensor, shape: tuple[int, int]) -> Tensor:
    """Planes (n, h, w) at twice the resolution, cut to `shape`; see `upsampling_gradient.upsample`.

    One 5x5 convolution makes the four positions above each value: rows and columns with the four taps where they are
    even, with the mirrored taps one place on where they are odd.
    """
    phases = torch.stack([F.pad(taps, (0, 1)), F.pad(taps.flip(0), (1, 0))])
    kernels = torch.einsum("ay,bx->abyx", phases, phases).reshape(4, 1, 5, 5)
    four = F.conv2d(F.pad(planes[:, None], (2, 2, 2, 2), mode="replicate"), kernels)
    return F.pixel_shuffle(four, 2)[:, 0, : shape[0], : shape[1]]


def _synthesised(planes: Tensor, views: dict[str, Tensor], size: DecoderSize) -> Tensor:
    """Samples minus 1/2, (3, H, W), from planes (7, H, W)."""
    hidden = size.synthesis_width
    first = torch.addmm(views["synthesis.first.bias"][:, None], views["synthesis.first.weight"], planes.flatten(1))
    samples = torch.addmm(first[hidden:], views["synthesis.last.weight"], first[:hidden].relu())
    picture = samples.view(1, 3, *planes.shape[1:])
    for i in range(size.residual_layers):
        layer = F.conv2d(F.pad(picture, (1, 1, 1, 1), mode="replicate"), views[f"synthesis.residual.{i}.weight"],
                         views[f"synthesis.residual.{i}.bias"])
        picture = picture + (layer.relu() if i + 1 < size.residual_layers else layer)
    return picture[0]
