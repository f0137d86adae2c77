"""Latents to samples: upsampling and synthesis, band by band, so that memory for large pictures stays small."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from fewbits.codecs.codec import Progress, no_progress
from fewbits.codecs.image.overfit.architecture import GRIDS, UNIT, grid_shape
from fewbits.kernels import synthesis, upsampling
from fewbits.kernels.synthesis import COLOURS, SynthesisNetwork

BAND = 64  # rows that are made at a time

Latents = Sequence[np.ndarray | None]


class Reconstruction:
    """The float part of a decoder, for one picture.

    Args:
        latents: integers of grids 0 to 6; None for a grid 0 that is not there.
        networks: integer parameters, by name.
        height, width: of the picture.
    """

    def __init__(self, latents: Latents, networks: dict[str, np.ndarray], height: int, width: int) -> None:
        self._latents, self._height, self._width = latents, height, width
        self._taps = networks["upsampling"].astype(np.float32) / np.float32(UNIT)
        self._network = SynthesisNetwork.from_parameters(networks, UNIT, "synthesis.")

    def samples(self, colours: int = COLOURS, progress: Progress = no_progress,
                threads: int | None = None) -> np.ndarray:
        """(height, width, colours) uint8; `colours` is 3, or 1 for grey. The same for any number of threads."""
        samples = np.empty((self._height, self._width, colours), np.uint8)

        def make(start: int) -> None:
            part = samples[start : start + BAND]
            synthesis.to_samples(self._values(start, start + len(part)), part)

        starts = range(0, self._height, BAND)
        with ThreadPoolExecutor(threads or os.cpu_count() or 1) as pool:
            for number, _ in enumerate(pool.map(make, starts)):
                progress((number + 1) / len(starts), "reconstructing")
        return samples

    def _values(self, start: int, stop: int) -> np.ndarray:
        """Red, green and blue (3, stop - start, width) float32 of some rows, 0 in the middle of their range."""
        layers = len(self._network.residual)
        first, end = max(start - layers, 0), min(stop + layers, self._height)
        planes = self._planes(0, first, end)
        values = np.empty((COLOURS, end - first, self._width), np.float32)
        synthesis.single_pixels(planes, self._network.first, self._network.first_bias, self._network.last, values)
        for number, (weight, bias) in enumerate(self._network.residual):
            skipped, dropped = int(first > 0), int(end < self._height)
            first, end = first + skipped, end - dropped
            result = np.empty((COLOURS, end - first, self._width), np.float32)
            synthesis.residual_layer(values, weight, bias, number < layers - 1, skipped, result)
            values = result
        return np.ascontiguousarray(values[:, start - first : stop - first])

    def _planes(self, grid: int, start: int, stop: int) -> np.ndarray:
        """Rows `start` to `stop` of the planes of grids `grid` to 6 at the resolution of `grid`, finest first."""
        columns = grid_shape(grid, self._height, self._width)[1]
        planes = np.empty((GRIDS - grid, stop - start, columns), np.float32)
        latents = self._latents[grid]
        planes[0] = 0 if latents is None else latents[start:stop]
        if grid == GRIDS - 1:
            return planes
        source_height = grid_shape(grid + 1, self._height, self._width)[0]
        first, end = upsampling.source_rows(start, stop, source_height)
        for number, source in enumerate(self._planes(grid + 1, first, end)):
            taps = self._taps[grid, min(number, 1)]
            upsampling.upsample_rows(source, first, source_height, taps, start, planes[number + 1])
        return planes


def reference(latents: Latents, networks: dict[str, np.ndarray], height: int, width: int,
              colours: int = COLOURS) -> np.ndarray:
    """What `Reconstruction.samples` gives, in plain NumPy and with the whole picture at once."""
    taps = networks["upsampling"].astype(np.float32) / np.float32(UNIT)
    planes: list[np.ndarray] = []
    for grid in reversed(range(GRIDS)):
        shape = grid_shape(grid, height, width)
        planes = [upsampling.reference(plane, taps[grid, min(number, 1)], *shape)
                  for number, plane in enumerate(planes)]
        own = latents[grid]
        planes.insert(0, np.zeros(shape, np.float32) if own is None else own.astype(np.float32))
    network = SynthesisNetwork.from_parameters(networks, UNIT, "synthesis.")
    return synthesis.reference(np.stack(planes), network, colours)
