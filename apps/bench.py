"""The benchmark: speed of the entropy layer and of the codecs, each beside a rival in the same run."""

import dataclasses
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from rich.table import Table

from fewbits.apps import samples
from fewbits.codecs import registry
from fewbits.codecs.codec import Progress, no_progress
from fewbits.codecs.media import Image
from fewbits.entropy.benchmark import entropy_benchmark
from fewbits.eval.contenders import contender
from fewbits.eval.environment import describe_environment

WIDTH, HEIGHT = 768, 512  # the size of the Kodak photos
SETTING, EFFORT = 50, 1  # for some codecs more effort takes hours; the setting of lossless ones is the effort
RIVALS = ("avif", "jpeg")
REPEATS = 5


@dataclass(frozen=True)
class CodecSpeed:
    """How fast a codec is on a photo of 768 x 512 pixels.

    Attributes:
        codec, setting: what was measured.
        size: bytes of the file.
        first_s: seconds of the first encoding and decoding of the process, in which weights load.
        encode_s, decode_s: median seconds after that.
    """

    codec: str
    setting: int
    size: int
    first_s: float
    encode_s: float
    decode_s: float


def run(progress: Progress = no_progress) -> dict[str, Any]:
    """All measurements: `{"environment": {...}, "entropy": [{...}, ...], "codecs": [{...}, ...]}`.

    Raises:
        InputError: if the photo is missing. WeightsError: if the weights of a codec are missing.
    """
    progress(0.0, "entropy layer")
    entropy = [dataclasses.asdict(record) for record in entropy_benchmark()]
    photo = _middle(samples.photo(samples.STILL))
    names = [*registry.names("image"), *RIVALS]
    speeds = []
    for number, name in enumerate(names):
        progress(0.5 + 0.5 * number / len(names), name)
        speeds.append(dataclasses.asdict(codec_speed(name, photo)))
    return {"environment": describe_environment(), "entropy": entropy, "codecs": speeds}


def codec_speed(name: str, photo: Image) -> CodecSpeed:
    """Times a codec of fewbits or a classical one."""
    codec = contender(name)
    setting = SETTING if SETTING <= codec.high else EFFORT
    began = time.perf_counter()
    data, _ = codec.encode(photo, setting, EFFORT)
    codec.decode(data)
    first_s = time.perf_counter() - began
    encode_s = _median_seconds(lambda: codec.encode(photo, setting, EFFORT))
    decode_s = _median_seconds(lambda: codec.decode(data))
    return CodecSpeed(name, setting, len(data), first_s, encode_s, decode_s)


def _median_seconds(work: Callable[[], object]) -> float:
    seconds = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds)


def _middle(photo: Image) -> Image:
    top, left = (photo.height - HEIGHT) // 2, (photo.width - WIDTH) // 2
    return Image(np.ascontiguousarray(photo.pixels[top : top + HEIGHT, left : left + WIDTH]))


def tables(results: dict[str, Any]) -> list[Table]:
    """The measurements for people to read."""
    entropy = Table(title="Entropy coding, on one core")
    entropy.add_column("coder")
    for heading in ("encode Msym/s", "decode Msym/s", "overhead %"):
        entropy.add_column(heading, justify="right")
    for record in results["entropy"]:
        speeds = (f"{record[name] / 1e6:.1f}" for name in ("encode_per_s", "decode_per_s"))
        entropy.add_row(record["name"], *speeds, f"{record['overhead_percent']:.4f}")

    codecs = Table(title=f"Codecs, on a photo of {WIDTH} x {HEIGHT} pixels")
    codecs.add_column("codec", no_wrap=True)
    for heading in ("setting", "bytes", "first run s", "encode s", "decode s"):
        codecs.add_column(heading, justify="right")
    for speed in results["codecs"]:
        seconds = (f"{speed[name]:.3f}" for name in ("first_s", "encode_s", "decode_s"))
        codecs.add_row(speed["codec"], str(speed["setting"]), f"{speed['size']:,}", *seconds)
    return [entropy, codecs]
