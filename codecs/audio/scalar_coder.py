"""Latents of a block of frames to bytes and back, each rounded: the passes, driven by the integer networks."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fewbits.codecs.audio.config import AudioConfig
from fewbits.codecs.audio.entropy_model import CONTEXT_LIMIT, PASSES, Pass, level_rows, neighbours
from fewbits.codecs.audio.exact_networks import ExactNetworks
from fewbits.codecs.latents import LATENT_LIMIT, SYMBOL_LIMIT, UNIT, as_context
from fewbits.codecs.levels import LEVEL_FRACTION, level_integers
from fewbits.entropy.coder import Decoder, Encoder
from fewbits.entropy.tables import SymbolTables

POSITION_OF_CODE = 2**LEVEL_FRACTION // 16

Symbols = Callable[[Pass, slice, Tensor, np.ndarray], np.ndarray]
"""From a pass, the latents that are coded, their means in 1/16 step (coded, frames) and their tables (coded * frames,)
to symbols (coded * frames,): the encoder chooses them, the decoder reads them."""


@dataclass(frozen=True)
class Group:
    """Symbols that are coded together, each with the index of its table."""

    symbols: np.ndarray  # (n,) int32
    index: np.ndarray  # (n,) uint16


class ScalarCoder:
    """Codes latents one by one, see `BlockCoder`. Everything that reaches the entropy coder is an integer.

    Args:
        networks: the integer networks.
        tables: one table per scale.
    """

    def __init__(self, config: AudioConfig, networks: ExactNetworks, tables: SymbolTables) -> None:
        self.config, self.networks, self.tables = config, networks, tables
        self.rows, self.qualities = config.latents, 16 * (config.levels - 1)  # a code counts 1/16 level

    def level_weights(self, code: int) -> Tensor:
        """See `BlockCoder`."""
        return level_integers(POSITION_OF_CODE * code, self.config.levels) / 2**LEVEL_FRACTION

    def encode(self, latents: Tensor, code: int) -> tuple[bytes, float]:
        """See `BlockCoder`: one channel after another."""
        encoder, bits = Encoder(), 0.0
        for channel in latents:
            for group in self.quantise(channel, POSITION_OF_CODE * code)[0]:
                encoder.add(group.symbols, self.tables, group.index)
                bits += float(self.tables.bits(group.symbols, group.index))
        return encoder.finish(), bits

    def decode(self, data: bytes, channels: int, frames: int, code: int) -> Tensor:
        """See `BlockCoder`: decoded latents in 1/16 step."""
        decoder = Decoder(data)
        latents = torch.stack([
            self._passes(frames, POSITION_OF_CODE * code,
                         lambda step, channels, mean, index: decoder.decode(self.tables, index))
            for _ in range(channels)])
        decoder.finish()
        return latents

    def dequantise(self, integers: Tensor) -> Tensor:
        """See `BlockCoder`."""
        return integers.float() / UNIT

    def quantise(self, latents: Tensor, position: int) -> tuple[list[Group], Tensor]:
        """Symbols for the latents of one channel, and the latents as they will be decoded.

        Args:
            latents: (K, T) float32, counted in steps.
            position: 64 times the level.

        Returns:
            Groups in decoding order, and decoded latents (K, T) int16 in 1/16 step.
        """
        groups = []

        def choose(step: Pass, channels: slice, mean: Tensor, index: np.ndarray) -> np.ndarray:
            residual = latents[channels, step.start :: step.step] - mean / UNIT
            rounded = torch.round(residual).clamp_(-SYMBOL_LIMIT, SYMBOL_LIMIT)
            groups.append(Group(rounded.reshape(-1).numpy().astype(np.int32), index))
            return groups[-1].symbols

        decoded = self._passes(latents.shape[1], position, choose)
        return groups, decoded

    def _passes(self, frames: int, position: int, symbols_of: Symbols) -> Tensor:
        """Goes through the passes of a block; decoded latents (K, frames) int16 in 1/16 step."""
        half = self.config.first_latents
        levels = level_integers(position, self.config.levels)
        latents = torch.zeros(1, self.config.latents, frames)
        for step, networks in zip(PASSES, self.networks.passes, strict=True):
            count = len(range(step.start, frames, step.step))
            if not count:
                continue
            inputs = level_rows(levels, count)
            if step.offsets:
                inputs = torch.cat([as_context(neighbours(latents, step), CONTEXT_LIMIT), inputs], 1)
            for network, channels in zip(networks, (slice(0, half), slice(half, None)), strict=True):
                mean, scale = (x[0, :, 0] for x in network(inputs))
                symbols = symbols_of(step, channels, mean, scale.reshape(-1).numpy().astype(np.uint16))
                residual = torch.from_numpy(symbols).view(mean.shape).float()
                decoded = (mean + UNIT * residual).clamp_(-LATENT_LIMIT, LATENT_LIMIT)
                latents[0, channels, step.start :: step.step] = decoded
                inputs = torch.cat([as_context(decoded, CONTEXT_LIMIT)[None, :, None], inputs], 1)
        return latents[0].to(torch.int16)
