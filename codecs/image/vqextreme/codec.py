"""The `vqextreme` image codec: a few hundred bytes a photo."""

from collections.abc import Iterator
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fewbits.codecs.codec import Progress, Stream, Target, no_progress
from fewbits.codecs.concealment import ConcealingCodec
from fewbits.codecs.image.alpha import encode_alpha
from fewbits.codecs.image.hyperprior.picture import core_of, part_of_picture, sides_of
from fewbits.codecs.image.layout import ROUNDED, blank_samples, check_sections, finished, put
from fewbits.codecs.image.tiles import tiles
from fewbits.codecs.image.vqextreme.cells import count_of_chunks, grid_of, lost_cells
from fewbits.codecs.image.vqextreme.config import CELL, FINE, RATES
from fewbits.codecs.image.vqextreme.index_coder import CellIndices, bits_of_chunk, decode_chunk, encode_chunk
from fewbits.codecs.image.vqextreme.model import VqExtremeModel, rate_weights
from fewbits.codecs.image.vqextreme.restoration import Restoration
from fewbits.codecs.image.vqextreme.weights import Weights, load_restoration, load_weights
from fewbits.codecs.media import Image
from fewbits.codecs.weights import identity_of
from fewbits.entropy.container import size_of_sections

WEIGHTS = Path(__file__).parent.parent / "weights" / "vqextreme.safetensors"
RESTORATION = WEIGHTS.with_name("vqextreme-restoration.safetensors")
DEFAULT_QUALITY = 50.0
TILE = 32  # cells on a side that the networks see at a time: 1024 pixels
HALO = 8  # cells around them, as far as the networks reach


class VqExtremeCodec(ConcealingCodec[Image]):
    """Lossy codec for photos at 0.02 to 0.06 bits per pixel, with 8 bits per sample; see `model.VqExtremeModel`.

    Args:
        device: where the float networks run; indices are coded on the CPU.
    """

    name, kind, family, lossless = "vqextreme", "image", "vector-quantised", False

    def __init__(self, device: str = "cpu") -> None:
        self.device = device

    @cached_property
    def weights_id(self) -> bytes:
        return identity_of(WEIGHTS)

    @cached_property
    def weights(self) -> Weights:
        """Loaded at first use. Raises `WeightsError` if they are missing."""
        return _load_weights(WEIGHTS, self.device)

    @cached_property
    def restoration(self) -> Restoration:
        """What guesses lost indices, loaded at first use. Raises `WeightsError` if it is missing or for others."""
        return load_restoration(RESTORATION, self.weights)

    @torch.inference_mode()
    def encode(self, media: Image, target: Target = Target(), progress: Progress = no_progress) -> Stream:
        """Codes a picture; see `Codec.encode`. `target.size` is that of the sections."""
        notices = [ROUNDED] if media.bits == 16 else []
        alpha = [encode_alpha(media.pixels[..., -1])] if media.channels in (2, 4) else []
        picture = _Picture(self.weights, self.device, media, progress)
        number, notice = _choose(picture, target, list(map(len, alpha)))
        if notice:
            notices.append(notice)
        sections, bits = picture.sections(number), picture.bits(number) + 8.0 * sum(map(len, alpha))
        return Stream({"rate": number}, sections + alpha, bits, tuple(notices))

    @torch.inference_mode()
    def decode(self, stream: Stream, shape: dict[str, int], progress: Progress = no_progress) -> Image:
        """Decodes a picture; cells that are lost are grey, damaged opacity is opaque. See `Codec.decode`."""
        indices, lost = self.indices(stream, shape)
        return self._picture(self.weights.features(indices, stream.settings["rate"], lost), stream, shape, progress)

    @torch.inference_mode()
    def conceal(self, stream: Stream, shape: dict[str, int], progress: Progress = no_progress) -> Image:
        """Decodes a picture, with lost cells guessed from those around; see `ConcealingCodec`."""
        (indices, lost), number, guess = self.indices(stream, shape), stream.settings["rate"], None
        if lost.any():
            progress(0.0, "guessing what is lost")
            guess = self.restoration.guess(indices, lost, RATES[number])
        return self._picture(self.weights.features(indices, number, lost, guess), stream, shape, progress)

    def indices(self, stream: Stream, shape: dict[str, int]) -> tuple[CellIndices, np.ndarray]:
        """What is decoded before any float arithmetic, and so equal on every machine.

        Returns:
            The indices of all cells, 0 where they are lost, and (rows, columns) bool: which those are.

        Raises:
            StreamError: if the stream is wrong.
        """
        rows, columns = grid_of(shape)
        chunks = count_of_chunks(rows, columns)
        check_sections(stream, shape, chunks)
        indices, tables = CellIndices.blank(rows, columns), self.weights.tables[stream.settings["rate"]]
        for number, section in enumerate(stream.sections[:chunks]):
            if section is not None:
                decode_chunk(section, number, indices, tables)
        lost = {number for number in range(chunks) if stream.sections[number] is None}
        return indices, lost_cells(lost, rows, columns)

    def _picture(self, features: Tensor, stream: Stream, shape: dict[str, int], progress: Progress) -> Image:
        samples = blank_samples(shape)
        for rows, columns, pixels in _pixels(self.weights.model, features, stream.settings["rate"], progress):
            put(samples, pixels, rows * CELL, columns * CELL)
        return finished(samples, stream, shape)


class _Picture:
    """A picture being encoded: analysed once, quantised at the rates that are tried."""

    def __init__(self, weights: Weights, device: str, image: Image, progress: Progress) -> None:
        self.weights, self.device, self.rgb, self.progress = weights, device, image.rgb(), progress
        self.rows, self.columns = grid_of({"height": image.height, "width": image.width})
        self.chunks = range(count_of_chunks(self.rows, self.columns))
        self._indices: dict[int, CellIndices] = {}

    def indices(self, number: int) -> CellIndices:
        """Of all cells at one of the rates."""
        if number not in self._indices:
            fine, coarse = self._features(number)
            self._indices[number] = self.weights.indices(fine, coarse, number)
        return self._indices[number]

    def sections(self, number: int) -> list[bytes | None]:
        """The bytes of every chunk at one of the rates."""
        return [encode_chunk(chunk, self.indices(number), self.weights.tables[number]) for chunk in self.chunks]

    def bits(self, number: int) -> float:
        """What all chunks cost by the tables alone."""
        return sum(bits_of_chunk(chunk, self.indices(number), self.weights.tables[number]) for chunk in self.chunks)

    def mean_square_error(self, number: int) -> float:
        """Of the RGB samples after decoding, on the 0..255 scale."""
        features = self.weights.features(self.indices(number), number, np.zeros((self.rows, self.columns), bool))
        samples = np.empty_like(self.rgb)
        for rows, columns, pixels in _pixels(self.weights.model, features, number, self.progress):
            put(samples, pixels, rows * CELL, columns * CELL)
        return max(float(np.square(samples.astype(np.float32) - self.rgb).mean(dtype=np.float64)), 1e-10)

    def _features(self, number: int) -> tuple[Tensor, Tensor]:
        """Features (1, D, 2 rows, 2 columns) and (1, D, rows, columns) of the whole picture."""
        model, dimensions = self.weights.model, self.weights.model.config.dimensions
        fine = torch.empty(1, dimensions, FINE * self.rows, FINE * self.columns)
        coarse = torch.empty(1, dimensions, self.rows, self.columns)
        for down, across in tiles(self.rows, self.columns, TILE, HALO):
            part = part_of_picture(self.rgb, down, across, CELL).to(self.device).permute(2, 0, 1)[None].float() / 255
            part = part.contiguous(memory_format=torch.channels_last)
            own = model.analysis(part, rate_weights(number, part), sides_of(down, across), dimensions)
            for whole, cut, scale in zip((fine, coarse), own, (FINE, 1), strict=True):
                inner = cut[:, :, _scaled(down.inner, scale), _scaled(across.inner, scale)]
                whole[:, :, _scaled(down.core, scale), _scaled(across.core, scale)] = inner.cpu()
            self.progress(0.5 * down.stop / self.rows, "analysing")
        return fine, coarse


def _pixels(model: VqExtremeModel, features: Tensor, number: int,
            progress: Progress) -> Iterator[tuple[int, int, Tensor]]:
    """Row and column of cells at which each tile of a picture begins, and its pixels (3, h, w)."""
    rows, columns = (side // FINE for side in features.shape[2:])
    for down, across in tiles(rows, columns, TILE, HALO):
        part = features[:, :, _scaled(down.outer, FINE), _scaled(across.outer, FINE)]
        part = part.to(model.synthesis.kernel.device).contiguous(memory_format=torch.channels_last)
        image = model.synthesis(part, rate_weights(number, part), sides_of(down, across))
        yield down.start, across.start, core_of(image, down, across, CELL)
        progress(0.5 + 0.5 * down.stop / rows, "reconstructing")


def _scaled(part: slice, scale: int) -> slice:
    return slice(part.start * scale, part.stop * scale)


def _choose(picture: _Picture, target: Target, others: list[int]) -> tuple[int, str | None]:
    """The rate for a target, and a sentence if the target cannot be met; `others`: lengths of other sections."""
    numbers = range(len(RATES))
    if target.size is not None:
        for number in reversed(numbers):
            lengths = [len(section or b"") for section in picture.sections(number)]
            if size_of_sections(lengths + others) <= target.size:
                return number, None
        return 0, "The size cannot be reached; this is the smallest file."
    if target.psnr is not None:
        most = 255**2 / 10 ** (target.psnr / 10)
        for number in numbers:
            if picture.mean_square_error(number) <= most:
                return number, None
        return numbers[-1], f"A PSNR of {target.psnr:g} dB cannot be reached; this is the highest quality."
    quality = DEFAULT_QUALITY if target.quality is None else target.quality
    return round(quality / 100 * numbers[-1]), None


_load_weights = lru_cache(maxsize=1)(load_weights)
