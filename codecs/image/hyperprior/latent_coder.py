"""Latents of one tile to bytes and back: the five passes, driven by the integer networks."""

from dataclasses import dataclass
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
from fewbits.codecs.latents import LATENT_LIMIT, SYMBOL_LIMIT, UNIT, as_context
from fewbits.codecs.levels import LEVEL_FRACTION, level_integers
from fewbits.entropy.coder import Decoder, Encoder
from fewbits.entropy.tables import SymbolTables
from fewbits.errors import DamagedError

if TYPE_CHECKING:  # brings numba, which a program that decodes without a circuit does without
    from fewbits.codecs.image.hyperprior.latent_circuit import CircuitDecoder, CircuitEncoder, CircuitPrior

STRIDE = HyperpriorConfig.HYPER_STRIDE
BY_TABLES, BY_CIRCUIT = 0, 1  # forms of a section, its first byte where there is a circuit


@dataclass(frozen=True)
class Group:
    """Symbols that are coded together, each with the index of its table."""

    symbols: np.ndarray  # (n,) int32
    index: np.ndarray  # (n,) uint16
    tables: SymbolTables


class LatentCoder:
    """Codes latents at a given quality. Everything that reaches the entropy coder is an integer.

    Args:
        networks: the integer networks.
        latent_tables: one table per scale.
        hyper_tables: one table per level and hyper-latent channel, level by level.
        prior: a circuit over the latents' symbols; None to code them by their tables alone.
    """

    def __init__(self, config: HyperpriorConfig, networks: ExactNetworks, latent_tables: SymbolTables,
                 hyper_tables: SymbolTables, prior: "CircuitPrior | None" = None) -> None:
        self.config, self.networks = config, networks
        self.latent_tables, self.hyper_tables, self.prior = latent_tables, hyper_tables, prior

    def quantise(self, latents: Tensor, hyper_latents: Tensor, position: int) -> tuple[list[Group], Tensor]:
        """Symbols for a tile's latents, and the latents as they will be decoded.

        Args:
            latents: (192, h, w) float32, counted in steps.
            hyper_latents: (64, ceil(h / 4), ceil(w / 4)) float32, not rounded yet.
            position: 64 times the level.

        Returns:
            Groups in decoding order, and decoded latents (192, h, w) int16 in 1/16 step.
        """
        height, width = latents.shape[1:]
        rounded = self._rounded(hyper_latents, position)[None]
        groups = [Group(_flat(rounded, [rounded.shape[2:]], np.int32), self._hyper_index(rounded, position),
                        self.hyper_tables)]
        target = F.pad(latents[None], (0, -width % STRIDE, 0, -height % STRIDE))
        passes = _Passes(self.config, self.networks, rounded, position, height, width)
        for number, step in enumerate(PASSES):
            mean, scale, extents = passes.predict(number)
            wanted = take_phases(target[:, passes.channels(number)], step.phases)
            residual = torch.round(wanted - mean / UNIT).clamp_(-SYMBOL_LIMIT, SYMBOL_LIMIT)
            for phase, (h, w) in zip(residual, extents, strict=True):  # nothing is sent beyond the picture
                phase[:, h:] = 0
                phase[:, :, w:] = 0
            groups.append(Group(_flat(residual, extents, np.int32), _flat(scale, extents, np.uint16),
                                self.latent_tables))
            passes.store(number, mean, residual)
        return groups, passes.decoded()

    def decode(self, data: bytes, height: int, width: int, position: int, spent: np.ndarray | None = None) -> Tensor:
        """Bytes of a tile to latents (192, h, w) int16 in 1/16 step. Raises `StreamError` for wrong data.

        Args:
            spent: (h, w) float64, to which the ideal code lengths by tables are added in bits, where they are wanted.
        """
        decoder = self._decoder(data)
        rounded = torch.empty(1, self.config.hyper_latents, -(-height // STRIDE), -(-width // STRIDE))
        index = self._hyper_index(rounded, position)
        symbols = decoder.decode(self.hyper_tables, index)
        if spent is not None:
            bits = self.hyper_tables.bits_each(symbols, index).reshape(*rounded.shape[2:], -1).sum(-1) / STRIDE**2
            spent += bits.repeat(STRIDE, 0).repeat(STRIDE, 1)[:height, :width]
        _fill(rounded, symbols, [rounded.shape[2:]])
        rounded.clamp_(-HYPER_LIMIT, HYPER_LIMIT)
        passes = _Passes(self.config, self.networks, rounded, position, height, width)
        for number in range(len(PASSES)):
            mean, scale, extents = passes.predict(number)
            index = _flat(scale, extents, np.uint16)
            symbols = decoder.decode(self.latent_tables, index)
            if spent is not None:
                _add_by_place(spent, self.latent_tables.bits_each(symbols, index), PASSES[number].phases, extents)
            residual = torch.zeros_like(mean)
            _fill(residual, symbols, extents)
            passes.store(number, mean, residual)
        decoder.finish()
        return passes.decoded()

    def encode(self, groups: list[Group]) -> tuple[bytes, float]:
        """The section of a tile, and its ideal code length in bits. With a circuit, each tile is coded as it is
        shorter, by the circuit or by tables alone."""
        bits = _bits_by_tables(groups)
        if self.prior is None:
            return _by_tables(groups), bits
        encoder = self._by_circuit(groups, self.prior)
        if encoder.bits < bits:
            return bytes([BY_CIRCUIT]) + encoder.finish(), encoder.bits + 8
        return bytes([BY_TABLES]) + _by_tables(groups), bits + 8

    def estimate_bits(self, groups: list[Group]) -> float:
        """Ideal code length of the groups of a tile, without coding them."""
        bits = _bits_by_tables(groups)
        return bits if self.prior is None else min(bits, self._by_circuit(groups, self.prior).bits) + 8

    def _by_circuit(self, groups: list[Group], prior: "CircuitPrior") -> "CircuitEncoder":
        from fewbits.codecs.image.hyperprior.latent_circuit import CircuitEncoder

        encoder = CircuitEncoder(prior)
        for group in groups:
            encoder.add(group.symbols, group.tables, group.index)
        return encoder

    def _decoder(self, section: bytes) -> "Decoder | CircuitDecoder":
        """For a section, by the form that it begins with where there is a circuit."""
        if self.prior is None:
            return Decoder(section)
        if section[:1] == bytes([BY_TABLES]):
            return Decoder(section[1:])
        if section[:1] != bytes([BY_CIRCUIT]):
            raise DamagedError("The section is damaged: it begins with no form that exists.")
        from fewbits.codecs.image.hyperprior.latent_circuit import CircuitDecoder

        return CircuitDecoder(self.prior, section[1:])

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


def _by_tables(groups: list[Group]) -> bytes:
    """The groups of a tile, coded by their tables alone."""
    encoder = Encoder()
    for group in groups:
        encoder.add(group.symbols, group.tables, group.index)
    return encoder.finish()


def _bits_by_tables(groups: list[Group]) -> float:
    return sum(float(group.tables.bits(group.symbols, group.index)) for group in groups)


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
        """Enters the decoded latents of a pass."""
        decoded = (mean + UNIT * residual).clamp_(-LATENT_LIMIT, LATENT_LIMIT)
        for (i, j), phase in zip(PASSES[number].phases, decoded, strict=True):
            self.latents[0, self.channels(number), i::2, j::2] = phase

    def decoded(self) -> Tensor:
        return self.latents[0, :, : self.height, : self.width].to(torch.int16)


def _flat(x: Tensor, extents: list[tuple[int, int]], dtype: type) -> np.ndarray:
    """(phases, C, H, W) to one row of integers: phase by phase, row by row, all channels of a position together."""
    parts = [phase.permute(1, 2, 0)[:h, :w].reshape(-1) for phase, (h, w) in zip(x, extents, strict=True)]
    return torch.cat(parts).numpy().astype(dtype)


def _fill(x: Tensor, symbols: np.ndarray, extents: list[tuple[int, int]]) -> None:
    """Inverse of `_flat`, into x (phases, C, H, W)."""
    channels, begin = x.shape[1], 0
    values = torch.from_numpy(symbols).to(x.dtype)
    for phase, (h, w) in zip(x, extents, strict=True):
        count = channels * h * w
        phase[:, :h, :w] = values[begin : begin + count].view(h, w, channels).permute(2, 0, 1)
        begin += count


def _add_by_place(spent: np.ndarray, bits: np.ndarray, phases: tuple[tuple[int, int], ...],
                  extents: list[tuple[int, int]]) -> None:
    """Adds bits in the order of `_flat`, summed over channels, to the places (h, w) of their phases."""
    channels, begin = bits.size // sum(h * w for h, w in extents), 0
    for (i, j), (h, w) in zip(phases, extents, strict=True):
        spent[i::2, j::2] += bits[begin : begin + channels * h * w].reshape(h, w, channels).sum(-1)
        begin += channels * h * w
