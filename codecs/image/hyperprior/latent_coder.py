"""Latents of one tile to bytes and back: the five passes, driven by the integer networks.

The passes are the levels of progressive files: the first one comes with the hyper-latents. Where a pass is not there,
its latents are what the networks predict.
"""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import takewhile
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from fewbits.codecs.image.hyperprior.config import HyperpriorConfig
from fewbits.codecs.image.hyperprior.entropy_model import (
    CONTEXT_LIMIT,
    HYPER_LIMIT,
    PASSES,
    take_phases,
)
from fewbits.codecs.image.hyperprior.exact_networks import ExactNetworks
from fewbits.codecs.image.hyperprior.residuals import Group, Residuals
from fewbits.codecs.latents import LATENT_LIMIT, UNIT, as_context
from fewbits.codecs.levels import LEVEL_FRACTION, level_integers
from fewbits.entropy.coder import Decoder, Encoder
from fewbits.entropy.tables import SymbolTables
from fewbits.errors import DamagedError

if TYPE_CHECKING:  # brings numba, which a program that decodes without a circuit does without
    from fewbits.codecs.image.hyperprior.latent_circuit import CircuitDecoder, CircuitEncoder, CircuitPrior

STRIDE = HyperpriorConfig.HYPER_STRIDE
LEVELS = len(PASSES)
BY_TABLES, BY_CIRCUIT = 0, 1  # forms of a tile, the first byte of its first section where there is a circuit


class LatentCoder:
    """Codes latents at a given quality. Everything that reaches the entropy coder is an integer.

    Args:
        networks: the integer networks.
        residuals: codes what they leave of the latents.
        hyper_tables: one table per level and hyper-latent channel, level by level.
        prior: a circuit over whole steps; None to code them by their tables alone.
    """

    def __init__(self, config: HyperpriorConfig, networks: ExactNetworks, residuals: Residuals,
                 hyper_tables: SymbolTables, prior: "CircuitPrior | None" = None) -> None:
        self.config, self.networks = config, networks
        self.residuals, self.hyper_tables, self.prior = residuals, hyper_tables, prior

    def with_prior(self, prior: "CircuitPrior") -> "LatentCoder":
        """The same with a circuit."""
        return LatentCoder(self.config, self.networks, self.residuals, self.hyper_tables, prior)

    def quantise(self, latents: Tensor, hyper_latents: Tensor, position: int) -> tuple[list[list[Group]], Tensor]:
        """Symbols for a tile's latents, and the latents as they will be decoded.

        Args:
            latents: (192, h, w) float32, counted in steps.
            hyper_latents: (64, ceil(h / 4), ceil(w / 4)) float32, not rounded yet.
            position: 64 times the level.

        Returns:
            The groups of each level, in decoding order, and decoded latents (192, h, w) int16 in 1/16 step.
        """
        height, width = latents.shape[1:]
        rounded = self._rounded(hyper_latents, position)[None]
        hyper = Group(_flat(rounded, [rounded.shape[2:]], np.int32), self._hyper_index(rounded, position),
                      self.hyper_tables)
        target = F.pad(latents[None], (0, -width % STRIDE, 0, -height % STRIDE))
        passes = _Passes(self.config, self.networks, rounded, position, height, width)
        levels = []
        for number, step in enumerate(PASSES):
            mean, scale, extents = passes.predict(number)
            wanted = take_phases(target[:, passes.channels(number)], step.phases) - mean / UNIT
            values, groups = self.residuals.quantise(_flat(wanted, extents, np.float32),
                                                     _flat(scale, extents, np.uint16))
            levels.append(groups)
            passes.store(number, mean, _filled(mean, values, extents))
        levels[0].insert(0, hyper)
        return levels, passes.decoded()

    def decode(self, sections: Sequence[bytes | None], height: int, width: int, position: int,
               levels: int = LEVELS, spent: np.ndarray | None = None) -> Tensor:
        """Bytes of a tile to latents (192, h, w) int16 in 1/16 step. Raises `StreamError` for wrong data.

        Args:
            sections: one with all groups, or one for each level, None where it is lost; the first one is there.
            levels: how many to decode, where they are there; the others are predicted.
            spent: (h, w) float64, to which the ideal code lengths by tables are added in bits, where they are wanted.
        """
        reader = self._reader(sections, levels)
        like = torch.empty(1, self.config.hyper_latents, -(-height // STRIDE), -(-width // STRIDE))
        index = self._hyper_index(like, position)
        symbols = reader.next(self.hyper_tables, index)
        if spent is not None:
            bits = self.hyper_tables.bits_each(symbols, index).reshape(*like.shape[2:], -1).sum(-1) / STRIDE**2
            spent += bits.repeat(STRIDE, 0).repeat(STRIDE, 1)[:height, :width]
        rounded = _filled(like, symbols, [like.shape[2:]]).clamp_(-HYPER_LIMIT, HYPER_LIMIT)
        passes = _Passes(self.config, self.networks, rounded, position, height, width)
        for number in range(LEVELS):
            mean, scale, extents = passes.predict(number)
            residual = torch.zeros_like(mean)
            if number < reader.levels:
                index = _flat(scale, extents, np.uint16)
                values = self.residuals.decode(reader.next, index)
                reader.end_level(number)
                residual = _filled(mean, values, extents)
                if spent is not None:
                    whole = np.rint(values / UNIT).astype(np.int32)
                    _add_by_place(spent, self.residuals.latent_tables.bits_each(whole, index), number, extents)
            passes.store(number, mean, residual)
        return passes.decoded()

    def encode(self, parts: list[list[Group]]) -> tuple[list[bytes], float]:
        """The sections of a tile, one for each part of its groups, and their ideal code length in bits. With a circuit,
        each tile is coded as it is shorter, by the circuit or by tables alone."""
        bits = sum(_bits_by_tables(parts))
        if self.prior is None:
            return _by_tables(parts), bits
        encoders = self._by_circuit(parts, self.prior)
        by_circuit = sum(encoder.bits for encoder in encoders)
        form, sections = ((BY_CIRCUIT, [encoder.finish() for encoder in encoders]) if by_circuit < bits
                          else (BY_TABLES, _by_tables(parts)))
        return [bytes([form]) + sections[0], *sections[1:]], min(bits, by_circuit) + 8

    def estimate_bits(self, parts: list[list[Group]]) -> list[float]:
        """Ideal code lengths of the sections of a tile, without coding it."""
        bits = _bits_by_tables(parts)
        if self.prior is None:
            return bits
        first, *others = min(bits, [encoder.bits for encoder in self._by_circuit(parts, self.prior)], key=sum)
        return [first + 8, *others]

    def _by_circuit(self, parts: list[list[Group]], prior: "CircuitPrior") -> list["CircuitEncoder"]:
        from fewbits.codecs.image.hyperprior.latent_circuit import CircuitEncoder, CircuitPasses

        passes = CircuitPasses(prior)
        encoders = [CircuitEncoder(prior, passes) for _ in parts]
        for encoder, groups in zip(encoders, parts, strict=True):
            for group in groups:
                encoder.add(group.symbols, group.tables, group.index)
        return encoders

    def _reader(self, sections: Sequence[bytes | None], levels: int) -> "_Reader":
        """By the form that the first section begins with, where there is a circuit."""
        if self.prior is None:
            return _Reader(Decoder, sections, levels)
        form, sections = sections[0][:1], [sections[0][1:], *sections[1:]]
        if form == bytes([BY_TABLES]):
            return _Reader(Decoder, sections, levels)
        if form != bytes([BY_CIRCUIT]):
            raise DamagedError("The section is damaged: it begins with no form that exists.")
        from fewbits.codecs.image.hyperprior.latent_circuit import CircuitDecoder, CircuitPasses

        return _Reader(partial(CircuitDecoder, self.prior, CircuitPasses(self.prior)), sections, levels)

    def _rounded(self, hyper_latents: Tensor, position: int) -> Tensor:
        """Hyper-latents as integers, kept within what their tables cover: pictures unlike photos can exceed it, and
        the escapes would cost more than a less apt prediction of the latents."""
        tables = self._level_tables(position)
        low, high = (torch.from_numpy(limit[tables].astype(np.float32))[:, None, None]
                     for limit in (self.hyper_tables.lows, self.hyper_tables.highs))
        rounded = torch.maximum(torch.minimum(torch.round(hyper_latents), high), low)
        return rounded.clamp(-HYPER_LIMIT, HYPER_LIMIT)

    def _level_tables(self, position: int) -> np.ndarray:
        """Tables of the hyper-latents' channels at the nearest level."""
        level = (position + 2 ** (LEVEL_FRACTION - 1)) >> LEVEL_FRACTION
        channels = self.config.hyper_latents
        return np.arange(level * channels, (level + 1) * channels, dtype=np.uint16)

    def _hyper_index(self, hyper_latents: Tensor, position: int) -> np.ndarray:
        """The table of each hyper-latent, in the order of `_flat`."""
        return np.tile(self._level_tables(position), hyper_latents.shape[2] * hyper_latents.shape[3])


class _Reader:
    """The groups of a tile, one after another, from its sections.

    Attributes:
        levels: how many there are to decode.
    """

    def __init__(self, decoder_of: "Callable[[bytes], Decoder | CircuitDecoder]", sections: Sequence[bytes | None],
                 levels: int) -> None:
        there = list(takewhile(lambda section: section is not None, sections))
        self._progressive = len(sections) > 1
        self.levels = min(levels, len(there)) if self._progressive else levels
        self._decoders = map(decoder_of, there)
        self._decoder = next(self._decoders)

    def next(self, tables: SymbolTables, index: np.ndarray) -> np.ndarray:
        """Symbols (n,) int32 of the next group, from their tables (n,) uint16."""
        return self._decoder.decode(tables, index)

    def end_level(self, number: int) -> None:
        """To be called after a level's groups. Raises `StreamError` if a section goes on after its last one."""
        if self._progressive or number == LEVELS - 1:
            self._decoder.finish()
        if self._progressive and number + 1 < self.levels:
            self._decoder = next(self._decoders)


def _by_tables(parts: list[list[Group]]) -> list[bytes]:
    """The parts of a tile, coded by their tables alone."""
    sections = []
    for groups in parts:
        encoder = Encoder()
        for group in groups:
            encoder.add(group.symbols, group.tables, group.index)
        sections.append(encoder.finish())
    return sections


def _bits_by_tables(parts: list[list[Group]]) -> list[float]:
    return [sum(float(group.tables.bits(group.symbols, group.index)) for group in groups) for groups in parts]


class _Passes:
    """What is known of a tile while its passes go on. Integers in float32; latents in 1/16 step."""

    def __init__(self, config: HyperpriorConfig, networks: ExactNetworks, hyper_latents: Tensor, position: int,
                 height: int, width: int) -> None:
        self.low_channels, self.networks = config.low_channels, networks
        self.height, self.width = height, width
        self.levels = level_integers(position, config.levels)
        self.features = networks.features(hyper_latents.contiguous(memory_format=torch.channels_last), self.levels)
        self.latents = torch.zeros(1, config.LATENTS, *self.features.shape[2:])

    def channels(self, number: int) -> slice:
        """Which channels a pass codes."""
        return slice(0, self.low_channels) if PASSES[number].low else slice(self.low_channels, None)

    def predict(self, number: int) -> tuple[Tensor, Tensor, list[tuple[int, int]]]:
        """Means (1/16 step) and scale indices of a pass, and how far the picture reaches into each phase."""
        step = PASSES[number]
        known = self.latents[:, : self.low_channels] if step.low else self.latents
        mean, scale = self.networks.passes[number](as_context(known, CONTEXT_LIMIT), self.features, self.levels,
                                                   step.phases)
        extents = [(-(-(self.height - i) // 2), -(-(self.width - j) // 2)) for i, j in step.phases]
        return mean, scale, extents

    def store(self, number: int, mean: Tensor, residual: Tensor) -> None:
        """Enters the decoded latents of a pass, from means and residuals in 1/16 step."""
        decoded = (mean + residual).clamp_(-LATENT_LIMIT, LATENT_LIMIT)
        for (i, j), phase in zip(PASSES[number].phases, decoded, strict=True):
            self.latents[0, self.channels(number), i::2, j::2] = phase

    def decoded(self) -> Tensor:
        return self.latents[0, :, : self.height, : self.width].to(torch.int16)


def _flat(x: Tensor, extents: list[tuple[int, int]], dtype: type) -> np.ndarray:
    """(phases, C, H, W) to one row: phase by phase, row by row, all channels of a position together."""
    parts = [phase.permute(1, 2, 0)[:h, :w].reshape(-1) for phase, (h, w) in zip(x, extents, strict=True)]
    return torch.cat(parts).numpy().astype(dtype, copy=False)


def _filled(like: Tensor, values: np.ndarray, extents: list[tuple[int, int]]) -> Tensor:
    """Inverse of `_flat`: (phases, C, H, W) float32 of the shape of `like`, 0 beyond the picture."""
    result, channels, begin = torch.zeros_like(like), like.shape[1], 0
    floats = torch.from_numpy(values).float()
    for phase, (h, w) in zip(result, extents, strict=True):
        count = channels * h * w
        phase[:, :h, :w] = floats[begin : begin + count].view(h, w, channels).permute(2, 0, 1)
        begin += count
    return result


def _add_by_place(spent: np.ndarray, bits: np.ndarray, number: int, extents: list[tuple[int, int]]) -> None:
    """Adds the bits of a pass, in the order of `_flat`, summed over channels, to the places (h, w) of its phases."""
    channels, begin = bits.size // sum(h * w for h, w in extents), 0
    for (i, j), (h, w) in zip(PASSES[number].phases, extents, strict=True):
        spent[i::2, j::2] += bits[begin : begin + channels * h * w].reshape(h, w, channels).sum(-1)
        begin += channels * h * w
