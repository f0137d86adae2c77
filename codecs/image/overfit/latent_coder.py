"""Latents of a picture to sections and back: a section for each tile of 1024 pixels, all its grids in it."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from fewbits.codecs.codec import Progress, no_progress
from fewbits.codecs.image.overfit.architecture import (
    CONTEXT_NETWORKS,
    GRIDS,
    NEIGHBOURS,
    DecoderSize,
    context_network,
    grid_shape,
)
from fewbits.codecs.image.overfit.networks import Networks
from fewbits.codecs.image.tiles import tiles
from fewbits.codecs.spans import Span
from fewbits.entropy.tables import SymbolTables
from fewbits.entropy.words import join, split
from fewbits.kernels import rans
from fewbits.kernels.context import (
    LATENT_LIMIT,
    ContextNetwork,
    ContextTables,
    GridDecoder,
    no_plane,
    padded_plane,
    predict,
)
from fewbits.kernels.rans import RansTables

TILE = 1024  # pixels; a multiple of 64, so that the grids of a tile begin together

Latents = list[np.ndarray | None]
"""Integers of grids 0 to 6, in whole pictures or tiles; None for a grid 0 that is not there."""


@dataclass(frozen=True)
class Symbols:
    """A tile's symbols in the order of the file, and the table of each: (n,) int32 and uint16."""

    symbols: np.ndarray
    index: np.ndarray


class LatentCoder:
    """Codes the latents of pictures with the networks of one decoder.

    Args:
        tables: those of the context networks.
    """

    def __init__(self, size: DecoderSize, networks: Networks, tables: SymbolTables) -> None:
        self._tables = tables
        self._coder_tables = _coder_tables(tables)
        self._neighbours = np.array(NEIGHBOURS[: size.neighbours], np.int64)
        self._networks = [ContextNetwork.from_parameters(networks, f"context.{i}.") for i in range(CONTEXT_NETWORKS)]

    def symbols(self, latents: Latents, height: int, width: int) -> Iterator[Symbols]:
        """Symbols of every tile of a picture of `height` by `width` pixels. Latents out of range are clipped."""
        for rows, columns in tiles(height, width, TILE, 0):
            cut = [None if grid is None else grid[_part(rows, k), _part(columns, k)].clip(-LATENT_LIMIT, LATENT_LIMIT)
                   for k, grid in enumerate(latents)]
            yield self._tile_symbols(cut)

    def _tile_symbols(self, latents: Sequence[np.ndarray | None]) -> Symbols:
        parts: list[tuple[np.ndarray, np.ndarray]] = []
        coarse = None
        for k in reversed(range(GRIDS)):
            grid = latents[k]
            if grid is None:
                continue
            above = no_plane(*grid.shape) if coarse is None else coarse
            parts.append(predict(grid, above, self._neighbours, self._networks[context_network(k)]))
            coarse = padded_plane(grid)
        return Symbols(*map(np.concatenate, zip(*parts, strict=True)))

    def estimate_bits(self, tile: Symbols) -> float:
        """Ideal code length of a tile."""
        return self._tables.bits(tile.symbols, tile.index)

    def encode(self, tile: Symbols) -> bytes:
        """The section of a tile: length of the escapes, escapes, words of the coder."""
        entries, escapes = self._tables.entries(tile.symbols, tile.index)
        return join(escapes, rans.encode(entries, tile.index, self._coder_tables.rans))

    def decode(self, sections: Sequence[bytes | None], height: int, width: int, finest: int,
               progress: Progress = no_progress, threads: int | None = None) -> Latents:
        """Latents of a picture, int16. Tiles without a section are 0.

        Raises:
            StreamError: if a section is wrong.
        """
        latents: Latents = [None if k < finest else np.zeros(grid_shape(k, height, width), np.int16)
                            for k in range(GRIDS)]
        cut = list(tiles(height, width, TILE, 0))

        def decode_tile(number: int) -> None:
            section, (rows, columns) = sections[number], cut[number]
            if section is not None:
                tile = self.decode_tile(section, rows.stop - rows.start, columns.stop - columns.start, finest)
                for k, (whole, part) in enumerate(zip(latents, tile, strict=True)):
                    if whole is not None:
                        whole[_part(rows, k), _part(columns, k)] = part

        with ThreadPoolExecutor(threads or os.cpu_count() or 1) as pool:
            for number, _ in enumerate(pool.map(decode_tile, range(len(cut)))):
                progress((number + 1) / len(cut), "decoding")
        return latents

    def decode_tile(self, section: bytes, height: int, width: int, finest: int) -> Latents:
        """Latents of a tile of `height` by `width` pixels. Raises `StreamError` for a wrong section."""
        escapes, words = split(section)
        decoder = GridDecoder(words, escapes, self._coder_tables)
        latents: Latents = [None] * GRIDS
        coarse = None
        for k in reversed(range(finest, GRIDS)):
            shape = grid_shape(k, height, width)
            above = no_plane(*shape) if coarse is None else coarse
            latents[k], coarse = decoder.decode(*shape, above, self._neighbours, self._networks[context_network(k)])
        decoder.finish()
        return latents


@lru_cache(maxsize=1)
def _coder_tables(tables: SymbolTables) -> ContextTables:
    """Tables in the form of the coder; kept, for encoders try many networks."""
    return ContextTables(RansTables.from_frequencies(tables.frequencies, tables.offsets), tables.lows, tables.sizes)


def _part(span: Span, grid: int) -> slice:
    """Where the latents of a tile lie on an axis of a grid."""
    return slice(span.start >> grid, -(-span.stop >> grid))
