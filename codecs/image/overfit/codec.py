"""The `overfit` image codec: a small decoder is fitted to each picture and sent with it."""

from dataclasses import replace
from functools import cached_property
from pathlib import Path

import numpy as np

from fewbits.codecs.codec import Codec, Progress, Stream, Target, between, no_progress
from fewbits.codecs.image.alpha import encode_alpha
from fewbits.codecs.image.layout import ROUNDED, check_sections, finished
from fewbits.codecs.image.overfit.architecture import SIZES
from fewbits.codecs.image.overfit.fitted import Fitted
from fewbits.codecs.image.overfit.latent_coder import TILE, LatentCoder, Latents
from fewbits.codecs.image.overfit.networks import Networks, decode_networks, difference_bits, encode_networks
from fewbits.codecs.image.overfit.reconstruction import Reconstruction
from fewbits.codecs.image.overfit.starts import WEIGHTS, Starts, load_starts
from fewbits.codecs.image.tiles import bits_of_tiles
from fewbits.codecs.media import Image
from fewbits.codecs.weights import identity_of
from fewbits.errors import DamagedError


class OverfitCodec(Codec[Image]):
    """Lossy codec for pictures with 8 bits per sample: encoding takes minutes, decoding a fraction of a second.

    Args:
        device: where fits run; decoding is the CPU's.
    """

    name, kind, family, lossless = "overfit", "image", "overfitted", False

    def __init__(self, device: str = "cpu", weights: Path = WEIGHTS) -> None:
        self.device, self.weights_path = device, weights

    @cached_property
    def weights_id(self) -> bytes:
        return identity_of(self.weights_path)

    @cached_property
    def _starts(self) -> Starts:
        return load_starts(self.weights_path)

    def encode(self, media: Image, target: Target = Target(), progress: Progress = no_progress) -> Stream:
        """Codes a picture; see `Codec.encode`. `target.size` is that of the sections."""
        from fewbits.codecs.image.overfit.fitting import fit  # what only encoders need

        fitted = fit(media.rgb(), _without_alpha(target, media), self._starts, progress, self.device)
        return pack(fitted, media, self._starts)

    def decode(self, stream: Stream, shape: dict[str, int], progress: Progress = no_progress) -> Image:
        """Decodes a picture; see `Codec.decode`. A damaged tile has latents of 0, damaged opacity is opaque."""
        networks, latents = self._decoded(stream, shape, between(progress, 0, 0.6))
        made = Reconstruction(latents, networks, shape["height"], shape["width"])
        samples = made.samples(1 if shape["channels"] <= 2 else 3, between(progress, 0.6, 1))
        return finished(samples, stream, shape)

    def latents(self, stream: Stream, shape: dict[str, int], progress: Progress = no_progress) -> Latents:
        """What is decoded before any float arithmetic, and so equal on every machine.

        Returns:
            Latents of grids 0 to 6, (ceil(H / 2**k), ceil(W / 2**k)) int16, 0 in damaged tiles; None for a grid 0
            that the picture does not have.

        Raises:
            StreamError: if the stream is wrong.
        """
        return self._decoded(stream, shape, progress)[1]

    def bits_by_place(self, stream: Stream, shape: dict[str, int]) -> tuple[int, np.ndarray]:
        """By tiles, without the networks; see `Codec.bits_by_place`."""
        return bits_of_tiles(stream.sections[1:], shape["height"], shape["width"], TILE)

    def _decoded(self, stream: Stream, shape: dict[str, int], progress: Progress) -> tuple[Networks, Latents]:
        height, width = shape["height"], shape["width"]
        tile_count = -(-height // TILE) * -(-width // TILE)
        check_sections(stream, shape, 1 + tile_count)
        number, start = stream.settings["decoder"], stream.settings["start"]
        if start >= self._starts.count(number):
            raise DamagedError(f"The file names start {start}, of which there are {self._starts.count(number)}.")
        if stream.sections[0] is None:
            raise DamagedError("The section of the networks is damaged: nothing can be decoded without them.")
        tables = self._starts.tables
        networks = decode_networks(stream.sections[0], self._starts.networks(number, start), SIZES[number], tables)
        coder = LatentCoder(SIZES[number], networks, tables)
        sections = stream.sections[1 : 1 + tile_count]
        return networks, coder.decode(sections, height, width, stream.settings["finest"], progress)


def pack(fitted: Fitted, media: Image, starts: Starts) -> Stream:
    """The stream of a picture that was fitted. Opacity comes from `media`; that it was rounded is noticed."""
    size, start = SIZES[fitted.size], starts.networks(fitted.size, fitted.start)
    sections: list[bytes | None] = [encode_networks(fitted.networks, start, size, starts.tables, fitted.shifts)]
    bits = difference_bits(fitted.networks, start, size, starts.tables, fitted.shifts)
    coder = LatentCoder(size, fitted.networks, starts.tables)
    for tile in coder.symbols(fitted.latents, media.height, media.width):
        sections.append(coder.encode(tile))
        bits += coder.estimate_bits(tile)
    if media.channels in (2, 4):
        alpha = encode_alpha(media.pixels[..., -1])
        sections.append(alpha)
        bits += 8 * len(alpha)
    settings = {"decoder": fitted.size, "start": fitted.start, "finest": fitted.finest}
    notices = fitted.notices
    if media.bits == 16:
        notices = (ROUNDED, *notices)
    return Stream(settings, sections, bits, notices)


def _without_alpha(target: Target, media: Image) -> Target:
    """A target for the sections without opacity."""
    if target.size is None or media.channels not in (2, 4):
        return target
    alpha = encode_alpha(media.pixels[..., -1])
    return replace(target, size=max(target.size - len(alpha), 1))
