"""Latents of a block of frames to bytes and back: the passes, driven by the integer networks."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fewbits.codecs.audio.config import AudioConfig
from fewbits.codecs.audio.entropy_model import CONTEXT_LIMIT, PASSES, Pass, level_rows, neighbours
from fewbits.codecs.audio.exact_networks import ExactNetworks
from fewbits.codecs.latents import LATENT_LIMIT, SYMBOL_LIMIT, UNIT, as_context
from fewbits.codecs.levels import level_integers
from fewbits.entropy.coder import Decoder, Encoder
from fewbits.entropy.tables import SymbolTables

Symbols = Callable[[Pass, slice, Tensor, np.ndarray], np.ndarray]
"""From a pass, the latents that are coded, their means in 1/16 step (coded, frames) and their tables (coded * frames,)
to symbols (coded * frames,): the encoder chooses them, the decoder reads them."""


@dataclass(frozen=True)
class Group:
    """Symbols that are coded together, each with the index of its table."""

    symbols: np.ndarray  # (n,) int32
    index: np.ndarray  # (n,) uint16


class BlockCoder:
    """Codes latents at a given level. Everything that reaches the entropy coder is an integer.

    Args:
        networks: the integer networks.
        tables: one table per scale.
    """

    def __init__(self, config: AudioConfig, networks: ExactNetworks, tables: SymbolTables) -> None:
        self.config, self.networks, self.tables = config, networks, tables

    def quantise(self, latents: Tensor, position: int) -> tuple[list[Group], Tensor]:
        """Symbols for the latents of a block, and the latents as they will be decoded.

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

    def decode(self, decoder: Decoder, frames: int, position: int) -> Tensor:
        """The latents of a block, (K, frames) int16 in 1/16 step. Raises `StreamError` for wrong data."""
        return self._passes(frames, position, lambda step, channels, mean, index: decoder.decode(self.tables, index))

    def add(self, groups: list[Group], encoder: Encoder) -> None:
        """Hands the groups of a block to the entropy coder."""
        for group in groups:
            encoder.add(group.symbols, self.tables, group.index)

    def estimate_bits(self, groups: list[Group]) -> float:
        """Ideal code length of the groups of a block, without coding them."""
        return sum(float(self.tables.bits(group.symbols, group.index)) for group in groups)

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
