"""The `compressai` image codec: pictures by models that were trained with CompressAI, in files that decode everywhere.

A tile's latents see as much of the picture around it as they would in the whole picture, and its samples as many of
the latents around it: there are no seams. Tiles are coded independently.
"""

from functools import cached_property
from pathlib import Path
from typing import Self

import numpy as np
import torch
from torch import Tensor

from fewbits.codecs.codec import Codec, Progress, Stream, Target, no_progress
from fewbits.codecs.image.alpha import encode_alpha
from fewbits.codecs.image.compressai.config import CompressaiConfig
from fewbits.codecs.image.compressai.latent_coder import FactorisedLatents
from fewbits.codecs.image.compressai.weights import Weights, load_weights
from fewbits.codecs.image.layout import ROUNDED, blank_samples, check_sections, finished, put
from fewbits.codecs.image.tiles import tiles
from fewbits.codecs.media import Image
from fewbits.codecs.spans import Span
from fewbits.codecs.weights import identity_of
from fewbits.errors import InputError, WeightsError

BLOCK = CompressaiConfig.BLOCK
TILE = 64  # latents on a side: 1024 pixels
HALO = 2  # latents around a tile, as far as four convolutions of 5 reach: 30 pixels, or 15/8 of a latent
GREY = 0.5  # what a damaged tile looks like


class CompressaiCodec(Codec[Image]):
    """Lossy codec for pictures with 8 bits per sample, by weights that the user has.

    Args:
        device: where the float transforms run; everything that decides a probability runs on the CPU.
        weights: a file that `fewbits train import-compressai` wrote; without it, nothing can be coded.
    """

    name, kind, family, lossless = "compressai", "image", "hierarchical", False

    def __init__(self, device: str = "cpu", weights: Path | None = None) -> None:
        self.device, self._chosen = device, weights

    @property
    def _path(self) -> Path:
        if self._chosen is None:
            raise WeightsError("The codec compressai needs weights of yours: give a file that `fewbits train "
                               "import-compressai` has made of a checkpoint with --weights.")
        if not self._chosen.is_file():
            raise WeightsError(f"There is no weights file {self._chosen}.")
        return self._chosen

    @cached_property
    def weights_id(self) -> bytes:
        return identity_of(self._path)

    @cached_property
    def _weights(self) -> Weights:
        return load_weights(self._path, self.device)

    def for_weights(self, identity: bytes) -> Self:
        """This codec, if it has the weights that a file names; see `Codec.for_weights`."""
        if self._chosen is None:
            raise WeightsError(f"The file was made with weights {identity.hex()} of compressai: give them with "
                               "--weights.")
        if identity != self.weights_id:
            raise WeightsError(f"The file was made with weights {identity.hex()} of compressai; {self._chosen} holds "
                               f"{self.weights_id.hex()}: give those that it was made with.")
        return self

    @torch.inference_mode()
    def encode(self, media: Image, target: Target = Target(), progress: Progress = no_progress) -> Stream:
        """Codes a picture; see `Codec.encode`. Raises `InputError` for any aim: the weights have one quality."""
        if target.has_aim:
            raise InputError("A model of CompressAI has one quality: leave out quality, size and PSNR, or take the "
                             "weights of another.")
        notices = [ROUNDED] if media.bits == 16 else []
        alpha = [encode_alpha(media.pixels[..., -1])] if media.channels in (2, 4) else []
        sections, bits, rgb = [], 8.0 * sum(map(len, alpha)), media.rgb()
        cut = list(tiles(*_grid(media.height, media.width), TILE, HALO))
        for number, (rows, columns) in enumerate(cut):
            section, ideal = self._section(self._latents_of(rgb, rows, columns))
            sections.append(section)
            bits += ideal
            progress((number + 1) / len(cut), "coding")
        return Stream({}, [*sections, *alpha], bits, tuple(notices))

    @torch.inference_mode()
    def decode(self, stream: Stream, shape: dict[str, int], progress: Progress = no_progress) -> Image:
        """Decodes a picture; see `Codec.decode`. A damaged tile is grey, damaged opacity is opaque."""
        latents = self.latents(stream, shape, progress)
        samples = blank_samples(shape)
        cut = list(tiles(*_grid(shape["height"], shape["width"]), TILE, HALO))
        for number, (rows, columns) in enumerate(cut):
            pixels = self._pixels_of(latents[:, rows.outer, columns.outer], rows, columns)
            if stream.sections[number] is None:
                pixels = torch.full_like(pixels, GREY)
            put(samples, pixels, rows.start * BLOCK, columns.start * BLOCK)
            progress(0.5 + 0.5 * (number + 1) / len(cut), "reconstructing")
        return finished(samples, stream, shape)

    def latents(self, stream: Stream, shape: dict[str, int], progress: Progress = no_progress) -> Tensor:
        """What is decoded before any float network, and so equal on every machine.

        Returns:
            (M, ceil(H / 16), ceil(W / 16)) float32; 0 in damaged tiles.

        Raises:
            StreamError: if the stream is wrong.
        """
        rows, columns = _grid(shape["height"], shape["width"])
        cut = list(tiles(rows, columns, TILE, HALO))
        check_sections(stream, shape, len(cut))
        latents = torch.zeros(self._weights.config.latents, rows, columns)
        for number, ((down, across), section) in enumerate(zip(cut, stream.sections, strict=False)):
            if section is not None:
                latents[:, down.core, across.core] = self._weights.coder.decode(
                    section, down.stop - down.start, across.stop - across.start)
            progress(0.5 * (number + 1) / len(cut), "decoding")
        return latents

    def _latents_of(self, rgb: np.ndarray, rows: Span, columns: Span) -> Tensor:
        """Latents (1, M, h, w) of a tile of a picture (H, W, 3), which goes on beyond its last row and column with
        copies of these."""
        part = rgb[_times_block(rows.outer), _times_block(columns.outer)]
        below, beside = -part.shape[0] % BLOCK, -part.shape[1] % BLOCK
        part = np.pad(part, ((0, below), (0, beside), (0, 0)), mode="edge")
        image = torch.from_numpy(part).to(self.device).permute(2, 0, 1)[None].float() / 255
        return self._weights.transforms.g_a(image)[:, :, rows.inner, columns.inner]

    def _section(self, latents: Tensor) -> tuple[bytes, float]:
        """The section of a tile's latents (1, M, h, w), and its ideal bits."""
        coder = self._weights.coder
        if isinstance(coder, FactorisedLatents):
            return coder.encode(latents[0].cpu())
        hyper_latents = self._weights.transforms.hyper_latents(latents)
        return coder.encode(latents[0].cpu(), hyper_latents[0].cpu())

    def _pixels_of(self, latents: Tensor, rows: Span, columns: Span) -> Tensor:
        """A tile's pixels (3, 16 h, 16 w) in about [0, 1], from latents with their halo."""
        image = self._weights.transforms.g_s(latents[None].to(self.device))[0]
        return image[:, _times_block(rows.inner), _times_block(columns.inner)]


def _grid(height: int, width: int) -> tuple[int, int]:
    """Rows and columns of latents."""
    return -(-height // BLOCK), -(-width // BLOCK)


def _times_block(latents: slice) -> slice:
    return slice(latents.start * BLOCK, latents.stop * BLOCK)
