"""A picture while it is encoded, and the float transforms at one quality."""

import math
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from fewbits.codecs.image.hyperprior.config import HyperpriorConfig
from fewbits.codecs.image.hyperprior.latent_coder import QuantisedTile
from fewbits.codecs.image.hyperprior.transforms import OVERLAP, Sides
from fewbits.codecs.image.hyperprior.weights import Weights
from fewbits.codecs.image.tiles import tiles
from fewbits.codecs.latents import UNIT
from fewbits.codecs.levels import LEVEL_FRACTION, level_integers
from fewbits.codecs.media import Image
from fewbits.codecs.spans import Span
from fewbits.entropy.container import size_of_sections

BLOCK, CELL = HyperpriorConfig.BLOCK, HyperpriorConfig.CELL
TILE = 128  # latents on a side: 1024 pixels
HALO = 12  # latents around a tile, as far as six blocks of a synthesis reach
QUALITY_CODES = 224  # the header's quality, 0..224, counts 1/32 level


Search = Callable[[Tensor, Tensor, Sides, int], Tensor]
"""Gives better latents of a tile with its halo (1, 192, h, w), in steps, from the encoder's, the tile's pixels as of
`part_of_picture` (1, 3, H, W) in [0, 1], which of its sides are borders of the picture, and the header's quality."""


class Transform:
    """The float transforms at one quality."""

    def __init__(self, weights: Weights, device: str, code: int) -> None:
        self.model, self.device = weights.model, device
        self.levels = (level_integers(position_of(code), self.model.config.levels) / 2**LEVEL_FRACTION).to(device)
        self.step, self.step_back = self.model.quantiser.steps(self.levels)
        self.scale = self.model.quantiser.input_scale(self.step)
        self.scale_back = self.model.quantiser.input_scale(self.step_back)

    def latents(self, coefficients: Tensor) -> Tensor:
        """Latents of a tile with its halo, counted in steps, from its coefficients: (1, 192, h, w)."""
        return self.model.analysis(coefficients, self.step, self.scale, self.levels)

    def hyper_latents(self, latents: Tensor) -> Tensor:
        """Of latents (1, 192, h, w), not rounded: (1, 64, 2 * ceil(h / 8), 2 * ceil(w / 8))."""
        return self.model.entropy_model.hyper_latents(whole_cells(latents), self.scale, self.levels)

    def pixels(self, latents: Tensor, rows: Span, columns: Span) -> Tensor:
        """A tile's pixels (3, 8 h, 8 w) in about [0, 1], from decoded latents with their halo."""
        floats = (latents[None].to(self.device).float() / UNIT).contiguous(memory_format=torch.channels_last)
        image = self.model.synthesis(floats, self.step_back, self.scale_back, self.levels, sides_of(rows, columns))
        return core_of(image, rows, columns, BLOCK)


class Picture:
    """A picture being encoded, tile by tile, each in one part or in its levels."""

    def __init__(self, weights: Weights, device: str, image: Image, progressive: bool = False) -> None:
        self.weights, self.device, self.image, self.progressive = weights, device, image, progressive
        self.tiles = tiles_of(image.height, image.width)
        self.tile_count = len(self.tiles)
        self.rgb = image.rgb()

    def quantised(self, code: int, search: Search | None = None) -> Iterator[QuantisedTile]:
        """Every tile at a quality."""
        transform = Transform(self.weights, self.device, code)
        for rows, columns in self.tiles:
            tile = self._quantised(transform, rows, columns, code, search)[0]
            yield tile if self.progressive else tile.joined()

    def size(self, code: int, others: list[int]) -> float:
        """Bytes of all sections at a quality, within a few bytes; `others`: lengths of those that are not of tiles."""
        lengths = [bits / 8 + 8 for tile in self.quantised(code) for bits in self.weights.coder.estimate_bits(tile)]
        rounded = list(map(math.ceil, lengths))
        return sum(lengths) - sum(rounded) + size_of_sections(rounded + others)

    def mean_square_error(self, code: int) -> float:
        """Of the RGB samples after decoding, on the 0..255 scale."""
        transform = Transform(self.weights, self.device, code)
        latents = torch.zeros(HyperpriorConfig.LATENTS, self.tiles[-1][0].size, self.tiles[-1][1].size,
                              dtype=torch.int16)
        for rows, columns in self.tiles:
            latents[:, rows.core, columns.core] = self._quantised(transform, rows, columns, code)[1]
        error = 0.0
        for rows, columns in self.tiles:
            pixels = transform.pixels(latents[:, rows.outer, columns.outer], rows, columns).cpu()
            source = self.rgb[rows.start * BLOCK : rows.stop * BLOCK, columns.start * BLOCK : columns.stop * BLOCK]
            height, width = source.shape[:2]
            decoded = (pixels[:, :height, :width] * 255).round().clamp(0, 255).permute(1, 2, 0).numpy()
            error += float(np.square(decoded - source, dtype=np.float64).sum())
        return max(error / self.rgb.size, 1e-10)

    def _quantised(self, transform: Transform, rows: Span, columns: Span, code: int,
                   search: Search | None = None) -> tuple[QuantisedTile, Tensor]:
        part = part_of_picture(self.rgb, rows, columns, BLOCK).to(self.device).permute(2, 0, 1)[None].float() / 255
        sides = sides_of(rows, columns)
        latents = transform.latents(self.weights.model.analysis.coefficients(part, sides))
        if search is not None:
            latents = search(latents, part, sides, code)
        inner = latents[:, :, rows.inner, columns.inner]
        hyper_latents = transform.hyper_latents(inner)
        return self.weights.coder.quantise(inner[0].cpu(), hyper_latents[0].cpu(), position_of(code))


def part_of_picture(rgb: np.ndarray, rows: Span, columns: Span, unit: int) -> Tensor:
    """The pixels that the lapped transform of a part needs.

    Args:
        rgb: (H, W, 3) uint8; continued beyond its right and lower side by its last column and row.
        rows, columns: the part, in units.
        unit: of how many pixels, a multiple of 8.

    Returns:
        (h, w, 3) uint8: the part with its halo and, where that is no border, with the overlap of the transform.
    """
    def pixel_range(span: Span, size: int) -> tuple[int, int, int]:
        start = span.outer_start * unit - (0 if span.at_start else OVERLAP)
        stop = span.outer_stop * unit + (0 if span.at_end else OVERLAP)
        return start, min(stop, size), max(stop - size, 0)

    top, bottom, below = pixel_range(rows, rgb.shape[0])
    left, right, beside = pixel_range(columns, rgb.shape[1])
    part = np.pad(rgb[top:bottom, left:right], ((0, below), (0, beside), (0, 0)), mode="edge")
    return torch.from_numpy(part)


def whole_cells(latents: Tensor) -> Tensor:
    """Latents (N, 192, h, w) continued to the right and below, to multiples of a cell."""
    padding = (0, -latents.shape[3] % CELL, 0, -latents.shape[2] % CELL)
    return F.pad(latents, padding, mode="replicate").contiguous(memory_format=torch.channels_last)


def core_of(image: Tensor, rows: Span, columns: Span, unit: int) -> Tensor:
    """The part itself (3, h, w) of what the inverse transform made of it with its halo: (1, 3, H, W)."""
    top, left = ((s.start - s.outer_start) * unit - (0 if s.at_start else OVERLAP) for s in (rows, columns))
    height, width = ((s.stop - s.start) * unit for s in (rows, columns))
    return image[0, :, top : top + height, left : left + width]


def sides_of(rows: Span, columns: Span) -> Sides:
    """Which sides of a part with its halo are borders of the picture."""
    return columns.at_start, columns.at_end, rows.at_start, rows.at_end


def tiles_of(height: int, width: int) -> list[tuple[Span, Span]]:
    """Rows and columns, in latents, of each tile of a picture."""
    return list(tiles(-(-height // BLOCK), -(-width // BLOCK), TILE, HALO))


def count_of_tiles(height: int, width: int) -> int:
    """How many `tiles_of` gives, without taking memory for them."""
    return -(-height // (BLOCK * TILE)) * -(-width // (BLOCK * TILE))


def position_of(code: int) -> int:
    """64 times the level, from the header's quality."""
    return 2 * code
