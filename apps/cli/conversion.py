"""One file encoded or decoded, the same for every command that does so. Conversions can go to other processes."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fewbits.apps.cli import paths
from fewbits.codecs.codec import Progress, Target
from fewbits.entropy.container import kind_of_start
from fewbits.errors import DamagedSectionsError, InputError

if TYPE_CHECKING:
    from fewbits.codecs.files import CodedSound, CodedVideo, Decoded, Encoded
    from fewbits.codecs.kinds import Media, MediaSource
    from fewbits.codecs.sound_source import SoundSource
    from fewbits.codecs.video_source import VideoSource


@dataclass(frozen=True)
class Outcome:
    """What came of a file.

    Attributes:
        kind: of the media, one of `fewbits.entropy.container.KINDS`.
        size: bytes of the `.fwb` file.
        rate: as `fewbits.codecs.kinds.rate_of` gives it.
        notices: sentences for the user.
        details: of an encoded file, for `--json`: the codec, the media's shape, the settings and the time taken.
    """

    kind: str
    size: int
    rate: dict[str, float]
    notices: tuple[str, ...]
    details: dict[str, Any] = field(default_factory=dict)


Conversion = Callable[[paths.Job, bool, Progress], Outcome]
"""Called with what to read and write, whether to overwrite, and a progress callback; raises `FewbitsError`."""


@dataclass(frozen=True)
class Encoding:
    """Media to a `.fwb` file; see `fewbits.codecs.sources.open_for` and `fewbits.codecs.files.encode`."""

    codec: str | None
    target: Target
    audio: str | None
    device: str
    weights: Path | None
    max_pixels: int | None
    max_samples: int | None

    def __call__(self, job: paths.Job, overwrite: bool, progress: Progress) -> Outcome:
        from fewbits.codecs import files, sources
        from fewbits.codecs.sound import MAX_SAMPLES

        with sources.seekable(job.source or paths.standard_input()) as source:
            media, name = sources.open_for(source, self.codec, self.max_pixels, self.max_samples or MAX_SAMPLES)
            began = time.perf_counter()
            encoded = files.encode(media, name, self.target, audio=self.audio, device=self.device,
                                   weights=self.weights, progress=progress)
            seconds = time.perf_counter() - began
        if job.output is None:
            paths.standard_output().write(encoded.data)
        else:
            with paths.whole_or_absent(job.output, overwrite) as temporary:
                temporary.write_bytes(encoded.data)
        return _outcome_of_encoding(name, media, encoded, seconds)


def _outcome_of_encoding(codec: str, media: "MediaSource", encoded: "Encoded", seconds: float) -> Outcome:
    from fewbits.codecs import kinds

    kind, size = kinds.kind_of(media), len(encoded.data)
    rate = kinds.rate_of(kind, kinds.fields_of(media), size)
    named = rate if kind in ("audio", "video") else {"bpp": rate["bits_per_pixel"]}
    details = {"codec": codec, **_shape(media), **named, "bytes": size, "estimate_bits": encoded.estimate_bits,
               "settings": encoded.settings, "encode_s": seconds}
    return Outcome(kind, size, rate, tuple(encoded.notices), details)


def _shape(media: "MediaSource") -> dict[str, int]:
    """How large media are, as `--json` says it."""
    from fewbits.codecs.sound_source import SoundSource
    from fewbits.codecs.video_source import VideoSource

    if isinstance(media, SoundSource):
        return {"rate": media.rate, "channels": media.channels, "samples": media.count}
    if isinstance(media, VideoSource):
        return {"width": media.width, "height": media.height, "frames": media.count}
    return {"width": media.width, "height": media.height, "pixels": media.pixel_count}


@dataclass(frozen=True)
class Decoding:
    """A `.fwb` file to media: all of them, of a set the image `only`, of a film the `frames` A:B at `fps`, of what is
    coded in levels the first `levels`; what is lost is guessed where `conceal` says so."""

    allow_damage: bool
    weights: Path | None
    max_pixels: int | None
    max_samples: int | None
    only: int | None = None
    frames: str | None = None
    fps: str | None = None
    levels: int | None = None
    conceal: bool = False

    def __call__(self, job: paths.Job, overwrite: bool, progress: Progress) -> Outcome:
        from fewbits.codecs import files, kinds

        data = paths.read_bytes(job.source)
        kind = kind_of_start(data)
        pixels, samples = _limits(kind, self.max_pixels, self.max_samples)
        if kind != "video" and (self.frames, self.fps) != (None, None):
            raise InputError(f"{job.source_name} holds no film, of which frames could be chosen.")
        if kind not in (None, "image") and self.levels is not None:
            raise InputError(f"{job.source_name} holds no picture, of which levels could be decoded.")
        if kind not in (None, "image") and self.conceal:
            raise InputError(f"{job.source_name} holds no picture, and what others have lost cannot be guessed.")
        refuse_weights(self.weights, kind, job.source_name)
        if self.only is not None:
            image = files.decode_one(data, self.only, max_pixels=pixels)
            return Outcome("images", len(data), {}, _write(image, job, overwrite))
        try:
            made = self._made(data, kind, pixels, samples, progress)
        except DamagedSectionsError as error:
            raise DamagedSectionsError(f"{error} The option for that is --allow-damage.") from None
        media, notices = self._chosen(made)
        notices += _write(media, job, overwrite) + _damage(made)
        kind = kinds.kind_of(media)
        return Outcome(kind, len(data), kinds.rate_of(kind, kinds.fields_of(media), len(data)), notices)

    def _made(self, data: bytes, kind: str | None, pixels: int, samples: int,
              progress: Progress) -> "CodedSound | CodedVideo | Decoded":
        """What a file of a kind decodes to: sounds and films are decoded while they are written."""
        from fewbits.codecs import files

        if kind == "audio":
            return files.CodedSound(data, allow_damage=self.allow_damage, max_samples=samples, progress=progress)
        if kind == "video":
            return files.CodedVideo(data, allow_damage=self.allow_damage, max_pixels=pixels, progress=progress)
        return files.decode(data, allow_damage=self.allow_damage, conceal=self.conceal, levels=self.levels,
                            max_pixels=pixels, weights=self.weights, progress=progress)

    def _chosen(self, made: "CodedSound | CodedVideo | Decoded"
                ) -> "tuple[Media | SoundSource | VideoSource, tuple[str, ...]]":
        """The media, of a film the frames that the user asks for, and notices.

        Raises:
            InputError: for what cannot be asked for.
        """
        from fewbits.codecs.files import CodedVideo, Decoded

        if isinstance(made, Decoded):
            return made.media, ()
        if not isinstance(made, CodedVideo) or (self.frames, self.fps) == (None, None):
            return made, ()
        start, stop = (None, None) if self.frames is None else _span(self.frames)
        try:
            rate = None if self.fps is None else Fraction(self.fps)
        except (ValueError, ZeroDivisionError):
            raise InputError(f"--fps takes a number such as 25, 29.97 or 30000/1001, not {self.fps}.") from None
        part = made.part(start or 0, stop, rate)
        left_out = made.sound and not part.sound
        return part, ("The sound is left out: it belongs to the whole film.",) if left_out else ()


def _damage(made: "CodedSound | CodedVideo | Decoded") -> tuple[str, ...]:
    """What of a damaged file is not there, in words."""
    from fewbits.codecs.files import Decoded

    if not made.damaged:
        return ()
    count = f"{len(made.damaged)} of {made.sections} sections are damaged"
    if isinstance(made, Decoded) and made.concealed:
        return (f"{count}; what they held is guessed.",)
    if not isinstance(made, Decoded) or made.levels is None:
        return (f"{count} and blank.",)
    least, most = made.levels
    shown = str(least) if least == most else f"{least} to {most}"
    further = f", and {len(made.lost)} more cannot be shown without them" if made.lost else ""
    return (f"{count} or missing{further}; levels shown: {shown}.",)


def refuse_weights(weights: Path | None, kind: str | None, name: str) -> None:
    """Raises `InputError` where weights are given for a file of a kind that has no codec that takes them."""
    if weights is not None and kind not in (None, "image"):
        raise InputError(f"{name} holds no picture, for which weights could be given.")


def _limits(kind: str | None, max_pixels: int | None, max_samples: int | None) -> tuple[int, int]:
    """The limits for pixels and samples of media of a kind; where none is given, that of the house."""
    from fewbits.codecs.film import MAX_VIDEO_PIXELS
    from fewbits.codecs.media import MAX_PIXELS
    from fewbits.codecs.sound import MAX_SAMPLES

    return max_pixels or (MAX_VIDEO_PIXELS if kind == "video" else MAX_PIXELS), max_samples or MAX_SAMPLES


def _span(text: str) -> tuple[int | None, int | None]:
    """A and B of A:B; either may be missing."""
    first, colon, last = text.partition(":")
    if not colon or any(end and not (end.isascii() and end.isdecimal()) for end in (first, last)):
        raise InputError(f"--frames takes A:B, counted from 0 and without B, not {text}.")
    return int(first) if first else None, int(last) if last else None


def _write(media: "Media | SoundSource | VideoSource", job: paths.Job, overwrite: bool) -> tuple[str, ...]:
    """To a file or folder, or as PNG, WAV, Matroska or idx to the standard output. Gives notices."""
    from fewbits.codecs.image_set import ImageSet
    from fewbits.codecs.media import Image
    from fewbits.codecs.video_source import VideoSource

    if job.output is not None:
        with paths.whole_or_absent(job.output, overwrite) as temporary:
            return tuple(media.save(temporary) or ())
    if isinstance(media, VideoSource):
        media.save(paths.standard_output(), ".mkv")
    elif isinstance(media, ImageSet):
        paths.standard_output().write(media.to_idx())
    elif isinstance(media, Image):
        buffer = BytesIO()
        media.save(buffer, format="PNG")
        paths.standard_output().write(buffer.getvalue())
    else:
        media.write_wav(paths.standard_output())
    return ()


def with_usual_name(job: paths.Job, only: int | None = None) -> paths.Job:
    """With the default place for what the file holds, instead of that for a picture."""
    kind = paths.kind_in(job.source)
    if job.output is None or kind not in ("images", "audio", "video"):
        return job
    if kind != "images":
        return paths.Job(job.source, job.output.with_suffix(".wav" if kind == "audio" else ".mkv"))
    ending = "-decoded" if only is None else f"-{only}.png"
    return paths.Job(job.source, job.output.with_name(job.output.stem + ending))


def rate_in_words(kind: str, rate: dict[str, float]) -> str:
    """A rate, as `Outcome` has it, for people."""
    if kind == "audio":
        return f"{rate['kbps']:.2f} kbit/s"
    in_pixels = f"{rate['bits_per_pixel']:.3f} bits per pixel"
    return f"{rate['kbps']:.1f} kbit/s, {in_pixels}" if kind == "video" else in_pixels
