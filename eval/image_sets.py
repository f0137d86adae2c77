"""Codecs on sets of small images: those made for sets, beside codecs for pictures, which get all images as a mosaic."""

import lzma
import math
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from fewbits.codecs import files, registry
from fewbits.codecs.codec import Progress, Target, no_progress
from fewbits.codecs.image_set import ImageSet
from fewbits.codecs.media import Image
from fewbits.errors import FewbitsError, InputError
from fewbits.eval.contenders import Contender, contender, parse_codec
from fewbits.eval.environment import describe_environment
from fewbits.eval.evaluate import named
from fewbits.eval.ledger import NOTHING_KEPT, Ledger
from fewbits.eval.trip import there_and_back

_WARM_UP_IMAGES = 64


@dataclass(frozen=True)
class SetContender:
    """A codec that takes part in a comparison on sets.

    Attributes:
        name, suffix: its name on the command line, the end of its file names.
        settings: what it is measured at; None alone for a codec that has no setting.
        arrange: a set to what the codec takes.
        encode: (what `arrange` made, setting, effort) to a whole file.
        decode: a whole file to what `encode` took.
        restore: (what `decode` gave, the set's (N, H, W, C)) to samples (N, H, W, channels that the format has).
    """

    name: str
    suffix: str
    settings: Sequence[float | None]
    arrange: Callable[[ImageSet], Any]
    encode: Callable[[Any, Any, int], bytes]
    decode: Callable[[bytes], Any]
    restore: Callable[[Any, tuple[int, ...]], np.ndarray]


def names() -> list[str]:
    """Names of the codecs that take sets alone: those of fewbits, then `xz`."""
    return [*registry.names("images"), _XZ.name]


def asked_for(codecs: Sequence[str]) -> bool:
    """Whether one of the codecs (`NAME` or `NAME@SETTING,SETTING...`) takes sets alone."""
    return any(text.partition("@")[0] in names() for text in codecs)


def evaluate(
    paths: Sequence[str | Path],
    codecs: Sequence[str],
    effort: int = 5,
    progress: Progress = no_progress,
    ledger: Ledger = NOTHING_KEPT,
) -> dict[str, object]:
    """Runs codecs over sets of images.

    Args:
        paths: idx files and folders, each a set.
        codecs: `NAME` or `NAME@SETTING,SETTING...`, from `names` and `contenders.available`.
        effort: 1 to 9, for neural codecs that have it beside their setting.
        ledger: keeps records, for a run that is interrupted.

    Returns:
        An object ready for JSON: `environment`, and `records`, one for each set, codec and setting, with `file`,
        `codec`, `setting` (None where the codec has none), `images` (their number), `bytes`, `bpp` (bits per pixel of
        the whole file, without the padding of a mosaic), `exact` (every sample came back as it was), `encode_s` and
        `decode_s` (wall seconds, without building and cutting the mosaic).

    Raises:
        InputError: for unknown names and settings, and for sets that cannot be read or coded.
    """
    entrants = [_entrant(text) for text in codecs]
    sources = named([Path(path) for path in paths])
    sets = {name: ImageSet.open(path) for name, path in sources.items()}
    total = len(sets) * sum(len(codec.settings) for codec in entrants)
    records: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory(prefix="fewbits-eval-") as folder:
        for name, images in sets.items():
            for codec in entrants:
                _warm_up(codec, images, effort)
                for setting in codec.settings:
                    progress(len(records) / total, f"{codec.name} {name}")
                    record = {"file": name, "codec": codec.name, "setting": setting, "images": images.count}
                    measure = partial(_measure, codec, setting, images, effort, Path(folder))
                    records.append(ledger.record(sources[name], record, measure))
    progress(1, "done")
    return {"environment": describe_environment() | {"effort": effort}, "records": records}


def mosaic(images: ImageSet) -> Image:
    """One picture of all images, row by row in a grid as square as possible; places without an image are 0."""
    count, height, width, channels = images.samples.shape
    rows, columns = _grid(count)
    places = np.zeros((rows * columns, height, width, channels), np.uint8)
    places[:count] = images.samples
    pixels = places.reshape(rows, columns, height, width, channels).swapaxes(1, 2)
    return Image(pixels.reshape(rows * height, columns * width, channels))


def cut(picture: Image, shape: tuple[int, ...]) -> np.ndarray:
    """The images of a mosaic.

    Args:
        shape: (N, H, W, C) of the set that the mosaic was made of.

    Returns:
        (N, H, W, channels of the picture): WebP, for one, gives RGB for grey.

    Raises:
        FewbitsError: if the picture has another size than the mosaic.
    """
    count, height, width, _ = shape
    rows, columns = _grid(count)
    if (picture.height, picture.width) != (rows * height, columns * width):
        raise FewbitsError(f"{picture.width} x {picture.height} pixels came back of a mosaic of {columns * width} x "
                           f"{rows * height}.")
    places = picture.pixels.reshape(rows, height, columns, width, picture.channels).swapaxes(1, 2)
    return places.reshape(-1, height, width, picture.channels)[:count]


def _grid(count: int) -> tuple[int, int]:
    """Rows and columns of a mosaic."""
    columns = math.isqrt(count - 1) + 1
    return -(-count // columns), columns


def _entrant(text: str) -> SetContender:
    """The codec, with its settings, of `NAME` or `NAME@SETTING,SETTING...`; raises `InputError`."""
    name, at, _ = text.partition("@")
    if name not in names():
        name, settings = parse_codec(text)
        picture_codec = contender(name)
        return _in_mosaics(picture_codec, settings or picture_codec.settings)
    if at:
        raise InputError(f"{name} has no setting to choose: write --codec {name} alone.")
    return _XZ if name == _XZ.name else _from_registry(name)


def _in_mosaics(codec: Contender[Image], settings: Sequence[float]) -> SetContender:
    """A codec for pictures."""
    def encode(picture: Image, setting: float, effort: int) -> bytes:
        return codec.encode(picture, setting, effort)[0]

    return SetContender(codec.name, codec.suffix, settings, mosaic, encode, codec.decode, cut)


def _from_registry(name: str) -> SetContender:
    """A codec of fewbits for sets."""
    def encode(images: ImageSet, setting: None, effort: int) -> bytes:
        # whoever evaluates decodes and compares anyway
        return files.encode(images, name, Target(effort=effort, verify=False)).data

    return SetContender(name, ".fwb", [None], lambda images: images, encode, lambda data: files.decode(data).media,
                        lambda images, _: images.samples)


_XZ = SetContender(
    "xz", ".xz", [None],
    arrange=lambda images: images.samples.tobytes(),  # one image after the other
    encode=lambda samples, setting, effort: lzma.compress(samples, preset=9 | lzma.PRESET_EXTREME),
    decode=lzma.decompress,
    restore=lambda samples, shape: np.frombuffer(samples, np.uint8).reshape(shape),
)


def _warm_up(codec: SetContender, images: ImageSet, effort: int) -> None:
    """Codes some images, so that imports, weights (they may differ from set to set) and compilation do not count."""
    some = ImageSet(images.samples[:_WARM_UP_IMAGES])
    codec.decode(codec.encode(codec.arrange(some), codec.settings[0], effort))


def _measure(codec: SetContender, setting: float | None, images: ImageSet, effort: int,
             folder: Path) -> dict[str, object]:
    """One record, without what names it."""
    arranged, file = codec.arrange(images), folder / f"coded{codec.suffix}"
    decoded, record = there_and_back(lambda: codec.encode(arranged, setting, effort), codec.decode, file)
    return {
        **record,
        "bpp": 8 * record["bytes"] / images.pixel_count,
        "exact": _same(codec.restore(decoded, images.samples.shape), images.samples),
    }


def _same(restored: np.ndarray, samples: np.ndarray) -> bool:
    """Whether samples (N, H, W, C) came back; grey may come back as RGB with three equal channels."""
    if restored.shape[:3] != samples.shape[:3]:
        return False
    return bool((restored == samples).all())
