"""Pictures as arrays, and how files become them."""

import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image as PillowImage
from PIL import UnidentifiedImageError

from fewbits.codecs import pillow_picture
from fewbits.errors import InputError

MAX_PIXELS = 200_000_000
"""Pictures larger than this are refused unless the caller raises the limit."""

CHANNEL_MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
_PILLOW_LIMIT = threading.Lock()


@dataclass(frozen=True, eq=False)
class Image:
    """A picture in memory.

    Attributes:
        pixels: (H, W, C), uint8 or uint16, C = 1 (grey), 2 (grey, alpha), 3 (RGB) or 4 (RGBA); 16 bits for grey only.
        icc_profile: the colour profile that the samples are meant in, as found in the file.
        exif: what a camera said of the picture, in the form of a TIFF file without pixels.
        notices: sentences for the user on what of the source is lost.
    """

    pixels: np.ndarray
    icc_profile: bytes | None = None
    exif: bytes | None = None
    notices: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        p = self.pixels
        if p.ndim != 3 or p.shape[2] not in CHANNEL_MODES or 0 in p.shape:
            raise InputError(f"A picture needs the shape (height, width, 1 to 4 channels), not {p.shape}.")
        if p.dtype not in (np.uint8, np.uint16) or (p.dtype == np.uint16 and p.shape[2] != 1):
            raise InputError(f"A picture needs 8 bits per sample, or 16 for grey; this one has {p.dtype}.")

    @property
    def height(self) -> int:
        return self.pixels.shape[0]

    @property
    def width(self) -> int:
        return self.pixels.shape[1]

    @property
    def channels(self) -> int:
        return self.pixels.shape[2]

    @property
    def pixel_count(self) -> int:
        return self.height * self.width

    @property
    def bits(self) -> int:
        """Bits per sample, 8 or 16."""
        return 8 * self.pixels.itemsize

    def eight_bit(self) -> np.ndarray:
        """(H, W, C) uint8; 16-bit samples are rounded to 8 bits."""
        if self.bits == 8:
            return self.pixels
        # in place on one wide copy: pictures can be large
        wide = self.pixels.astype(np.uint32)
        wide += 128
        wide //= 257
        return wide.astype(np.uint8)

    def rgb(self) -> np.ndarray:
        """(H, W, 3) uint8: what metrics compare. Grey is repeated, alpha left out."""
        samples = self.eight_bit()
        return samples[..., :3] if self.channels >= 3 else np.repeat(samples[..., :1], 3, axis=2)

    @classmethod
    def open(cls, source: str | Path | IO[bytes], max_pixels: int = MAX_PIXELS) -> "Image":
        """Reads a picture with Pillow, the first of those in a file. Palettes become RGB or RGBA, colours for print
        sRGB; the EXIF orientation is applied.

        Raises:
            InputError: if the file cannot be read as a picture, or has more than `max_pixels`.
        """
        name = source if isinstance(source, str | Path) else "the input"
        try:
            with _opened(source) as file:
                if file.width * file.height > max_pixels:
                    raise InputError(f"{name} has {file.width} x {file.height} pixels, more than the limit of "
                                     f"{max_pixels}: raise the limit if you trust the file.")
                lost = pillow_picture.losses(file)
                file.load()
                image = cls.from_pillow(file)
                return replace(image, notices=lost + image.notices)
        except FileNotFoundError:
            raise InputError(f"There is no file {name}.") from None
        except UnidentifiedImageError:
            raise InputError(f"{name} is not a picture that can be read here.") from None
        except InputError:
            raise
        except Exception as error:  # of damaged files, Pillow and the libraries under it raise anything
            reason = str(error).rstrip(".") or type(error).__name__
            raise InputError(f"{name} cannot be read as a picture: {reason}.") from None

    @classmethod
    def from_pillow(cls, picture: PillowImage.Image) -> "Image":
        """A Pillow picture with its colour profile, in the form that `open` gives it.

        Other EXIF is left out: it may be larger than the coded picture, and tell where it was taken.
        """
        turned, said = pillow_picture.upright(picture)
        image = cls.as_it_is(turned)
        return replace(image, notices=said + image.notices)

    @classmethod
    def as_it_is(cls, picture: PillowImage.Image) -> "Image":
        """As `from_pillow`, but not turned."""
        picture, profile, said = pillow_picture.in_srgb(picture)
        return cls(pillow_picture.samples_of(picture), profile, notices=said)

    def save(self, target: str | Path | IO[bytes], format: str | None = None) -> None:
        """Writes the picture with Pillow; the format follows the suffix where it is not given.

        Raises:
            InputError: if the format is unknown or cannot hold the picture.
        """
        picture = self.to_pillow()
        extra = {name: value for name, value in (("icc_profile", self.icc_profile), ("exif", self.exif)) if value}
        buffer = io.BytesIO()  # where Pillow writes files itself, it does not see that a disk is full
        try:
            if format is None and isinstance(target, str | Path):
                format = PillowImage.registered_extensions()[Path(target).suffix.lower()]
            picture.save(buffer, format=format, **extra)
            if isinstance(target, str | Path):
                Path(target).write_bytes(buffer.getvalue())
            else:
                target.write(buffer.getvalue())
        except (OSError, ValueError, KeyError) as error:
            raise InputError(f"The picture cannot be written to {target}: {error}.") from None

    def to_pillow(self) -> PillowImage.Image:
        """The picture as a `PIL.Image.Image`."""
        if self.bits == 16:
            return PillowImage.fromarray(self.pixels[..., 0])
        return PillowImage.fromarray(self.pixels[..., 0] if self.channels == 1 else self.pixels,
                                     mode=CHANNEL_MODES[self.channels])


def is_picture(source: str | Path | IO[bytes]) -> bool:
    """Whether Pillow knows what a file begins with, however it goes on. Raises `InputError` where there is no file."""
    try:
        with _opened(source):
            return True
    except FileNotFoundError:
        raise InputError(f"There is no file {source}.") from None
    except Exception:  # as in `Image.open`
        return False


@contextmanager
def _opened(source: str | Path | IO[bytes]) -> Iterator[PillowImage.Image]:
    """The picture before its pixels are decoded; how many they are is for the caller to check."""
    # Pillow's own limit is a global, which two threads must not take for each other's
    with _PILLOW_LIMIT:
        limit, PillowImage.MAX_IMAGE_PIXELS = PillowImage.MAX_IMAGE_PIXELS, None
        try:
            picture = PillowImage.open(source)
        finally:
            PillowImage.MAX_IMAGE_PIXELS = limit
    with picture as file:
        yield file
