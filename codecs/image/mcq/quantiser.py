"""The trainable quantiser: a codebook of vectors for each scale that the networks can predict.

Residuals of one predicted scale look alike, wherever in the picture and in whichever channel they are. So residuals of
a level are sorted by their scale, and neighbours in that order are quantised together, with the codebook of their
scale. A vector far from all entries is spelled out: each of its residuals is rounded by itself.

The choice of an entry weighs distance against rate (P. A. Chou, T. Lookabaugh, R. M. Gray, "Entropy-constrained vector
quantization", IEEE Trans. ASSP 1989); in training it is drawn between the best two, as in "Unified Multivariate
Gaussian Mixture for Efficient Neural Image Compression" (X. Zhu et al., CVPR 2022), whose codebooks are for groups of
channels at levels of resolution.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from fewbits.codecs.image.hyperprior.entropy_model import logistic_bits
from fewbits.codecs.image.mcq.codebook_sizes import CODEBOOK_SIZES, CodebookSize
from fewbits.codecs.image.mcq.codebooks import SLOPE
from fewbits.codecs.latents import round_through, scale_of, table_scales

TEMPERATURE = 0.01  # squared steps, of the draw between the best two
USAGE_DECAY = 0.99  # of running shares, for each batch
LEAST_SHARE = 1e-7  # an entry that is never used is taken to have this one


class ScaleQuantiser(nn.Module):
    """Codebooks, and how often each of their entries is used; the last share is that of vectors spelled out.

    Attributes:
        summed: what is counted of a batch, summed over all processes that train.
    """

    summed: Callable[[Tensor], Tensor] = staticmethod(torch.positive)

    def __init__(self) -> None:
        super().__init__()
        starts = [_lattice(size, scale) for size, scale in zip(CODEBOOK_SIZES, table_scales(), strict=False)]
        self.codebooks = nn.ParameterList(nn.Parameter(entries) for entries, _ in starts)
        for number, (_, shares) in enumerate(starts):
            self.register_buffer(f"shares_{number}", shares)

    def shares(self, number: int) -> Tensor:
        """How often each entry of a codebook is used, vectors spelled out last: (K + 1,)."""
        return self.get_buffer(f"shares_{number}")

    def forward(self, residuals: Tensor, scales: Tensor) -> tuple[Tensor, Tensor]:
        """Quantises, with straight-through gradients for the residuals and gradients for the codebooks.

        Args:
            residuals: (n,) in steps.
            scales: (n,) integers, indices of their predicted scales.

        Returns:
            (n,) quantised residuals, and the bits that all of them take, without gradients.
        """
        order = torch.argsort(scales, stable=True)
        sizes = torch.bincount(scales, minlength=len(CODEBOOK_SIZES))[: len(CODEBOOK_SIZES)].tolist()
        runs = residuals[order].split([*sizes, len(order) - sum(sizes)])
        parts, bits = [], residuals.new_zeros(())
        counts = [torch.zeros_like(self.shares(number)) for number in range(len(self.codebooks))]
        for number, run in enumerate(runs[:-1]):
            if len(run):
                part, part_bits, counts[number] = self._quantised(number, run)
                parts.append(part)
                bits = bits + part_bits
        if self.training:
            self._follow(counts)
        rest = runs[-1]
        bits = bits + logistic_bits(rest.detach().round(), scale_of(scales[order[len(order) - len(rest) :]])).sum()
        parts.append(round_through(rest))
        return torch.empty_like(residuals).scatter(0, order, torch.cat(parts)), bits

    @torch.no_grad()
    def _follow(self, counts: list[Tensor]) -> None:
        """Shares follow how often entries were used in a batch."""
        sizes = [len(own) for own in counts]
        for number, own in enumerate(self.summed(torch.cat(counts)).split(sizes)):
            total = own.sum()  # a batch without this scale teaches nothing
            self.shares(number).lerp_(own / total.clamp(min=1), (1 - USAGE_DECAY) * (total > 0))

    def _quantised(self, number: int, run: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Residuals (n,) of one scale, quantised, their bits, and how often each entry is used (K + 1,)."""
        entries = self.codebooks[number]
        dimension = entries.shape[1]
        rows = nn.functional.pad(run, (0, -len(run) % dimension)).view(-1, dimension)
        lengths = -torch.log2(self.shares(number).clamp(min=LEAST_SHARE))
        with torch.no_grad():
            costs = entries.square().sum(1) + SLOPE * lengths[:-1] - 2 * rows @ entries.T
            choice, cost = self._drawn(costs)
            rounded = rows.round()
            plain = lengths[-1] + logistic_bits(rounded, scale_of(torch.tensor(number))).sum(1)
            spelled = (rows - rounded).square().sum(1) + SLOPE * plain < cost + rows.square().sum(1)
            used = torch.where(spelled, len(entries), choice)
            bits = torch.where(spelled, plain, lengths[used]).sum()
            counts = torch.bincount(used, minlength=len(entries) + 1).float()
        chosen = entries[choice] + rows - rows.detach()
        return torch.where(spelled[:, None], round_through(rows), chosen).view(-1)[: len(run)], bits, counts

    def _drawn(self, costs: Tensor) -> tuple[Tensor, Tensor]:
        """The entry of least cost for each row (m, K), in training now and then the second best, and its cost."""
        if not self.training:
            cost, choice = costs.min(1)
            return choice, cost
        best, entries = costs.topk(2, largest=False)
        second = torch.rand_like(best[:, 0]) < torch.sigmoid((best[:, 0] - best[:, 1]) / TEMPERATURE)
        number = second.long()[:, None]
        return entries.gather(1, number)[:, 0], best.gather(1, number)[:, 0]


def _lattice(size: CodebookSize, scale: float) -> tuple[Tensor, Tensor]:
    """What a codebook begins with: the vectors of whole numbers that are most probable at a scale, most probable first.

    Returns:
        (K, D) float32, and the shares of the entries and of all other vectors, (K + 1,) float32.
    """
    whole = torch.arange(-40, 41, dtype=torch.float64)
    logs = -logistic_bits(whole, torch.tensor(scale)).numpy()
    vectors, total = np.zeros((1, 0)), np.zeros(1)
    for _ in range(size.dimension):  # the best with one number more are among the best with one less
        sums = (total[:, None] + logs).ravel()
        best = np.argsort(-sums, kind="stable")[: size.entries]
        vectors = np.concatenate([vectors[best // len(whole)], whole.numpy()[best % len(whole), None]], 1)
        total = sums[best]
    shares = 2.0**total
    shares = np.append(shares, max(1 - shares.sum(), 1e-6))
    return torch.from_numpy(vectors).float(), torch.from_numpy(shares / shares.sum()).float()
