"""The `circuit-tree` codec: sets of small images to streams and back, block by block, without loss."""

import math
import os
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Self, TypeVar

import numpy as np

from fewbits.codecs.circuit.circuit import Circuit
from fewbits.codecs.codec import Progress, Stream, Target, no_progress
from fewbits.codecs.image_set import ImageSet, ImageSetCodec
from fewbits.codecs.media import Image
from fewbits.codecs.weights import identity_of
from fewbits.entropy.words import words_from_bytes, words_to_bytes
from fewbits.errors import DamagedError, InputError, WeightsError
from fewbits.kernels import adaptive_rans, tree_circuit
from fewbits.kernels.tree_circuit import TreeCircuit

WEIGHTS = Path(__file__).parent / "weights"
BLOCK = 128  # images of a section
CHECK_BYTES = 4
TRIED = 16  # images that a circuit is chosen by

Result = TypeVar("Result")


class CircuitTreeCodec(ImageSetCodec):
    """Lossless codec for sets of images of the shape that a circuit was trained for.

    Args:
        device: not used; coding runs on the CPU alone.
        weights: the file of a circuit; None for an instance that leaves the choice to `for_media` and `for_weights`.
    """

    name, kind, family, lossless = "circuit-tree", "images", "circuit", True

    def __init__(self, device: str = "cpu", weights: Path | None = None) -> None:
        self._chosen = weights

    @property
    def _weights(self) -> Path:
        if self._chosen is None:
            raise WeightsError("circuit-tree has several sets of weights, and none of them was chosen.")
        return self._chosen

    @cached_property
    def weights_id(self) -> bytes:
        return identity_of(self._weights)

    def for_media(self, media: ImageSet, target: Target) -> Self:
        """The circuit that codes some of the images in the fewest bits; see `Codec.for_media`."""
        if self._chosen is not None:
            return self
        fitting = [path for path in _installed() if _shape_of(path) == media.samples.shape[1:]]
        if not fitting:
            shapes = {"{1} x {0} x {2}".format(*_shape_of(path)) for path in _installed()}
            raise InputError(f"circuit-tree has no circuit for images of {media.width} x {media.height} x "
                             f"{media.channels} samples (there are: {', '.join(sorted(shapes)) or 'none'}): train one "
                             "on such images with `fewbits train circuit-tree`.")
        some = media.samples[np.linspace(0, media.count - 1, min(TRIED, media.count)).astype(int)]
        bits = [circuit_bits(some, _circuit(path)) for path in fitting]
        return type(self)(weights=fitting[int(np.argmin(bits))])

    def for_weights(self, identity: bytes) -> Self:
        """The circuit with an identity; see `Codec.for_weights`."""
        if self._chosen is not None:
            return super().for_weights(identity)
        for path in _installed():
            if identity_of(path) == identity:
                return type(self)(weights=path)
        raise WeightsError(f"The file was made with the circuit {identity.hex()}, which is not installed: copy its "
                           f"weights file to {WEIGHTS}, or install the release of fewbits that made the file, or "
                           "a later one.")

    def encode(self, media: ImageSet, target: Target = Target(), progress: Progress = no_progress) -> Stream:
        """Codes a set of images; see `Codec.encode`. Raises `InputError` for images of another shape."""
        if media.samples.shape[1:] != _shape_of(self._weights):
            raise InputError(f"The circuit is not for images of {media.width} x {media.height} x {media.channels}.")

        def one(begin: int) -> tuple[bytes, float]:
            return self._section(media.samples[begin : begin + BLOCK])

        blocks = _in_threads(one, range(0, media.count, BLOCK), progress, "coding")
        return Stream({}, [section for section, _ in blocks], sum(bits for _, bits in blocks))

    def decode(self, stream: Stream, shape: dict[str, int], progress: Progress = no_progress) -> ImageSet:
        """Decodes a set of images; see `Codec.decode`. The images of a damaged block are black."""
        counts = self._counts(stream, shape)

        def one(number: int) -> np.ndarray:
            section = stream.sections[number]
            if section is None:
                return np.zeros((counts[number], *_shape_of(self._weights)), np.uint8)
            return self._block(section, counts[number])

        return ImageSet(np.concatenate(_in_threads(one, range(len(counts)), progress, "decoding")))

    def decode_one(self, stream: Stream, shape: dict[str, int], number: int) -> Image:
        """Decodes one image, with the block that it is in; see `ImageSetCodec.decode_one`."""
        counts = self._counts(stream, shape)
        section = stream.sections[number // BLOCK]
        if section is None:
            raise DamagedError(f"The section with image {number} is damaged.")
        return Image(self._block(section, counts[number // BLOCK])[number % BLOCK])

    def _counts(self, stream: Stream, shape: dict[str, int]) -> list[int]:
        """Images of each section. Raises `DamagedError` if the header does not agree with the circuit or the file."""
        if _shape_of(self._weights) != (shape["height"], shape["width"], shape["channels"]):
            raise DamagedError(f"The circuit of the file is not for images of {shape['width']} x {shape['height']} x "
                               f"{shape['channels']}.")
        needed = -(-shape["count"] // BLOCK)
        if len(stream.sections) != needed:
            raise DamagedError(f"The images need {needed} sections, the file has {len(stream.sections)}.")
        return [min(BLOCK, shape["count"] - begin) for begin in range(0, shape["count"], BLOCK)]

    def _section(self, images: np.ndarray) -> tuple[bytes, float]:
        """The section of a block (count, H, W, C), and its ideal bits. What the circuit does not suit is stored."""
        samples = np.ascontiguousarray(images).reshape(len(images), -1)
        words, bits = tree_circuit.encode(samples, _circuit(self._weights))
        content = words_to_bytes(words)
        if len(content) >= samples.size:
            content, bits = samples.tobytes(), 8.0 * samples.size
        return zlib.crc32(samples.data).to_bytes(CHECK_BYTES, "little") + content, bits

    def _block(self, section: bytes, count: int) -> np.ndarray:
        """Images (count, H, W, C) of a section."""
        shape, content = (count, *_shape_of(self._weights)), section[CHECK_BYTES:]
        if len(content) == math.prod(shape):
            samples = np.frombuffer(content, np.uint8).copy()
        else:
            samples = tree_circuit.decode(words_from_bytes(content), count, _circuit(self._weights))
        if zlib.crc32(samples.data) != int.from_bytes(section[:CHECK_BYTES], "little"):
            raise DamagedError("The section is damaged: its images have another checksum than it says.")
        return samples.reshape(shape)


def _installed() -> list[Path]:
    return sorted(WEIGHTS.glob("*.safetensors"))


@lru_cache(maxsize=4)
def _load(path: Path) -> tuple[tuple[int, int, int], TreeCircuit]:
    """The shape of images and the circuit of a weights file; kept, for blocks and files follow one another."""
    circuit = Circuit.load(path)
    return circuit.shape, circuit.compiled()


def _shape_of(path: Path) -> tuple[int, int, int]:
    return _load(path)[0]


def _circuit(path: Path) -> TreeCircuit:
    return _load(path)[1]


def circuit_bits(samples: np.ndarray, circuit: TreeCircuit) -> float:
    """Ideal bits of images (N, H, W, C) with the tables of the coder."""
    return adaptive_rans.bits_of(tree_circuit.intervals(samples.reshape(len(samples), -1), circuit))


def _in_threads(work: Callable[[int], Result], numbers: Sequence[int], progress: Progress, what: str
                ) -> list[Result]:
    """What comes of all numbers, in their order; the compiled loops let threads run side by side."""
    results = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for done, result in enumerate(pool.map(work, numbers)):
            results.append(result)
            progress((done + 1) / len(numbers), what)
    return results
