"""The modified discrete cosine transform: as many coefficients as samples, and overlapping windows without seams."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Mdct(nn.Module):
    """Orthonormal MDCT with a sine window of two hops (J. Princen, A. Bradley, 1986).

    Frame `t` sees the samples from `(t - 1) * hop` to `(t + 1) * hop`, so that `n` hops of samples have `n + 1` frames
    with one hop of silence around them, and a hop of samples needs the frame at its start and the one at its end.
    """

    def __init__(self, hop: int) -> None:
        super().__init__()
        self.hop = hop
        n, k = torch.arange(2 * hop, dtype=torch.float64), torch.arange(hop, dtype=torch.float64)
        window = torch.sin(math.pi * (n + 0.5) / (2 * hop))
        waves = torch.cos(math.pi / hop * (n + 0.5 + hop / 2) * (k[:, None] + 0.5))
        self.register_buffer("basis", (waves * window * math.sqrt(2 / hop)).float()[:, None], persistent=False)

    def forward(self, samples: Tensor) -> Tensor:
        """(N, hops * hop) samples to (N, hop, hops - 1) coefficients, of all frames that lie within the samples."""
        return F.conv1d(samples[:, None], self.basis, stride=self.hop)

    def inverse(self, coefficients: Tensor) -> Tensor:
        """(N, hop, frames) coefficients to the (N, (frames - 1) * hop) samples that two frames cover."""
        return F.conv_transpose1d(coefficients, self.basis, stride=self.hop)[:, 0, self.hop : -self.hop]
