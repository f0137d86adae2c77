"""Latents of one tile to bytes and back. Everything that reaches the entropy coder is an integer."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fewbits.codecs.image.compressai.config import CompressaiConfig
from fewbits.codecs.image.compressai.hyper_decoder import UNIT, ExactHyperDecoder
from fewbits.entropy.coder import Decoder, Encoder
from fewbits.entropy.tables import SymbolTables

SYMBOL_LIMIT = 2**15


@dataclass(frozen=True, eq=False)
class FactorisedLatents:
    """Coder of latents whose channels have one table each.

    Attributes:
        tables: one for each channel, of whole steps from its median.
        medians: (M,) float32.
    """

    tables: SymbolTables
    medians: Tensor

    def encode(self, latents: Tensor) -> tuple[bytes, float]:
        """The section of a tile's latents (M, h, w) float32, and its ideal code length in bits."""
        symbols = _rounded(latents - self.medians[:, None, None])
        return _coded([(_flat(symbols), self.tables, _channels(symbols))])

    def decode(self, section: bytes, height: int, width: int) -> Tensor:
        """A section to latents (M, h, w) float32, the same on every machine. Raises `StreamError` for wrong data."""
        decoder = Decoder(section)
        symbols = torch.empty(len(self.tables), height, width)
        _fill(symbols, decoder.decode(self.tables, _channels(symbols)))
        decoder.finish()
        return symbols + self.medians[:, None, None]


@dataclass(frozen=True, eq=False)
class HyperpriorLatents:
    """Coder of latents with tables that hyper-latents choose, and around means that these give, where there are any.

    Attributes:
        hyper_tables: one for each channel of the hyper-latents, of whole steps from its median.
        hyper_medians: (N',) int64, in 1/4096.
        hyper_decoder: from hyper-latents to scales and means.
        scale_tables: zero-mean Gaussians by rising scale.
        thresholds: (scales - 1,) int64, rising, in 1/4096: scales above so many of them have the table of this number.
    """

    config: CompressaiConfig
    hyper_tables: SymbolTables
    hyper_medians: Tensor
    hyper_decoder: ExactHyperDecoder
    scale_tables: SymbolTables
    thresholds: Tensor

    def encode(self, latents: Tensor, hyper_latents: Tensor) -> tuple[bytes, float]:
        """The section of a tile, and its ideal code length in bits.

        Args:
            latents: (M, h, w) float32.
            hyper_latents: (N', ceil(h / 4), ceil(w / 4)) float32, not rounded yet.
        """
        hyper_symbols = self._covered(torch.round(hyper_latents - self.hyper_medians[:, None, None] / UNIT))
        index, means = self._predicted(hyper_symbols, latents.shape[1], latents.shape[2])
        symbols = _rounded(latents - means)
        return _coded([(_flat(hyper_symbols), self.hyper_tables, _channels(hyper_symbols)),
                       (_flat(symbols), self.scale_tables, index)])

    def decode(self, section: bytes, height: int, width: int) -> Tensor:
        """A section to latents (M, h, w) float32, the same on every machine. Raises `StreamError` for wrong data."""
        decoder = Decoder(section)
        stride = self.config.HYPER_STRIDE
        hyper_symbols = torch.empty(len(self.hyper_tables), -(-height // stride), -(-width // stride))
        _fill(hyper_symbols, decoder.decode(self.hyper_tables, _channels(hyper_symbols)))
        index, means = self._predicted(self._covered(hyper_symbols), height, width)
        symbols = torch.empty(self.config.latents, height, width)
        _fill(symbols, decoder.decode(self.scale_tables, index))
        decoder.finish()
        return (symbols + means).float()

    def _covered(self, hyper_symbols: Tensor) -> Tensor:
        """Brought to what the tables cover without escapes: the range for which the hyper-decoder is exact."""
        low, high = (torch.from_numpy(limit.astype(np.float32))[:, None, None]
                     for limit in (self.hyper_tables.lows, self.hyper_tables.highs))
        return torch.maximum(torch.minimum(hyper_symbols, high), low)

    def _predicted(self, hyper_symbols: Tensor, height: int, width: int) -> tuple[np.ndarray, Tensor]:
        """The table of each latent, in the order of `_flat`, and the means (M, h, w) float64, or the one mean 0."""
        predicted = self.hyper_decoder((hyper_symbols.double() * UNIT + self.hyper_medians[:, None, None])[None])
        scales, means = predicted[0, : self.config.latents, :height, :width], predicted.new_zeros(())
        if self.config.has_means:
            means = predicted[0, self.config.latents :, :height, :width]
        index = torch.searchsorted(self.thresholds, scales.long().contiguous())
        return _flat(index).astype(np.uint16), means / UNIT


def _coded(groups: list[tuple[np.ndarray, SymbolTables, np.ndarray]]) -> tuple[bytes, float]:
    encoder = Encoder()
    for symbols, tables, index in groups:
        encoder.add(symbols, tables, index)
    return encoder.finish(), sum(float(tables.bits(symbols, index)) for symbols, tables, index in groups)


def _rounded(x: Tensor) -> Tensor:
    return torch.round(x).clamp_(-SYMBOL_LIMIT, SYMBOL_LIMIT)


def _channels(x: Tensor) -> np.ndarray:
    """The channel of each symbol, in the order of `_flat`."""
    return np.tile(np.arange(len(x), dtype=np.uint16), x.shape[1] * x.shape[2])


def _flat(x: Tensor) -> np.ndarray:
    """(C, h, w) to one row of integers: row by row, all channels of a position together."""
    return x.permute(1, 2, 0).reshape(-1).numpy().astype(np.int32)


def _fill(x: Tensor, symbols: np.ndarray) -> None:
    """Inverse of `_flat`, into x (C, h, w)."""
    channels, height, width = x.shape
    x[:] = torch.from_numpy(symbols).view(height, width, channels).permute(2, 0, 1)
