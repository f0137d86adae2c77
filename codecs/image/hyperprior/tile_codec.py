"""What codecs with the networks of `hyperprior` do with a picture: to streams and back, tile by tile."""

from abc import abstractmethod

import numpy as np
import torch
from torch import Tensor

from fewbits.codecs.codec import Progress, Stream, Target, no_progress
from fewbits.codecs.image.alpha import encode_alpha
from fewbits.codecs.image.hyperprior.config import HyperpriorConfig
from fewbits.codecs.image.hyperprior.passes import LEVELS
from fewbits.codecs.image.hyperprior.picture import (
    BLOCK,
    QUALITY_CODES,
    Picture,
    Search,
    Transform,
    count_of_tiles,
    position_of,
    tiles_of,
)
from fewbits.codecs.image.hyperprior.weights import Weights
from fewbits.codecs.image.layout import ROUNDED, blank_samples, finished, put, sections_of_tiles
from fewbits.codecs.media import Image
from fewbits.codecs.progressive import ProgressiveCodec
from fewbits.codecs.search import highest_within
from fewbits.errors import DamagedError

DEFAULT_QUALITY = 50.0


class TileCodec(ProgressiveCodec[Image]):
    """Lossy codec for photos at any rate, with 8 bits per sample. Its levels are the passes over the latents.

    Args:
        device: where the float transforms run; everything that decides a probability runs on the CPU.
    """

    kind, lossless = "image", False

    def __init__(self, device: str = "cpu") -> None:
        self.device = device

    @property
    @abstractmethod
    def weights(self) -> Weights:
        """Loaded at first use. Raises `WeightsError` if they are missing."""

    @torch.inference_mode()
    def encode(self, media: Image, target: Target = Target(), progress: Progress = no_progress) -> Stream:
        """Codes a picture; see `Codec.encode`. `target.size` is that of the sections."""
        notices = []
        if media.bits == 16:
            notices.append(ROUNDED)
        alpha = [encode_alpha(media.pixels[..., -1])] if media.channels in (2, 4) else []
        picture = Picture(self.weights, self.device, media, target.progressive)
        code, notice = self._choose(picture, target, list(map(len, alpha)), progress)
        if notice:
            notices.append(notice)
        coded, bits = [], 8.0 * sum(map(len, alpha))
        for number, tile in enumerate(picture.quantised(code, self.search(target, picture.tile_count, progress))):
            sections, ideal = self.weights.coder.encode(tile)
            coded.append(sections)
            bits += ideal
            progress((number + 1) / picture.tile_count, "coding")
        in_order = [section for level in zip(*coded, strict=True) for section in level]
        return Stream({"quality": code}, in_order + alpha, bits, tuple(notices))

    def search(self, target: Target, tiles: int, progress: Progress) -> Search | None:
        """What looks for better latents than the networks give, if that is worth its time for this target."""
        return None

    def parts(self, shape: dict[str, int], count: int) -> list[range]:
        """The sections of each tile; see `ProgressiveCodec.parts`."""
        return sections_of_tiles(shape, count, count_of_tiles(shape["height"], shape["width"]), LEVELS)

    @torch.inference_mode()
    def decode_levels(self, stream: Stream, shape: dict[str, int], levels: int | None,
                      progress: Progress = no_progress) -> Image:
        """Decodes a picture; see `ProgressiveCodec`. A tile without a level is grey, damaged opacity is opaque."""
        latents = self.latents(stream, shape, levels, progress)
        samples = self._synthesise(latents, stream.settings["quality"], shape, progress)
        return finished(samples, stream, shape)

    def bits_by_place(self, stream: Stream, shape: dict[str, int]) -> tuple[int, np.ndarray]:
        """By squares of four places of the latents, whose passes differ; see `Codec.bits_by_place`."""
        spent = np.zeros((-(-shape["height"] // BLOCK), -(-shape["width"] // BLOCK)))
        self.latents(stream, shape, spent=spent)
        for axis in (0, 1):
            spent = np.add.reduceat(spent, np.arange(0, spent.shape[axis], 2), axis)
        return 2 * BLOCK, spent

    @torch.inference_mode()
    def latents(self, stream: Stream, shape: dict[str, int], levels: int | None = None,
                progress: Progress = no_progress, spent: np.ndarray | None = None) -> Tensor:
        """What is decoded before any float arithmetic, and so equal on every machine.

        Args:
            spent: (ceil(H / 8), ceil(W / 8)) float64 zeros, where the bits of each tile are wanted as they lie in it.

        Returns:
            (192, ceil(H / 8), ceil(W / 8)) int16, in 1/16 quantiser step; 0 in tiles without a level.

        Raises:
            StreamError: if the stream is wrong.
        """
        cut = tiles_of(shape["height"], shape["width"])
        parts = self.parts(shape, len(stream.sections))
        if not parts:
            raise DamagedError(f"The picture needs {len(cut)} sections, or {LEVELS * len(cut)} if it is progressive, "
                               f"beside that of opacity, if it has any; the file has {len(stream.sections)}.")
        latents = torch.zeros(HyperpriorConfig.LATENTS, cut[-1][0].stop, cut[-1][1].stop, dtype=torch.int16)
        for number, ((down, across), part) in enumerate(zip(cut, parts, strict=True)):
            sections = [stream.sections[place] for place in part]
            if sections[0] is not None:
                place = None if spent is None else spent[down.core, across.core]
                latents[:, down.core, across.core] = self.weights.coder.decode(
                    sections, down.stop - down.start, across.stop - across.start,
                    position_of(stream.settings["quality"]), levels or LEVELS, place)
                if place is not None:  # tables tell how bits are shared out; a circuit or vectors need fewer
                    place *= 8 * sum(len(section or b"") for section in sections) / max(place.sum(), 1)
            progress(0.5 * (number + 1) / len(cut), "decoding")
        return latents

    def _synthesise(self, latents: Tensor, code: int, shape: dict[str, int], progress: Progress) -> np.ndarray:
        """Samples (H, W, 1 or 3) tile by tile, each tile seeing its neighbours' latents, so that there are no seams."""
        samples = blank_samples(shape)
        transform = Transform(self.weights, self.device, code)
        cut = tiles_of(shape["height"], shape["width"])
        for number, (rows, columns) in enumerate(cut):
            pixels = transform.pixels(latents[:, rows.outer, columns.outer], rows, columns)
            put(samples, pixels, rows.start * BLOCK, columns.start * BLOCK)
            progress(0.5 + 0.5 * (number + 1) / len(cut), "reconstructing")
        return samples

    def _choose(self, picture: "Picture", target: Target, others: list[int],
                progress: Progress) -> tuple[int, str | None]:
        """Quality code for a target, and a sentence if the target cannot be met; `others` as of `Picture.size`."""
        if target.psnr is not None:
            return self._for_psnr(picture, target.psnr, progress)
        if target.size is not None:
            return self._for_size(picture, target.size, others, progress)
        quality = DEFAULT_QUALITY if target.quality is None else target.quality
        return round(quality / 100 * QUALITY_CODES), None

    def _for_psnr(self, picture: "Picture", psnr: float, progress: Progress) -> tuple[int, str | None]:
        """The lowest quality that reaches a PSNR."""
        def distortion(mirrored: int) -> float:  # falls with the quality, so the search runs over its mirror image
            code = QUALITY_CODES - mirrored
            progress(0.0, _trying(code))
            return picture.mean_square_error(code)

        found = highest_within(distortion, 255**2 / 10 ** (psnr / 10), 0, QUALITY_CODES)
        if found is None:
            return QUALITY_CODES, f"A PSNR of {psnr:g} dB cannot be reached; this is the highest quality."
        return QUALITY_CODES - found, None

    def _for_size(self, picture: "Picture", size: int, others: list[int],
                  progress: Progress) -> tuple[int, str | None]:
        """The highest quality whose sections fit in a size."""
        def trial(code: int) -> float:
            progress(0.0, _trying(code))
            return picture.size(code, others)

        found = highest_within(trial, size, 0, QUALITY_CODES)
        return (found, None) if found is not None else (0, "The size cannot be reached; this is the smallest file.")


def _trying(code: int) -> str:
    return f"trying quality {100 * code / QUALITY_CODES:.1f}"
