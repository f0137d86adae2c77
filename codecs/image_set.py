"""Sets of small images of equal size, and how idx files and folders become them."""

import gzip
import io
import zlib
from abc import abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

import numpy as np

from fewbits.codecs.codec import Codec, Stream
from fewbits.codecs.media import MAX_PIXELS, Image
from fewbits.errors import InputError

IDX_ENDINGS = ("idx3-ubyte", ".idx")
SUFFIXES = frozenset((".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"))
_IDX_MAGIC = b"\x00\x00\x08"  # of unsigned bytes; the number of dimensions follows
_GZIP_MAGIC = b"\x1f\x8b"
_DIGITS = 5  # at least, in the names of pictures


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Images in memory, in an order. They have no names.

    Attributes:
        samples: (N, H, W, C) uint8, C = 1 (grey) or 3 (RGB).
        notices: sentences for the user on what of the source is lost.
    """

    samples: np.ndarray
    notices: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        s = self.samples
        if s.ndim != 4 or s.shape[3] not in (1, 3) or 0 in s.shape or s.dtype != np.uint8:
            raise InputError("A set of images needs 8 bits a sample and the shape (images, height, width, 1 or 3), "
                             f"not {s.dtype} and {s.shape}.")

    @property
    def count(self) -> int:
        return self.samples.shape[0]

    @property
    def height(self) -> int:
        return self.samples.shape[1]

    @property
    def width(self) -> int:
        return self.samples.shape[2]

    @property
    def channels(self) -> int:
        return self.samples.shape[3]

    @property
    def pixel_count(self) -> int:
        """Pixels of all images together."""
        return self.count * self.height * self.width

    def image(self, number: int) -> Image:
        """One of the images, counted from 0."""
        return Image(self.samples[number])

    @classmethod
    def open(cls, source: str | Path, max_pixels: int = MAX_PIXELS) -> "ImageSet":
        """Reads an idx file, which gzip may have compressed, or the pictures of a folder in the order of their names.

        Raises:
            InputError: if nothing is there, it is neither, the pictures of a folder differ in size or channels, or
                there are more than `max_pixels` in all.
        """
        path = Path(source)
        if path.is_dir():
            return _from_folder(path, max_pixels)
        try:
            with path.open("rb") as file:
                return cls.from_idx(file, str(source), max_pixels)
        except OSError as error:
            raise InputError(f"{source} cannot be read: {error.strerror or error}.") from None

    @classmethod
    def from_idx(cls, file: IO[bytes], name: str = "the input", max_pixels: int = MAX_PIXELS) -> "ImageSet":
        """Reads an idx file of bytes (images, height, width) or (images, height, width, 1 or 3).

        Raises:
            InputError: if it is none, ends too early or late, or has more than `max_pixels`.
        """
        head = file.read(len(_GZIP_MAGIC))
        whole = _Joined(head, file)
        try:
            if head == _GZIP_MAGIC:
                with gzip.GzipFile(fileobj=whole) as inflated:
                    return cls(_read_idx(inflated, name, max_pixels))
            return cls(_read_idx(whole, name, max_pixels))
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise InputError(f"{name} cannot be read: {error}.") from None

    def to_idx(self) -> bytes:
        """An idx file: three dimensions for grey images, four for RGB."""
        shape = self.samples.shape[:3] if self.channels == 1 else self.samples.shape
        lengths = b"".join(length.to_bytes(4, "big") for length in shape)
        return _IDX_MAGIC + bytes([len(shape)]) + lengths + self.samples.tobytes()

    def save(self, target: Path) -> None:
        """Writes an idx file where the name ends in idx3-ubyte or .idx, else a folder of numbered PNG pictures."""
        if is_idx_name(target):
            target.write_bytes(self.to_idx())
            return
        target.mkdir(parents=True, exist_ok=True)
        digits = max(_DIGITS, len(str(self.count - 1)))
        for number in range(self.count):
            self.image(number).save(target / f"{number:0{digits}}.png")


class ImageSetCodec(Codec[ImageSet]):
    """A codec for sets of images."""

    @abstractmethod
    def decode_one(self, stream: Stream, shape: dict[str, int], number: int) -> Image:
        """Decodes one image of a set, counted from 0 and below the header's count.

        Raises:
            StreamError: where what is needed of the stream is wrong.
        """


def is_idx_name(path: Path) -> bool:
    """Whether a set of images is written to this path as an idx file rather than as a folder."""
    return path.name.endswith(IDX_ENDINGS)


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


class _Joined(io.RawIOBase):
    """What was read already, then the rest: pipes cannot go back."""

    def __init__(self, head: bytes, rest: IO[bytes]) -> None:
        self._head, self._rest = head, rest

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        taken, self._head = (self._head, b"") if size < 0 else (self._head[:size], self._head[size:])
        return taken + self._rest.read(size - len(taken) if size >= 0 else -1)


def _read_idx(file: _Readable, name: str, max_pixels: int) -> np.ndarray:
    magic = file.read(4)
    if magic[:3] != _IDX_MAGIC or magic[3:] not in (b"\x03", b"\x04"):
        raise InputError(f"{name} is neither a folder of pictures nor an idx file of images.")
    lengths = [int.from_bytes(file.read(4), "big") for _ in range(magic[3])]
    channels = lengths[3] if len(lengths) == 4 else 1
    if channels not in (1, 3) or 0 in lengths:
        raise InputError(f"{name} has the shape {lengths}, which is not one of grey or RGB images.")
    count, height, width = lengths[:3]
    _check_pixels(name, count, height, width, max_pixels)
    size = count * height * width * channels
    data = file.read(size)
    if len(data) < size or file.read(1):
        raise InputError(f"{name} is {'shorter' if len(data) < size else 'longer'} than the {count} images of "
                         f"{width} x {height} pixels that it announces.")
    return np.frombuffer(data, np.uint8).reshape(count, height, width, channels)


def _from_folder(folder: Path, max_pixels: int) -> ImageSet:
    paths = sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES and p.is_file())
    if not paths:
        raise InputError(f"There are no pictures in {folder}.")
    first = _plain(paths[0], max_pixels)
    _check_pixels(str(folder), len(paths), first.height, first.width, max_pixels)
    samples = np.empty((len(paths), *first.pixels.shape), np.uint8)
    notices: dict[str, Path] = {}  # each with the first picture that it is about
    for number, path in enumerate(paths):
        picture = _plain(path, max_pixels)
        notices = {notice: path for notice in picture.notices} | notices
        if picture.pixels.shape != first.pixels.shape:
            raise InputError(f"{path} has {_described(picture)}, but {paths[0].name} has {_described(first)}: the "
                             "images of a set must be alike.")
        samples[number] = picture.pixels
    return ImageSet(samples, tuple(f"{path.name}: {notice}" for notice, path in notices.items()))


def _plain(path: Path, max_pixels: int) -> Image:
    """A picture that can be part of a set."""
    picture = Image.open(path, max_pixels)
    if picture.bits != 8 or picture.channels not in (1, 3):
        raise InputError(f"{path} has opacity or 16 bits a sample, which sets of images cannot have.")
    return picture


def _described(picture: Image) -> str:
    return f"{picture.width} x {picture.height} pixels in {'grey' if picture.channels == 1 else 'RGB'}"


def _check_pixels(name: str, count: int, height: int, width: int, max_pixels: int) -> None:
    if count * height * width > max_pixels:
        raise InputError(f"{name} has {count} images of {width} x {height} pixels, in all more than the limit of "
                         f"{max_pixels}: raise the limit if you trust it.")
