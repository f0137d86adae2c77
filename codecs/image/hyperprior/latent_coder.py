"""Latents of one tile to bytes and back: the passes, driven by the integer networks.

Progressive files have them in levels, the first of them with the hyper-latents. Where a level is not there, its latents
are what the networks predict.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import chain, islice, takewhile
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from fewbits.codecs.image.hyperprior.config import HyperpriorConfig
from fewbits.codecs.image.hyperprior.exact_networks import ExactNetworks, ExactPass
from fewbits.codecs.image.hyperprior.passes import LEVELS, Pass, levels_of_passes
from fewbits.codecs.image.hyperprior.residuals import Group, Residuals, WholeSteps
from fewbits.codecs.latents import LATENT_LIMIT, UNIT, as_context
from fewbits.codecs.levels import level_integers
from fewbits.entropy.coder import Decoder, Encoder
from fewbits.entropy.tables import SymbolTables
from fewbits.errors import DamagedError

if TYPE_CHECKING:  # brings numba, which a program that decodes without a circuit does without
    from fewbits.codecs.image.hyperprior.latent_circuit import CircuitDecoder, CircuitEncoder, CircuitPrior

STRIDE, CELL = HyperpriorConfig.HYPER_STRIDE, HyperpriorConfig.CELL
BY_TABLES, BY_CIRCUIT = 0, 1  # forms of a tile, the first byte of its first section where there is a circuit


@dataclass(frozen=True)
class QuantisedTile:
    """A tile as symbols.

    Attributes:
        sections: the groups of each section, in decoding order.
        height, width: of the tile, in latents.
    """

    sections: list[list[Group]]
    height: int
    width: int

    def joined(self) -> "QuantisedTile":
        """The same in one section."""
        return QuantisedTile([list(chain.from_iterable(self.sections))], self.height, self.width)


class LatentCoder:
    """Codes latents at a given quality. Everything that reaches the entropy coder is an integer.

    Args:
        networks: the integer networks.
        residuals: codes what they leave of the latents.
        prior: a circuit over whole steps; None to code them by their tables alone.
    """

    def __init__(self, config: HyperpriorConfig, networks: ExactNetworks, residuals: Residuals,
                 prior: "CircuitPrior | None" = None) -> None:
        self.config, self.networks, self.residuals, self.prior = config, networks, residuals, prior
        self._levels = levels_of_passes(config)
        self.hyper_residuals = WholeSteps(residuals.latent_tables)

    def with_prior(self, prior: "CircuitPrior") -> "LatentCoder":
        """The same with a circuit."""
        return LatentCoder(self.config, self.networks, self.residuals, prior)

    def quantise(self, latents: Tensor, hyper_latents: Tensor, position: int) -> tuple[QuantisedTile, Tensor]:
        """Symbols for a tile's latents, and the latents as they will be decoded.

        Args:
            latents: (192, h, w) float32, counted in steps.
            hyper_latents: (64, 2 * ceil(h / 8), 2 * ceil(w / 8)) float32, not rounded yet.
            position: 64 times the level.

        Returns:
            The tile with a section for each level, and decoded latents (192, h, w) int16 in 1/16 step.
        """
        known = _Known(self.config, self.networks, position, *latents.shape[1:])
        target = F.pad(latents[None], (0, -latents.shape[2] % CELL, 0, -latents.shape[1] % CELL))
        hyper = [self._quantised(known, networks, hyper_latents[None], self.hyper_residuals)
                 for networks in self.networks.hyper_passes]
        groups = iter([self._quantised(known, networks, target, self.residuals) for networks in self.networks.passes])
        levels = [list(chain.from_iterable(islice(groups, len(steps)))) for steps in self._levels]
        levels[0][:0] = chain.from_iterable(hyper)
        return QuantisedTile(levels, *latents.shape[1:]), known.decoded()

    def _quantised(self, known: "_Known", networks: ExactPass, target: Tensor, residuals: Residuals) -> list[Group]:
        """Groups of one pass over `target` (1, C, H, W), in steps; enters what is decoded."""
        prediction, step = known.predict(networks), networks.step
        wanted = step.take(target[:, step.channels]) - prediction.mean / UNIT
        values, groups = residuals.quantise(prediction.flat(wanted, np.float32), prediction.scales)
        known.store(prediction, values)
        return groups

    def decode(self, sections: Sequence[bytes | None], height: int, width: int, position: int,
               levels: int = LEVELS, spent: np.ndarray | None = None) -> Tensor:
        """Bytes of a tile to latents (192, h, w) int16 in 1/16 step. Raises `StreamError` for wrong data.

        Args:
            sections: one with all groups, or one for each level, None where it is lost; the first one is there.
            levels: how many to decode, where they are there; the others are predicted.
            spent: (h, w) float64, to which the ideal code lengths by tables are added in bits, where they are wanted.
        """
        reader = self._reader(sections, levels, height, width)
        known = _Known(self.config, self.networks, position, height, width)

        def decode(networks: ExactPass, residuals: Residuals) -> None:
            prediction = known.predict(networks)
            values = residuals.decode(reader.next, prediction.scales)
            known.store(prediction, values)
            if spent is not None:
                bits = residuals.latent_tables.bits_each(np.rint(values / UNIT).astype(np.int32), prediction.scales)
                prediction.add_by_place(spent, bits)

        for networks in self.networks.hyper_passes:
            decode(networks, self.hyper_residuals)
        passes = iter(self.networks.passes)
        for number, steps in enumerate(self._levels):
            for networks in islice(passes, len(steps)):
                if number < reader.levels:
                    decode(networks, self.residuals)
                else:
                    known.store(known.predict(networks), None)
            if number < reader.levels:
                reader.end_level(number)
        return known.decoded()

    def encode(self, tile: QuantisedTile) -> tuple[list[bytes], float]:
        """The sections of a tile and their ideal code length in bits. With a circuit, each tile is coded as it is
        shorter, by the circuit or by tables alone."""
        bits = sum(_bits_by_tables(tile))
        if self.prior is None:
            return _by_tables(tile), bits
        encoders = self._by_circuit(tile, self.prior)
        by_circuit = sum(encoder.bits for encoder in encoders)
        form, sections = ((BY_CIRCUIT, [encoder.finish() for encoder in encoders]) if by_circuit < bits
                          else (BY_TABLES, _by_tables(tile)))
        return [bytes([form]) + sections[0], *sections[1:]], min(bits, by_circuit) + 8

    def estimate_bits(self, tile: QuantisedTile) -> list[float]:
        """Ideal code lengths of the sections of a tile, without coding it."""
        bits = _bits_by_tables(tile)
        if self.prior is None:
            return bits
        first, *others = min(bits, [encoder.bits for encoder in self._by_circuit(tile, self.prior)], key=sum)
        return [first + 8, *others]

    def _by_circuit(self, tile: QuantisedTile, prior: "CircuitPrior") -> list["CircuitEncoder"]:
        from fewbits.codecs.image.hyperprior.latent_circuit import CircuitEncoder, CircuitPasses

        passes = CircuitPasses(prior, tile.height, tile.width)
        encoders = [CircuitEncoder(prior, passes) for _ in tile.sections]
        for encoder, groups in zip(encoders, tile.sections, strict=True):
            for group in groups:
                encoder.add(group.symbols, group.tables, group.index)
        return encoders

    def _reader(self, sections: Sequence[bytes | None], levels: int, height: int, width: int) -> "_Reader":
        """By the form that the first section begins with, where there is a circuit."""
        if self.prior is None:
            return _Reader(Decoder, sections, levels)
        form, sections = sections[0][:1], [sections[0][1:], *sections[1:]]
        if form == bytes([BY_TABLES]):
            return _Reader(Decoder, sections, levels)
        if form != bytes([BY_CIRCUIT]):
            raise DamagedError("The section is damaged: it begins with no form that exists.")
        from fewbits.codecs.image.hyperprior.latent_circuit import CircuitDecoder, CircuitPasses

        return _Reader(partial(CircuitDecoder, self.prior, CircuitPasses(self.prior, height, width)), sections, levels)


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


def _by_tables(tile: QuantisedTile) -> list[bytes]:
    """The sections of a tile, coded by their tables alone."""
    sections = []
    for groups in tile.sections:
        encoder = Encoder()
        for group in groups:
            encoder.add(group.symbols, group.tables, group.index)
        sections.append(encoder.finish())
    return sections


def _bits_by_tables(tile: QuantisedTile) -> list[float]:
    return [sum(float(group.tables.bits(group.symbols, group.index)) for group in groups) for groups in tile.sections]


@dataclass(frozen=True)
class _Prediction:
    """What the networks of a pass say of it. Integers in float32, means in 1/16 step.

    Attributes:
        mean, scale: (phases, C, h, w).
        extents: how many rows and columns of each phase lie in the picture.
    """

    step: Pass
    mean: Tensor
    scale: Tensor
    extents: list[tuple[int, int]]

    @cached_property
    def scales(self) -> np.ndarray:
        """Indices of scales (n,) uint16, in the order of `flat`."""
        return self.flat(self.scale, np.uint16)

    def flat(self, x: Tensor, dtype: type) -> np.ndarray:
        """(phases, C, h, w) to one row: phase by phase, row by row, all channels of a position together."""
        parts = [phase.permute(1, 2, 0)[:h, :w].reshape(-1) for phase, (h, w) in zip(x, self.extents, strict=True)]
        return torch.cat(parts).numpy().astype(dtype, copy=False)

    def filled(self, values: np.ndarray) -> Tensor:
        """Inverse of `flat`: (phases, C, h, w) float32, 0 beyond the picture."""
        result, channels, begin = torch.zeros_like(self.mean), self.mean.shape[1], 0
        floats = torch.from_numpy(values).float()
        for phase, (h, w) in zip(result, self.extents, strict=True):
            count = channels * h * w
            phase[:, :h, :w] = floats[begin : begin + count].view(h, w, channels).permute(2, 0, 1)
            begin += count
        return result

    def add_by_place(self, spent: np.ndarray, bits: np.ndarray) -> None:
        """Adds bits, in the order of `flat`, summed over channels, to the places (h, w) of latents that they are of."""
        side = STRIDE if self.step.hyper else 1
        own = np.zeros((-(-spent.shape[0] // side), -(-spent.shape[1] // side)))
        begin, channels = 0, self.mean.shape[1]
        for place, (h, w) in zip(self.step.places(), self.extents, strict=True):
            own[place] = bits[begin : begin + channels * h * w].reshape(h, w, channels).sum(-1)
            begin += channels * h * w
        spent += own.repeat(side, 0).repeat(side, 1)[: spent.shape[0], : spent.shape[1]] / side**2


class _Known:
    """What is known of a tile while its passes go on. Integers in float32; latents in 1/16 step, and latents and
    hyper-latents as the networks see them."""

    def __init__(self, config: HyperpriorConfig, networks: ExactNetworks, position: int, height: int,
                 width: int) -> None:
        self._networks, self._size = networks, (height, width)
        self._levels = level_integers(position, config.levels)
        rows, columns = -(-height // CELL), -(-width // CELL)
        self._hyper_seen = _zeros(config.hyper_latents, 2 * rows, 2 * columns)
        self._latents, self._seen = (_zeros(config.LATENTS, CELL * rows, CELL * columns) for _ in range(2))

    @cached_property
    def _features(self) -> Tensor:
        """Of the hyper-latents, which are all known when the first pass over latents begins."""
        return self._networks.features(self._hyper_seen, self._levels)

    def predict(self, networks: ExactPass) -> _Prediction:
        """What the networks of a pass make of all that is known."""
        step = networks.step
        known = (self._hyper_seen if step.hyper else self._seen)[:, : step.known]
        mean, scale = networks(known, None if step.hyper else self._features, self._levels)
        height, width = (-(-side // STRIDE) if step.hyper else side for side in self._size)
        return _Prediction(step, mean, scale, step.extents(height, width))

    def store(self, prediction: _Prediction, residuals: np.ndarray | None) -> None:
        """Enters what a pass decodes, from its residuals in 1/16 step; None: the means alone."""
        decoded = prediction.mean if residuals is None else prediction.mean + prediction.filled(residuals)
        decoded, step = decoded.clamp(-LATENT_LIMIT, LATENT_LIMIT), prediction.step
        step.put(self._hyper_seen if step.hyper else self._seen, as_context(decoded, step.known_limit))
        if not step.hyper:
            step.put(self._latents, decoded)

    def decoded(self) -> Tensor:
        return self._latents[0, :, : self._size[0], : self._size[1]].to(torch.int16)


def _zeros(channels: int, height: int, width: int) -> Tensor:
    """(1, C, H, W), a position's channels side by side, as the networks want them."""
    return torch.zeros(1, height, width, channels).permute(0, 3, 1, 2)
