"""The `hyperprior` image codec: pictures to streams and back, tile by tile."""

from collections.abc import Iterator
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Self

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from fewbits.codecs.codec import Codec, Progress, Stream, Target, no_progress
from fewbits.codecs.image.alpha import encode_alpha
from fewbits.codecs.image.hyperprior.config import HyperpriorConfig
from fewbits.codecs.image.hyperprior.latent_coder import Group
from fewbits.codecs.image.hyperprior.transforms import OVERLAP, Sides
from fewbits.codecs.image.hyperprior.weights import Weights, load_weights
from fewbits.codecs.image.layout import ROUNDED, blank_samples, check_sections, finished, put
from fewbits.codecs.image.tiles import tiles
from fewbits.codecs.latents import UNIT
from fewbits.codecs.levels import LEVEL_FRACTION, level_integers
from fewbits.codecs.media import Image
from fewbits.codecs.search import highest_within
from fewbits.codecs.spans import Span
from fewbits.codecs.weights import identity_of

WEIGHTS = Path(__file__).parent.parent / "weights" / "hyperprior.safetensors"
CIRCUIT = WEIGHTS.with_name("hyperprior-circuit.safetensors")
MSSSIM_WEIGHTS = WEIGHTS.with_name("hyperprior-msssim.safetensors")
CIRCUIT_EFFORT = 6  # from which on latents are coded with the circuit
BLOCK = HyperpriorConfig.BLOCK
TILE = 128  # latents on a side: 1024 pixels
HALO = 8  # latents around a tile, as far as the transforms' blocks reach
QUALITY_CODES = 224  # the header's quality, 0..224, counts 1/32 level
DEFAULT_QUALITY = 50.0


class HyperpriorCodec(Codec[Image]):
    """Lossy codec for photos at any rate, with 8 bits per sample.

    Args:
        device: where the float transforms run; everything that decides a probability runs on the CPU.
        circuit: a circuit as prior over the latents, trained for these weights; None to code them by their tables
            alone. The identity in a file is that of the circuit, if there is one: it names the weights in turn.
    """

    name, kind, family, lossless = "hyperprior", "image", "hierarchical", False

    def __init__(self, device: str = "cpu", weights: Path = WEIGHTS, circuit: Path | None = None) -> None:
        self.device, self.weights_path, self.circuit_path = device, weights, circuit

    @cached_property
    def weights_id(self) -> bytes:
        return identity_of(self.circuit_path or self.weights_path)

    @cached_property
    def _weights(self) -> Weights:
        weights = _load_weights(self.weights_path, self.device)
        return weights if self.circuit_path is None else weights.with_circuit(self.circuit_path)

    @cached_property
    def _with_circuit(self) -> Self:
        return type(self)(self.device, self.weights_path, CIRCUIT)

    @cached_property
    def _for_msssim(self) -> Self:
        return type(self)(self.device, MSSSIM_WEIGHTS)

    def for_media(self, media: Image, target: Target) -> Self:
        """With the weights tuned for MS-SSIM, if that is the target, else with the circuit from effort 6 on; see
        `Codec.for_media`."""
        if target.tune == "msssim":
            return self._for_msssim
        return self if target.effort < CIRCUIT_EFFORT else self._with_circuit

    def for_weights(self, identity: bytes) -> Self:
        """With the circuit or the weights tuned for MS-SSIM, if the file names those; see `Codec.for_weights`."""
        if self.weights_path == WEIGHTS and self.circuit_path is None and identity != self.weights_id:
            for other in (self._with_circuit, self._for_msssim):
                if identity == other.weights_id:
                    return other
        return super().for_weights(identity)

    @torch.inference_mode()
    def encode(self, media: Image, target: Target = Target(), progress: Progress = no_progress) -> Stream:
        """Codes a picture; see `Codec.encode`. `target.size` is that of the sections."""
        notices = []
        if media.bits == 16:
            notices.append(ROUNDED)
        alpha = [encode_alpha(media.pixels[..., -1])] if media.channels in (2, 4) else []
        picture = Picture(self._weights, self.device, media)
        code, notice = self._choose(picture, target, sum(map(len, alpha)), progress)
        if notice:
            notices.append(notice)
        sections, bits = [], 8.0 * sum(map(len, alpha))
        for number, groups in picture.groups(code):
            section, ideal = self._weights.coder.encode(groups)
            sections.append(section)
            bits += ideal
            progress((number + 1) / picture.tile_count, "coding")
        return Stream({"quality": code}, sections + alpha, bits, tuple(notices))

    @torch.inference_mode()
    def decode(self, stream: Stream, shape: dict[str, int], progress: Progress = no_progress) -> Image:
        """Decodes a picture; see `Codec.decode`. A damaged tile is grey, damaged opacity is opaque."""
        latents = self.latents(stream, shape, progress)
        samples = self._synthesise(latents, stream.settings["quality"], shape, progress)
        return finished(samples, stream, shape)

    def bits_by_place(self, stream: Stream, shape: dict[str, int]) -> tuple[int, np.ndarray]:
        """By squares of four places of the latents, whose passes differ; see `Codec.bits_by_place`."""
        spent = np.zeros(_grid(shape))
        self.latents(stream, shape, spent=spent)
        for axis in (0, 1):
            spent = np.add.reduceat(spent, np.arange(0, spent.shape[axis], 2), axis)
        return 2 * BLOCK, spent

    @torch.inference_mode()
    def latents(self, stream: Stream, shape: dict[str, int], progress: Progress = no_progress,
                spent: np.ndarray | None = None) -> Tensor:
        """What is decoded before any float arithmetic, and so equal on every machine.

        Args:
            spent: (ceil(H / 8), ceil(W / 8)) float64 zeros, where the bits of each tile are wanted as they lie in it.

        Returns:
            (192, ceil(H / 8), ceil(W / 8)) int16, in 1/16 quantiser step; 0 in damaged tiles.

        Raises:
            StreamError: if the stream is wrong.
        """
        rows, columns = _grid(shape)
        cut = list(tiles(rows, columns, TILE, HALO))
        check_sections(stream, shape, len(cut))
        latents = torch.zeros(HyperpriorConfig.LATENTS, rows, columns, dtype=torch.int16)
        for number, ((down, across), section) in enumerate(zip(cut, stream.sections, strict=False)):
            if section is not None:
                place = None if spent is None else spent[down.core, across.core]
                latents[:, down.core, across.core] = self._weights.coder.decode(
                    section, down.stop - down.start, across.stop - across.start, _position(stream.settings["quality"]),
                    place)
                if place is not None:
                    place *= 8 * len(section) / max(place.sum(), 1)  # a circuit needs fewer bits than the tables
            progress(0.5 * (number + 1) / len(cut), "decoding")
        return latents

    def _synthesise(self, latents: Tensor, code: int, shape: dict[str, int], progress: Progress) -> np.ndarray:
        """Samples (H, W, 1 or 3) tile by tile, each tile seeing its neighbours' latents, so that there are no seams."""
        samples = blank_samples(shape)
        transform = _Transform(self._weights, self.device, code)
        cut = list(tiles(*_grid(shape), TILE, HALO))
        for number, (rows, columns) in enumerate(cut):
            pixels = transform.pixels(latents[:, rows.outer, columns.outer], rows, columns)
            put(samples, pixels, rows.start * BLOCK, columns.start * BLOCK)
            progress(0.5 + 0.5 * (number + 1) / len(cut), "reconstructing")
        return samples

    def _choose(self, picture: "Picture", target: Target, extra: int, progress: Progress) -> tuple[int, str | None]:
        """Quality code for a target, and a sentence if the target cannot be met."""
        if target.psnr is not None:
            return self._for_psnr(picture, target.psnr, progress)
        if target.size is not None:
            return self._for_size(picture, target.size - extra, progress)
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

    def _for_size(self, picture: "Picture", size: int, progress: Progress) -> tuple[int, str | None]:
        """The highest quality whose sections fit in a size."""
        def trial(code: int) -> float:
            progress(0.0, _trying(code))
            return picture.size(code)

        found = highest_within(trial, max(size, 1), 0, QUALITY_CODES)
        return (found, None) if found is not None else (0, "The size cannot be reached; this is the smallest file.")


_load_weights = lru_cache(maxsize=3)(load_weights)  # shared by the codec with and without the circuit


def _trying(code: int) -> str:
    return f"trying quality {100 * code / QUALITY_CODES:.1f}"


def _grid(shape: dict[str, int]) -> tuple[int, int]:
    """Rows and columns of latents."""
    return -(-shape["height"] // BLOCK), -(-shape["width"] // BLOCK)


def _position(code: int) -> int:
    """64 times the level, from the header's quality."""
    return 2 * code


class _Transform:
    """The float transforms at one quality."""

    def __init__(self, weights: Weights, device: str, code: int) -> None:
        self.model, self.device = weights.model, device
        self.levels = (level_integers(_position(code), self.model.config.levels) / 2**LEVEL_FRACTION).to(device)
        self.step, self.step_back = self.model.quantiser.steps(self.levels)
        self.scale = self.model.quantiser.input_scale(self.step)
        self.scale_back = self.model.quantiser.input_scale(self.step_back)

    def latents(self, coefficients: Tensor, rows: Span, columns: Span) -> tuple[Tensor, Tensor]:
        """Latents (192, h, w) of a tile and its unrounded hyper-latents, from coefficients with their halo."""
        outer = self.model.analysis(coefficients, self.step, self.scale, self.levels)
        latents = outer[:, :, rows.inner, columns.inner]
        stride = HyperpriorConfig.HYPER_STRIDE
        padding = (0, -latents.shape[3] % stride, 0, -latents.shape[2] % stride)
        padded = F.pad(latents, padding, mode="replicate").contiguous(memory_format=torch.channels_last)
        hyper_latents = self.model.entropy_model.hyper_latents(padded, self.scale, self.levels)
        return latents[0].cpu(), hyper_latents[0].cpu()

    def pixels(self, latents: Tensor, rows: Span, columns: Span) -> Tensor:
        """A tile's pixels (3, 8 h, 8 w) in about [0, 1], from decoded latents with their halo."""
        floats = (latents[None].to(self.device).float() / UNIT).contiguous(memory_format=torch.channels_last)
        image = self.model.synthesis(floats, self.step_back, self.scale_back, self.levels, _sides(rows, columns))
        top, left = ((s.start - s.outer_start) * BLOCK - (0 if s.at_start else OVERLAP) for s in (rows, columns))
        height, width = ((s.stop - s.start) * BLOCK for s in (rows, columns))
        return image[0, :, top : top + height, left : left + width]


def _sides(rows: Span, columns: Span) -> Sides:
    return columns.at_start, columns.at_end, rows.at_start, rows.at_end


class Picture:
    """A picture being encoded, tile by tile."""

    def __init__(self, weights: Weights, device: str, image: Image) -> None:
        self.weights, self.device, self.image = weights, device, image
        self.tiles = list(tiles(-(-image.height // BLOCK), -(-image.width // BLOCK), TILE, HALO))
        self.tile_count = len(self.tiles)
        self.rgb = image.rgb()

    def groups(self, code: int) -> Iterator[tuple[int, list[Group]]]:
        """Number and groups of every tile at a quality."""
        transform = _Transform(self.weights, self.device, code)
        for number, (rows, columns) in enumerate(self.tiles):
            yield number, self._quantised(transform, rows, columns, code)[0]

    def size(self, code: int) -> float:
        """Bytes of all sections at a quality, within a few bytes."""
        return sum(self.weights.coder.estimate_bits(groups) / 8 + 8 for _, groups in self.groups(code))

    def mean_square_error(self, code: int) -> float:
        """Of the RGB samples after decoding, on the 0..255 scale."""
        transform = _Transform(self.weights, self.device, code)
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

    def _quantised(self, transform: _Transform, rows: Span, columns: Span, code: int) -> tuple[list[Group], Tensor]:
        latents, hyper_latents = transform.latents(self._coefficients(rows, columns), rows, columns)
        return self.weights.coder.quantise(latents, hyper_latents, _position(code))

    def _coefficients(self, rows: Span, columns: Span) -> Tensor:
        """The lapped transform of a tile with its halo: (1, 192, h, w)."""
        def pixel_range(span: Span, size: int) -> tuple[int, int, int]:
            start = span.outer_start * BLOCK - (0 if span.at_start else OVERLAP)
            stop = span.outer_stop * BLOCK + (0 if span.at_end else OVERLAP)
            return start, min(stop, size), max(stop - size, 0)

        top, bottom, below = pixel_range(rows, self.image.height)
        left, right, beside = pixel_range(columns, self.image.width)
        part = np.pad(self.rgb[top:bottom, left:right], ((0, below), (0, beside), (0, 0)), mode="edge")
        image = torch.from_numpy(part).to(self.device).permute(2, 0, 1)[None].float() / 255
        return self.weights.model.analysis.coefficients(image, _sides(rows, columns))
