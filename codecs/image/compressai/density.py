"""The learned density of each channel of an entropy bottleneck, as integer tables.

J. Balle, D. Minnen, S. Singh, S. J. Hwang, N. Johnston, "Variational image compression with a scale hyperprior" (ICLR
2018), appendix 6.1. Tables reach as far as the density does, whatever quantiles training has found.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from fewbits.entropy.tables import MAX_REACH, TAIL, SymbolTables, quantised


@dataclass(frozen=True, eq=False)
class FactorisedDensity:
    """Cumulative distributions of C channels, each a small monotone network.

    Attributes:
        matrices: layer by layer (C, out, in), before the softplus that makes them positive.
        biases: (C, out, 1).
        factors: (C, out, 1), before tanh; of all layers but the last.
        medians: (C,), what symbol 0 stands for.
    """

    matrices: list[Tensor]
    biases: list[Tensor]
    factors: list[Tensor]
    medians: Tensor

    def logits(self, x: Tensor) -> Tensor:
        """Logits of the cumulative distributions: (C, n) float64 to (C, n)."""
        y = x[:, None]
        for number, (matrix, bias) in enumerate(zip(self.matrices, self.biases, strict=True)):
            y = F.softplus(matrix.double()) @ y + bias.double()
            if number < len(self.factors):
                y = y + torch.tanh(self.factors[number].double()) * torch.tanh(y)
        return y[:, 0]

    def tables(self) -> SymbolTables:
        """One table a channel, for the distances of its values from the median, in whole steps."""
        steps = torch.arange(-MAX_REACH, MAX_REACH + 2, dtype=torch.float64) - 0.5
        logits = self.logits(self.medians.double()[:, None] + steps)
        lower, upper = logits[:, :-1], logits[:, 1:]
        side = torch.where(lower + upper > 0, -1.0, 1.0)  # far above the middle, what is left to 1 keeps the digits
        mass = (torch.sigmoid(side * upper) - torch.sigmoid(side * lower)).abs()
        below, above = torch.sigmoid(lower), torch.sigmoid(-upper)  # beyond each entry
        kept = (below + mass > TAIL / 2) & (above + mass > TAIL / 2)
        rows, lows = [], []
        for channel in range(len(kept)):
            inside = kept[channel].nonzero()[:, 0]
            first, last = (int(inside[0]), int(inside[-1])) if len(inside) else (MAX_REACH, MAX_REACH)
            rest = below[channel, first] + above[channel, last]
            rows.append(quantised(torch.cat([mass[channel, first : last + 1], rest[None]]).numpy()))
            lows.append(first - MAX_REACH)
        return SymbolTables.from_frequencies(rows, lows)
