"""The contract of a codec, and what passes through it."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Generic, Self, TypeVar

from fewbits.errors import InputError, WeightsError

if TYPE_CHECKING:  # slow to import for those who only list codecs
    import numpy as np

Progress = Callable[[float, str], None]
"""Called with the share done (0 to 1) and what is being done. May raise to interrupt the work."""

TUNINGS = ("psnr", "msssim")


def no_progress(share: float, what: str) -> None:
    """The progress callback for those who do not watch."""


def between(progress: Progress, low: float, high: float, name: str = "") -> Progress:
    """The callback for the work between two shares of the whole, which says `name` before all that is being done."""
    return lambda share, what: progress((1 - share) * low + share * high, f"{name}: {what}" if name else what)


def part_of(progress: Progress, number: int, count: int, name: str) -> Progress:
    """The callback for item `number` of `count`, as a part of the whole's progress."""
    return between(progress, number / count, (number + 1) / count, name)


@dataclass(frozen=True)
class Target:
    """What the encoder should aim at: at most one of the aims, and how hard to try.

    Attributes:
        quality: 0 (smallest file) to 100 (best).
        bits_per_pixel, kbps, size: rate aims: of pictures and films, of sounds and films in 1000 bits for each second,
            and of the whole file in bytes. A codec is asked for a size alone, and that is of its sections, counted as
            `fewbits.entropy.container.size_of_sections` does.
        psnr: distortion aim in dB, of pictures and films.
        effort: 1 (fastest) to 9 (slowest).
        progressive: that the beginning of the file is the whole at a lower quality; see
            `fewbits.codecs.progressive.ProgressiveCodec`.
        tune: what the picture is coded for, "psnr" or "msssim", which `fewbits.codecs.files.encode` refuses for codecs
            that cannot be tuned, as it does with checkpoints and levels. An aim of PSNR stays one.
        keep_best: on Ctrl-C (`KeyboardInterrupt`), end with what there is so far, where a codec searches for long
            and can; otherwise the interrupt goes on to the caller.
        checkpoint: a file in which a codec that fits for long keeps the state of its fit, every minute, and from which
            it goes on where there is one; it stays when all is done.
        verify: whether `fewbits.codecs.files.encode` decodes what a lossless codec made and compares.
    """

    quality: float | None = None
    bits_per_pixel: float | None = None
    kbps: float | None = None
    size: int | None = None
    psnr: float | None = None
    effort: int = 5
    progressive: bool = False
    tune: str = "psnr"
    keep_best: bool = False
    checkpoint: Path | None = None
    verify: bool = True

    def __post_init__(self) -> None:
        if sum(aim is not None for aim in self._aims) > 1:
            raise InputError("Give only one of quality, bits per pixel, kbit/s, size and PSNR.")
        if self.quality is not None and not 0 <= self.quality <= 100:
            raise InputError(f"Quality goes from 0 to 100, not {self.quality:g}.")
        for name in ("bits_per_pixel", "kbps", "size", "psnr"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise InputError(f"The target {name.replace('_', ' ')} must be above 0, not {value:g}.")
        if self.effort not in range(1, 10):
            raise InputError(f"Effort goes from 1 to 9, not {self.effort}.")
        if self.tune not in TUNINGS:
            raise InputError(f"A picture can be tuned for {' or '.join(TUNINGS)}, not {self.tune}.")

    @property
    def _aims(self) -> tuple[float | None, ...]:
        return self.quality, self.bits_per_pixel, self.kbps, self.size, self.psnr

    @property
    def has_aim(self) -> bool:
        """Whether there is an aim of quality, rate or distortion."""
        return any(aim is not None for aim in self._aims)


@dataclass(frozen=True)
class Stream:
    """What a codec makes of media: values for the header fields that it declares, and sections of bytes.

    Attributes:
        settings: name -> value, for exactly the fields in the codec's `SETTINGS`.
        sections: one entry per independently decodable part, in the codec's own order. On decoding, None stands for
            a damaged section whose loss the caller has accepted.
        estimate_bits: the model's own estimate of the sections' size (encoder only).
        notices: sentences for the user, such as a target that could not be met (encoder only).
    """

    settings: dict[str, int]
    sections: list[bytes | None]
    estimate_bits: float | None = None
    notices: tuple[str, ...] = field(default=())


MediaT = TypeVar("MediaT")


class Codec(ABC, Generic[MediaT]):
    """One configured model. Instances are cheap to make; weights load at first use."""

    name: ClassVar[str]
    kind: ClassVar[str]  # "image", "video", "audio" or "images" (a set of images)
    family: ClassVar[str]  # "overfitted", "vector-quantised", "hierarchical" or "circuit"
    lossless: ClassVar[bool]
    keeps_checkpoints: ClassVar[bool] = False  # whether encoding can go on from `Target.checkpoint`

    @property
    @abstractmethod
    def weights_id(self) -> bytes:
        """First 8 bytes of the SHA-256 of the weights file; empty where weights travel in the stream."""

    def for_media(self, media: MediaT, target: Target) -> Self:
        """The instance to encode media with: this one, unless the codec has several sets of weights.

        Raises:
            InputError: if none of them is for such media.
        """
        return self

    def for_weights(self, identity: bytes) -> Self:
        """The instance to decode a file with. Raises `WeightsError` if the weights are not installed."""
        if identity != self.weights_id:
            made_with, installed = (f"weights {x.hex()}" if x else "no weights" for x in (identity, self.weights_id))
            raise WeightsError(f"The file was made with {made_with} of {self.name}; installed are {installed}: "
                               "install the release of fewbits that made it, or a later one.")
        return self

    @abstractmethod
    def encode(self, media: MediaT, target: Target, progress: Progress = no_progress) -> Stream:
        """Codes media. Raises `InputError` for media that this codec cannot take."""

    @abstractmethod
    def decode(self, stream: Stream, shape: dict[str, int], progress: Progress = no_progress) -> MediaT:
        """Decodes. Raises `StreamError` where the stream is wrong.

        Args:
            shape: what the file's header says of the media, by name; see `fewbits.codecs.kinds.shape_of`.
        """

    def bits_by_place(self, stream: Stream, shape: dict[str, int]) -> "tuple[int, np.ndarray] | None":
        """Where in a picture the bits of a stream went; None where the codec cannot tell. Arguments as of `decode`.

        Returns:
            The side of a square cell in pixels, and the bits of each: (ceil(H / side), ceil(W / side)) float64.

        Raises:
            StreamError: where the stream is wrong.
        """
        return None
