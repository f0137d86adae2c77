"""Vector quantisation of latents: residual stages, in groups or not, one module for what the papers have in several.

- Residual stages, each of which quantises what the ones before left over, and a random number of them in training, so
  that one model serves many rates: SoundStream (arXiv 2107.03312).
- Stages that project to a few dimensions and look up directions there, which keeps large codebooks in use: DAC
  (arXiv 2306.06546). With `code_dimension=None`, plain nearest neighbours among whole vectors instead.
- Latents split into groups, each with its own residual stages: HiFi-Codec (arXiv 2305.02765), see `HIFI_CODEC`.

Codebooks follow the running means of what is quantised to their entries, as in SoundStream; DAC and HiFi-Codec train
them by gradients. With means, no optimiser touches them: neither its learning rate nor its momentum moves entries that
a batch of a second of sound did not use, their start by k-means and the restart of entries out of use are one update
with other weights, and the loss has only the term that keeps latents near their entries.

Codebooks are numbered stage by stage, and group by group within a stage, so first rows of indices are lower rates.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fewbits.entropy.index_coder import UNUSED
from fewbits.kernels.vq import nearest

DECAY = 0.99  # of running means, for each batch
RESTART_SHARE = 0.05  # of an even share: entries that are used less begin again elsewhere
K_MEANS_ROUNDS = 15

_TINY = 1e-30


@dataclass(frozen=True)
class VectorQuantiserConfig:
    """Sizes of a quantiser.

    Attributes:
        latents: channels, D.
        groups: parts of equal width that the latents are split into.
        stages: codebooks of each group.
        entries: of each codebook, K.
        code_dimension: what a stage projects to before it looks up directions, or None for neither.
    """

    latents: int = 48
    groups: int = 1
    stages: int = 12
    entries: int = 256
    code_dimension: int | None = 8

    def __post_init__(self) -> None:
        if min(self.latents, self.groups, self.stages, self.entries - 1) < 1 or self.latents % self.groups:
            raise ValueError(f"these sizes make no quantiser: {self}")
        if self.code_dimension is not None and not 1 <= self.code_dimension <= self.width:
            raise ValueError(f"{self.width} latents of a group cannot become {self.code_dimension}")

    @property
    def width(self) -> int:
        """Latents of a group."""
        return self.latents // self.groups

    @property
    def codebooks(self) -> int:
        """Indices of a frame, at most."""
        return self.groups * self.stages


HIFI_CODEC = VectorQuantiserConfig(groups=2, stages=2, entries=1024, code_dimension=None)
"""The group-residual quantiser of HiFi-Codec: four codebooks, one rate."""


class Quantised(NamedTuple):
    """What `VectorQuantiser.forward` returns.

    Attributes:
        latents: (N, D, T), quantised, with straight-through gradients.
        indices: (N, codebooks, T) int64, UNUSED where a frame has fewer stages.
        loss: a number, what keeps latents near their entries: the mean square of what a code is off its entry, summed
            over the codebooks that a frame uses, on average over the frames. (DAC weighs it 0.25.)
    """

    latents: Tensor
    indices: Tensor
    loss: Tensor


class CodebookHealth(NamedTuple):
    """How evenly codebooks are used, by running means over training.

    Attributes:
        used: (codebooks,), share of the entries in use: those that are not about to be restarted.
        perplexity: (codebooks,), what the entropy of the entries is the logarithm of: K where all are used alike.
    """

    used: Tensor
    perplexity: Tensor


class VectorQuantiser(nn.Module):
    """Quantises latents (N, D, T) frame by frame. Call `initialise` before training and `sort_entries` after it.

    Attributes:
        summed: what is counted of a batch, summed over all processes that train. Entries that begin again do so in each
            process by itself, so that one of them has to give the others its buffers.
    """

    entries: Tensor
    usage: Tensor
    summed: Callable[[Tensor], Tensor] = staticmethod(torch.positive)

    def __init__(self, config: VectorQuantiserConfig) -> None:
        super().__init__()
        self.config = config
        count, code = config.codebooks, config.code_dimension or config.width
        self.register_buffer("entries", torch.randn(count, config.entries, code))
        self.register_buffer("usage", torch.full((count, config.entries), 1 / config.entries))
        if config.code_dimension is not None:
            axes = torch.stack([nn.init.orthogonal_(torch.empty(code, config.width)) for _ in range(count)])
            self.inward, self.inward_bias = nn.Parameter(axes), nn.Parameter(torch.zeros(count, code))
            self.outward = nn.Parameter(axes.transpose(1, 2).clone())
            self.outward_bias = nn.Parameter(torch.zeros(count, config.width))

    def forward(self, latents: Tensor, stages: Tensor | None = None) -> Quantised:
        """Quantises; in training mode, codebooks follow the latents.

        Args:
            latents: (N, D, T).
            stages: integers (N,) or (N, T), how many stages to use; None for all. In training, `random_stages`.

        Raises:
            ValueError: if shapes do not fit.
        """
        self._check_latents(latents)
        used = self._used(len(latents), latents.shape[2], stages)
        with torch.autocast(latents.device.type, enabled=False):
            residuals = list(latents.float().transpose(1, 2).chunk(self.config.groups, -1))
            parts = [torch.zeros_like(residual) for residual in residuals]
            indices, loss = [], latents.new_zeros((), dtype=torch.float32)
            for codebook in range(self.config.codebooks):
                stage, group = divmod(codebook, self.config.groups)
                active = used[..., stage]
                codes = self._codes(codebook, residuals[group])
                index = self._lookup(codebook, codes.detach())
                entries = F.embedding(index, self.entries[codebook])
                loss = loss + ((codes - entries).square().mean(-1) * active).sum() / max(active.numel(), 1)
                part = self._latents(codebook, codes + (entries - codes).detach())
                residuals[group] = residuals[group] - part
                parts[group] = parts[group] + part * active[..., None]
                indices.append(torch.where(active, index, UNUSED))
                if self.training:
                    rows, among = codes.detach().flatten(0, 1), active.flatten()
                    counts = self.summed(self._counts(rows, index.flatten(), among))
                    self._learn(codebook, counts, rows, among, DECAY)
        return Quantised(torch.cat(parts, -1).transpose(1, 2), torch.stack(indices, 1), loss)

    @torch.no_grad()
    def indices(self, latents: Tensor, stages: Tensor | None = None) -> Tensor:
        """The indices alone; learns nothing. Arguments and errors as for `forward`."""
        training = self.training
        try:
            return self.eval()(latents, stages).indices
        finally:
            self.train(training)

    def decode(self, indices: Tensor, stages: Tensor | None = None) -> Tensor:
        """Latents (N, D, T) float32 of indices.

        Args:
            indices: integers (N, rows, T), UNUSED or entries; the rows of whole stages, all or the first ones.
            stages: as for `forward`: for a lower rate than the indices have.

        Raises:
            ValueError: if shapes do not fit, or an entry does not exist.
        """
        groups, entries = self.config.groups, self.config.entries
        if indices.ndim != 3 or indices.shape[1] % groups or indices.shape[1] > self.config.codebooks:
            raise ValueError(f"indices of shape {tuple(indices.shape)} with {self.config.codebooks} codebooks")
        if indices.numel() and not UNUSED <= int(indices.min()) <= int(indices.max()) < entries:
            raise ValueError(f"an index is not one of {entries} entries")
        used = self._used(len(indices), indices.shape[2], stages)
        parts = [torch.zeros(len(indices), indices.shape[2], self.config.width, device=indices.device)
                 for _ in range(groups)]
        for codebook in range(indices.shape[1]):
            stage, group = divmod(codebook, groups)
            index = indices[:, codebook].long()
            active = (index >= 0) & used[..., stage]
            part = self._latents(codebook, F.embedding(index.clamp(min=0), self.entries[codebook]))
            parts[group] = parts[group] + part * active[..., None]
        return torch.cat(parts, -1).transpose(1, 2)

    def errors(self, latents: Tensor, indices: Tensor) -> Tensor:
        """Mean squares of what is left of latents (N, D, T) after 0, 1, ... stages of indices: (N, stages + 1, T).

        Indices are those of whole stages, none of them UNUSED.
        """
        groups = self.config.groups
        residual = latents.transpose(1, 2)
        errors = [residual.square().mean(-1)]
        for stage in range(indices.shape[1] // groups):
            rows = range(stage * groups, (stage + 1) * groups)
            parts = [self._latents(row, F.embedding(indices[:, row].long(), self.entries[row])) for row in rows]
            residual = residual - torch.cat(parts, -1)
            errors.append(residual.square().mean(-1))
        return torch.stack(errors, 1)

    def random_stages(self, items: int) -> Tensor:
        """Random numbers of stages (items,) int64 for a batch of training."""
        return torch.randint(1, self.config.stages + 1, (items,)).to(self.entries.device)

    @torch.no_grad()
    def initialise(self, latents: Tensor) -> None:
        """Projections become principal axes and codebooks the result of k-means, stage after stage.

        Args:
            latents: (N, D, T) of the first batches together: some ten frames an entry.

        Raises:
            ValueError: if the shape does not fit, or there are no frames.
        """
        self._check_latents(latents)
        rows = latents.float().transpose(1, 2).flatten(0, 1)
        if not len(rows):
            raise ValueError("codebooks cannot begin without frames")
        residuals = list(rows.chunk(self.config.groups, -1))
        everything = torch.ones(len(rows), dtype=torch.bool, device=rows.device)
        for codebook in range(self.config.codebooks):
            group = codebook % self.config.groups
            self._fit_axes(codebook, residuals[group])
            codes = self._codes(codebook, residuals[group])
            self.entries[codebook] = codes[torch.randint(len(codes), (self.config.entries,), device=rows.device)]
            for _ in range(K_MEANS_ROUNDS):
                counts = self._counts(codes, self._lookup(codebook, codes), everything)
                self._learn(codebook, counts, codes, everything, 0.0)
            index = self._lookup(codebook, codes)
            residuals[group] = residuals[group] - self._latents(codebook, self.entries[codebook, index])

    @torch.no_grad()
    def sort_entries(self) -> None:
        """Puts similar entries next to each other (`tree_order`), for the coder of indices. Older indices go stale."""
        for codebook in range(self.config.codebooks):
            order = tree_order(self.entries[codebook])
            self.entries[codebook] = self.entries[codebook, order]
            self.usage[codebook] = self.usage[codebook, order]

    def health(self) -> CodebookHealth:
        """How the codebooks are used, for logging."""
        alive = self.usage > RESTART_SHARE / self.config.entries
        shares = self.usage / self.usage.sum(1, keepdim=True)
        return CodebookHealth(alive.float().mean(1), torch.special.entr(shares).sum(1).exp())

    def _check_latents(self, latents: Tensor) -> None:
        if latents.ndim != 3 or latents.shape[1] != self.config.latents:
            raise ValueError(f"latents of shape {tuple(latents.shape)}, the quantiser has {self.config.latents}")

    def _used(self, items: int, frames: int, stages: Tensor | None) -> Tensor:
        """Which stages each frame uses, (N, T, stages)."""
        numbers = torch.arange(self.config.stages, device=self.entries.device)
        if stages is None:
            stages = torch.full((items,), self.config.stages, device=numbers.device)
        if tuple(stages.shape) not in {(items,), (items, frames)}:
            raise ValueError(f"numbers of stages of shape {tuple(stages.shape)} for {items} items of {frames} frames")
        each = stages if stages.ndim == 2 else stages[:, None].expand(items, frames)
        return numbers < each[..., None]

    def _codes(self, codebook: int, residual: Tensor) -> Tensor:
        """What a codebook sees of a residual (..., width)."""
        if self.config.code_dimension is None:
            return residual
        return F.linear(residual, self.inward[codebook], self.inward_bias[codebook])

    def _latents(self, codebook: int, codes: Tensor) -> Tensor:
        """The way back from codes."""
        if self.config.code_dimension is None:
            return codes
        return F.linear(codes, self.outward[codebook], self.outward_bias[codebook])

    def _lookup(self, codebook: int, codes: Tensor) -> Tensor:
        """Numbers of the entries for codes (..., C): nearest, or of the nearest direction."""
        entries = self.entries[codebook]
        if self.config.code_dimension is not None:  # the length of a code does not change which direction is nearest
            entries = F.normalize(entries, dim=-1)
        return nearest(codes.reshape(-1, codes.shape[-1]), entries).view(codes.shape[:-1])

    def _counts(self, codes: Tensor, index: Tensor, active: Tensor) -> Tensor:
        """Of each entry, the sum of the active codes (R, C) with its index (R,), and their number: (K, C + 1)."""
        counted = F.pad(codes, (0, 1), value=1.0) * active[:, None]
        return counted.new_zeros(self.config.entries, counted.shape[1]).index_add_(0, index, counted)

    @torch.no_grad()
    def _learn(self, codebook: int, counts: Tensor, codes: Tensor, active: Tensor, decay: float) -> None:
        """Entries move to the running means of what was counted; those out of use restart at active codes (R, C).

        With a decay of 0, a round of k-means.
        """
        entries, usage = self.entries[codebook], self.usage[codebook]
        total = counts[:, -1].sum()
        rate = (1 - decay) * (total > 0)  # a batch that does not use this codebook teaches nothing
        sums, shares = (counts / total.clamp(min=1)).tensor_split([-1], 1)
        shares = shares[:, 0]
        usage.lerp_(shares, rate)
        entries += (sums - shares[:, None] * entries) * (rate / usage.clamp(min=_TINY))[:, None]
        dead = usage < RESTART_SHARE / self.config.entries
        places = torch.multinomial(active + 1e-9, self.config.entries, replacement=True)
        entries.copy_(torch.where(dead[:, None], codes[places], entries))
        usage.copy_(torch.where(dead, 1 / self.config.entries, usage))

    def _fit_axes(self, codebook: int, rows: Tensor) -> None:
        """Projects to the principal axes of rows (R, width), around their mean."""
        if self.config.code_dimension is None:
            return
        axes, mean = principal_axes(rows)
        axes = axes[: self.config.code_dimension]
        self.inward[codebook], self.inward_bias[codebook] = axes, -(axes @ mean)
        self.outward[codebook], self.outward_bias[codebook] = axes.T, mean


def principal_axes(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Axes (D, D) of rows (R, D), one a row, that of the largest variance first, and their mean (D,)."""
    mean = rows.mean(0)
    centred = (rows - mean).double()
    axes = torch.linalg.eigh(centred.T @ centred).eigenvectors
    return axes.T.flip(0).to(rows.dtype), mean


def tree_order(entries: Tensor) -> Tensor:
    """An order of entries (K, C) in which all bits of an index, highest first, say something: (K,) int64.

    The first bit splits the entries across their principal axis, the next one each half across its own, and so on. The
    lower half always holds a whole power of two.
    """
    order = (entries @ principal_axes(entries)[0][0]).argsort(stable=True)
    if len(order) <= 2:
        return order
    lower, upper = order.split([half := 1 << (len(order) - 1).bit_length() - 1, len(order) - half])
    return torch.cat([lower[tree_order(entries[lower])], upper[tree_order(entries[upper])]])
