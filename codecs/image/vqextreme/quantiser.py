"""The bottleneck: features at each place of a grid become one index, and back.

Two kinds of it, which know the same sizes: codebooks of vectors (A. van den Oord et al., "Neural Discrete
Representation Learning", NeurIPS 2017), and levels of a few single numbers, whose combinations are an implicit
codebook in which no entry can die (F. Mentzer et al., "Finite Scalar Quantization", ICLR 2024).

The choice of an entry of a codebook weighs distance against rate (P. A. Chou, T. Lookabaugh, R. M. Gray,
"Entropy-constrained vector quantization", IEEE Trans. ASSP 1989): without that, flat places cost as much as rich ones.
"""

import math
from abc import abstractmethod

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fewbits.kernels import vq

SCALAR_LEVELS = {32: (4, 4, 2), 256: (4, 4, 4, 4), 512: (8, 4, 4, 4), 1024: (4, 4, 4, 4, 4)}
"""How many levels each number has, for every size of an implicit codebook."""


class Bottleneck(nn.Module):
    """Quantisers of one stage, one for each size that some rate uses."""

    @abstractmethod
    def entries(self, size: int) -> Tensor:
        """All that can come out, in the order of their indices: (K, D)."""

    @abstractmethod
    def bits(self, size: int) -> Tensor:
        """What each entry costs, from how often it is used, whatever the context: (K,)."""

    @abstractmethod
    def forward(self, x: Tensor, size: int, slope: float) -> tuple[Tensor, Tensor, float]:
        """Quantises (N, D, h, w), with straight-through gradients; arguments as of `indices`.

        Returns:
            The quantised features, what training adds to its loss so that both sides meet (N,), and the bits of an
            index, on average.
        """

    @abstractmethod
    def indices(self, x: Tensor, size: int, slope: float) -> Tensor:
        """(N, D, h, w) -> (N, h, w) int64.

        Args:
            slope: what a bit is worth in squared distance, where entries differ in what they cost.
        """

    def values(self, indices: Tensor, size: int) -> Tensor:
        """Inverse of `indices`: (N, h, w) -> (N, D, h, w)."""
        return F.embedding(indices, self.entries(size)).permute(0, 3, 1, 2)


class Codebooks(Bottleneck):
    """Codebooks of vectors; the smaller ones begin as clusters of the largest."""

    COMMITMENT = 0.25
    USAGE_DECAY = 0.99  # of running shares, for each batch
    LEAST_SHARE = 1e-5

    def __init__(self, sizes: set[int], dimensions: int) -> None:
        super().__init__()
        self.codebooks = nn.ParameterDict({str(k): nn.Parameter(torch.randn(k, dimensions)) for k in sorted(sizes)})
        for size in sizes:
            self.register_buffer(f"bits_{size}", torch.full((size,), math.log2(size)))

    def entries(self, size: int) -> Tensor:
        return self.codebooks[str(size)]

    def bits(self, size: int) -> Tensor:
        return self.get_buffer(f"bits_{size}")

    def indices(self, x: Tensor, size: int, slope: float) -> Tensor:
        rows, entries = x.detach().float().permute(0, 2, 3, 1), self.entries(size).detach()
        # a number more in every row and entry, so that the squared distance grows by the price
        prices = 1 - (1 + slope * self.bits(size)).sqrt()
        priced = torch.cat([entries, prices[:, None]], 1)
        chosen = vq.nearest(F.pad(rows.reshape(-1, rows.shape[3]), (0, 1), value=1.0), priced)
        return chosen.view(rows.shape[:3])

    def forward(self, x: Tensor, size: int, slope: float) -> tuple[Tensor, Tensor, float]:
        indices = self.indices(x, size, slope)
        if self.training:
            self._count(indices, size)
        chosen = self.values(indices, size)
        towards = (chosen - x.detach()).square() + self.COMMITMENT * (x - chosen.detach()).square()
        bits = float(self.bits(size)[indices].mean())
        return x + (chosen - x).detach(), towards.sum(1).mean([1, 2]), bits

    @torch.no_grad()
    def _count(self, indices: Tensor, size: int) -> None:
        """Moves what entries cost towards how often a batch uses them."""
        used = torch.bincount(indices.flatten(), minlength=size) / indices.numel()
        shares = torch.lerp(torch.exp2(-self.bits(size)), used, 1 - self.USAGE_DECAY).clamp(min=self.LEAST_SHARE)
        self.bits(size).copy_(-(shares / shares.sum()).log2())


class FiniteScalars(Bottleneck):
    """A few numbers between -1 and 1, each on levels of its own: the first channels of what comes in."""

    def __init__(self, sizes: set[int], dimensions: int) -> None:
        super().__init__()
        numbers = {k: len(SCALAR_LEVELS[k]) for k in sorted(sizes)}
        self.into = nn.ModuleDict({str(k): nn.Linear(dimensions, n) for k, n in numbers.items()})
        self.out = nn.ModuleDict({str(k): nn.Linear(n, dimensions) for k, n in numbers.items()})

    def entries(self, size: int) -> Tensor:
        axes = [_levels(n) for n in SCALAR_LEVELS[size]]
        return self.out[str(size)](torch.cartesian_prod(*axes).to(self.out[str(size)].weight))

    def bits(self, size: int) -> Tensor:
        return torch.full((size,), math.log2(size))  # whatever their use

    def _bounded(self, x: Tensor, size: int) -> Tensor:
        return torch.tanh(self.into[str(size)](x.float().permute(0, 2, 3, 1)))

    def indices(self, x: Tensor, size: int, slope: float) -> Tensor:
        bounded = self._bounded(x, size)
        result = torch.zeros(bounded.shape[:3], dtype=torch.int64, device=x.device)
        for number, levels in enumerate(SCALAR_LEVELS[size]):
            result = result * levels + _level(bounded[..., number], levels).long()
        return result

    def forward(self, x: Tensor, size: int, slope: float) -> tuple[Tensor, Tensor, float]:
        bounded = self._bounded(x, size)
        levels = torch.tensor(SCALAR_LEVELS[size], dtype=bounded.dtype, device=x.device)
        on_level = _level(bounded, levels) * 2 / (levels - 1) - 1
        quantised = self.out[str(size)](bounded + (on_level - bounded).detach())
        return quantised.permute(0, 3, 1, 2), x.new_zeros(len(x)), math.log2(size)


def _levels(count: int) -> Tensor:
    return torch.linspace(-1, 1, count)


def _level(bounded: Tensor, count: Tensor | int) -> Tensor:
    """The number of the nearest of `count` levels between -1 and 1."""
    return ((bounded.detach() + 1) * (count - 1) / 2).round()
