"""Media to the bytes of a `.fwb` file and back: registry and container put together."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from fewbits.codecs import kinds, registry
from fewbits.codecs.codec import Codec, Progress, Stream, Target, between, no_progress
from fewbits.codecs.concealment import ConcealingCodec
from fewbits.codecs.film import MAX_VIDEO_PIXELS, Positions, Video, VideoCodec, colour_in, rate_in
from fewbits.codecs.image_set import ImageSetCodec
from fewbits.codecs.kinds import Media, MediaSource
from fewbits.codecs.media import MAX_PIXELS, Image
from fewbits.codecs.progressive import ProgressiveCodec, check_levels, shown_and_lost
from fewbits.codecs.sound import MAX_SAMPLES, Audio, SoundCodec
from fewbits.codecs.sound_source import SoundSource
from fewbits.codecs.sound_track import CopiedSound, SoundTrack
from fewbits.codecs.video_source import VideoSource, check_rate
from fewbits.entropy import container
from fewbits.entropy.deflate import deflate, inflate
from fewbits.errors import DamagedError, DamagedSectionsError, FewbitsError, InputError, StreamError

MAX_EXTRA = 1 << 24  # bytes of a colour profile, and of EXIF
_EXTRAS = (("profile", "icc_profile", "colour profile"), ("exif", "exif", "EXIF"))  # their flag, name and words
COPY, NO_SOUND = "copy", "none"  # what becomes of the sound of a film, where it is not coded


@dataclass(frozen=True)
class Encoded:
    """A finished file.

    Attributes:
        data: its bytes.
        estimate_bits: the model's own estimate of its size, without header and checksums.
        notices: sentences for the user.
        settings: the codec's header fields.
    """

    data: bytes
    estimate_bits: float | None
    notices: tuple[str, ...]
    settings: dict[str, int]


@dataclass(frozen=True)
class Decoded:
    """A decoded file.

    Attributes:
        media: the picture, the set of images, the sound or the film.
        damaged: numbers of the sections that were damaged and left out, among those that were to be decoded.
        sections: how many sections the file has.
        levels: of a progressive file, how many levels its parts show: the least and the most.
        lost: numbers of the sections that are intact and were left out, as levels before them are damaged.
        concealed: whether the codec has put guesses in the place of damaged sections.
    """

    media: Media
    damaged: list[int]
    sections: int
    levels: tuple[int, int] | None = None
    lost: list[int] = field(default_factory=list)
    concealed: bool = False

    @property
    def image(self) -> Image:
        """The picture. Raises `InputError` if the file holds something else."""
        if not isinstance(self.media, Image):
            raise InputError(f"The file holds {self._in_words}, not one picture.")
        return self.media

    @property
    def audio(self) -> Audio:
        """The sound. Raises `InputError` if the file holds something else."""
        if not isinstance(self.media, Audio):
            raise InputError(f"The file holds {self._in_words}, not sound.")
        return self.media

    @property
    def video(self) -> Video:
        """The film. Raises `InputError` if the file holds something else."""
        if not isinstance(self.media, Video):
            raise InputError(f"The file holds {self._in_words}, not a film.")
        return self.media

    @property
    def _in_words(self) -> str:
        return kinds.in_words(self.media)


def encode(media: MediaSource, codec: str | None = None, target: Target = Target(), *, audio: str | None = None,
           device: str = "cpu", weights: Path | None = None, progress: Progress = no_progress) -> Encoded:
    """Codes media into a file. What a lossless codec has made is decoded and compared, unless the target says no.

    Sounds and films are read while they are coded, several times where a rate is aimed at.

    Args:
        codec: its name; None for the usual codec of the media's kind.
        audio: of films, what becomes of the sound: "copy" (as it is; also None), "none", or the name of a codec.
        weights: a weights file, for codecs that take one of the user's.

    Raises:
        InputError: for unknown codecs, media that the codec cannot take, aims that it or they cannot have, and sounds
            and films that cannot be read.
        WeightsError: if the codec's weights are missing.
        FewbitsError: if a lossless codec does not give the media back.
    """
    entry = registry.entry(codec or registry.default(kinds.kind_of(media)))
    kinds.check_fit(entry.name, entry.kind, kinds.kind_of(media))
    if entry.lossless and target.has_aim:
        raise InputError(f"The codec {entry.name} is lossless: leave out quality, size and PSNR, which cannot be "
                         "chosen.")
    kinds.check_target(target, entry.kind)
    if audio is not None and entry.kind != "video":
        raise InputError(f"What becomes of the sound can be chosen for films, not for {kinds.in_words(media)}.")
    verify = entry.lossless and target.verify
    instance = registry.create(entry.name, device, weights).for_media(media, target)
    if target.checkpoint is not None and not instance.keeps_checkpoints:
        raise InputError(f"The codec {entry.name} keeps no checkpoints: leave that out.")
    if target.progressive and entry.levels == 1:
        raise InputError(f"The codec {entry.name} makes no progressive files: leave that out.")
    if target.tune != Target.tune and not entry.tunable:
        raise InputError(f"The codec {entry.name} cannot be tuned for {target.tune}: leave that out.")
    extras, said = _extra_sections(media, audio, device)

    def file_of(settings: dict[str, int], sections: list[bytes]) -> bytes:
        fields = kinds.fields_of(media, sound=bool(extras))
        header = container.Header(entry.number, entry.kind, instance.weights_id, fields, settings)
        return container.write(header, entry.settings, extras + sections)

    overhead = len(file_of({f.name: f.low for f in entry.settings}, [b""]))
    aim = _section_target(target, media, overhead)
    stream = instance.encode(media, aim, between(progress, 0, 0.5) if verify else progress)
    data = file_of(stream.settings, [s for s in stream.sections if s is not None])
    if verify:
        _verify(data, media, device, between(progress, 0.5, 1, "checking"))
    return Encoded(data, stream.estimate_bits, media.notices + said + stream.notices, stream.settings)


def _extra_sections(media: MediaSource, audio: str | None, device: str) -> tuple[list[bytes], tuple[str, ...]]:
    """The sections of a picture's colour profile and EXIF, or of a film's sound, and sentences for the user."""
    if isinstance(media, VideoSource):
        track, notices = _track(media, audio or COPY, device)
        return ([track.data] if track else []), notices
    if isinstance(media, Image):
        return [_extra_section(getattr(media, name), what) for _, name, what in _EXTRAS if getattr(media, name)], ()
    return [], ()


def _extra_section(extra: bytes, what: str) -> bytes:
    """A colour profile or EXIF, deflated. Raises `InputError` for one that no file may have."""
    if len(extra) > MAX_EXTRA:
        raise InputError(f"The {what} of the picture has {len(extra)} bytes, more than the limit of {MAX_EXTRA}: leave "
                         "it out.")
    return deflate(extra)


def _track(film: VideoSource, audio: str, device: str) -> tuple[SoundTrack | None, tuple[str, ...]]:
    """The sound of a film as its file will hold it, and sentences for the user; `audio` as of `encode`."""
    if audio not in (COPY, NO_SOUND):
        kinds.check_fit(audio, registry.entry(audio).kind, "audio")
    track = None if audio == NO_SOUND else film.sound
    if track is None or audio == COPY:
        return track, ()
    coded = encode(sound_of(track), audio, device=device)
    return SoundTrack(coded.data), coded.notices


def sound_of(track: SoundTrack, *, device: str = "cpu", max_samples: int = MAX_SAMPLES) -> SoundSource:
    """What a sound track sounds like, from the film's first frame on, decoded while it is read.

    Raises:
        InputError, StreamError, WeightsError: if it cannot be read or decoded, now or in reading.
    """
    if track.is_copy:
        return CopiedSound(track, max_samples)
    return CodedSound(track.data, device=device, max_samples=max_samples)


def _section_target(target: Target, media: MediaSource, overhead: int) -> Target:
    """Rate aims for the file as a size of the codec's sections."""
    size = kinds.size_aimed_at(target, media)
    if size is None:
        return target
    if size <= overhead and isinstance(media, VideoSource):
        raise InputError(f"The sound and the header alone take {overhead} bytes, and {size} are aimed at: aim higher, "
                         "or leave the sound out, or have it coded.")
    return replace(target, bits_per_pixel=None, kbps=None, size=max(size - overhead, 1))


def _verify(data: bytes, media: MediaSource, device: str, progress: Progress) -> None:
    if isinstance(media, VideoSource):
        film = CodedVideo(data, device=device, max_pixels=media.pixel_count, progress=progress)
        same = all(np.array_equal(*pair) for pair in zip(film.frames(), media.frames(), strict=True))
    else:
        size = kinds.samples_of(media).size
        decoded = decode(data, device=device, max_pixels=size, max_samples=size, progress=progress).media
        same = np.array_equal(kinds.samples_of(decoded), kinds.samples_of(media))
    if not same:
        raise FewbitsError("The file does not decode to what was encoded, so it is not kept. This is a fault of "
                           "fewbits or of the machine: please report it.")


def decode(data: bytes, *, device: str = "cpu", allow_damage: bool = False, conceal: bool = False,
           levels: int | None = None, max_pixels: int = MAX_PIXELS, max_samples: int = MAX_SAMPLES,
           weights: Path | None = None, progress: Progress = no_progress) -> Decoded:
    """Decodes a file.

    Args:
        allow_damage: decode what is intact of a file with several sections and report the rest.
        conceal: the same, and let the codec guess the rest.
        levels: how many levels to decode, by a codec that knows levels; None for all. The sections of other levels need
            not be intact, nor there.
        max_pixels, max_samples: limits for pictures and sounds, checked before memory is taken: pixels of all images
            or frames, samples of all channels. A film that exceeds them can be read as `CodedVideo`.
        weights: the weights file that the file was made with, where that was one of the user's.

    Raises:
        InputError: for levels that the file does not have, and for guesses of a codec that makes none.
        StreamError: if the file is damaged, truncated, unknown, or larger than the limits.
        WeightsError: if it needs weights that are not installed.
    """
    parsed = parse(data, device=device, allow_damage=allow_damage or conceal, levels=levels, max_pixels=max_pixels,
                   max_samples=max_samples, weights=weights)
    if conceal:
        if not isinstance(parsed.codec, ConcealingCodec):
            raise InputError(f"The codec {parsed.codec.name} cannot guess what a file has lost: leave that out.")
        media = parsed.codec.conceal(parsed.stream, parsed.shape, progress)
    elif isinstance(parsed.codec, ProgressiveCodec):
        media = parsed.codec.decode_levels(parsed.stream, parsed.shape, levels, progress)
    else:
        media = parsed.codec.decode(parsed.stream, parsed.shape, progress)
    if isinstance(media, Image):
        media = Image(media.pixels, parsed.extras.get("icc_profile"), parsed.extras.get("exif"))
    if isinstance(media, Video):
        media = media.with_sound(parsed.sound)
    return Decoded(media, parsed.damaged, parsed.sections, parsed.levels, parsed.lost, conceal)


def decode_one(data: bytes, number: int, *, device: str = "cpu", max_pixels: int = MAX_PIXELS) -> Image:
    """Decodes one image of a set, and no more of the file than that needs; damage elsewhere does not matter.

    Args:
        number: counted from 0.

    Raises:
        InputError: if the file holds no set of images, or fewer.
        StreamError, WeightsError: as `decode`.
    """
    parsed = parse(data, device=device, allow_damage=True, max_pixels=max_pixels)
    if not isinstance(parsed.codec, ImageSetCodec):
        raise InputError(f"The file holds {kinds.IN_WORDS[parsed.codec.kind]}, not a set of images to choose from.")
    if not 0 <= number < parsed.shape["count"]:
        raise InputError(f"There is no image {number}; the file has {parsed.shape['count']}, counted from 0.")
    return parsed.codec.decode_one(parsed.stream, parsed.shape, number)


class CodedSound(SoundSource):
    """The sound in the bytes of a file, decoded while it is read; arguments as of `decode`.

    Attributes:
        damaged, sections: as of `Decoded`.

    Raises:
        InputError: if the file holds something else.
        StreamError, WeightsError: as `decode`; where a section is wrong although its checksum is right, when its turn
            comes.
    """

    def __init__(self, data: bytes, *, device: str = "cpu", allow_damage: bool = False,
                 max_samples: int = MAX_SAMPLES, progress: Progress = no_progress) -> None:
        self._parsed = parsed = parse(data, device=device, allow_damage=allow_damage, max_samples=max_samples)
        if not isinstance(parsed.codec, SoundCodec):
            raise InputError(f"The file holds {kinds.IN_WORDS[parsed.codec.kind]}, not sound.")
        self._codec, self._progress = parsed.codec, progress
        self.rate, self.damaged, self.sections = parsed.shape["rate"], parsed.damaged, parsed.sections

    @property
    def channels(self) -> int:
        return self._parsed.shape["channels"]

    @property
    def count(self) -> int:
        return self._parsed.shape["count"]

    def chunks(self) -> Iterator[np.ndarray]:
        return self._codec.decode_chunks(self._parsed.stream, self._parsed.shape, self._progress)


class CodedVideo(VideoSource):
    """The film in the bytes of a file, decoded while it is read; arguments as of `decode`.

    Attributes:
        damaged, sections: as of `Decoded`.

    Raises:
        InputError: if the file holds something else.
        StreamError, WeightsError: as `decode`; where a section is wrong although its checksum is right, when its turn
            comes.
    """

    def __init__(self, data: bytes, *, device: str = "cpu", allow_damage: bool = False,
                 max_pixels: int = MAX_VIDEO_PIXELS, progress: Progress = no_progress) -> None:
        self._parsed = parsed = parse(data, device=device, allow_damage=allow_damage, max_pixels=max_pixels)
        if not isinstance(parsed.codec, VideoCodec):
            raise InputError(f"The file holds {kinds.IN_WORDS[parsed.codec.kind]}, not a film.")
        self._codec, self._progress = parsed.codec, progress
        self.width, self.height, self.count = (parsed.shape[name] for name in ("width", "height", "count"))
        self.rate, self.colour = rate_in(parsed.shape), colour_in(parsed.shape)
        self.damaged, self.sections = parsed.damaged, parsed.sections

    @property
    def sound(self) -> SoundTrack | None:
        return self._parsed.sound

    def frames(self, start: int = 0, stop: int | None = None) -> Iterator[np.ndarray]:
        return self.frames_at(Positions(range(self.count)[start:stop]))

    def frames_at(self, positions: Sequence[Fraction]) -> Iterator[np.ndarray]:
        """Frames at any positions, ascending and counted from 0; see `VideoCodec.decode_frames`."""
        return self._codec.decode_frames(self._parsed.stream, self._parsed.shape, positions, self._progress)

    def part(self, start: int = 0, stop: int | None = None, rate: Fraction | None = None) -> "VideoPart":
        """Frames `start` to `stop` (not included), at another rate where one is given. The sound is that of the whole.

        Raises:
            InputError: if there are no such frames, or no film can have the rate.
        """
        stop = self.count if stop is None else stop
        rate = self.rate if rate is None else rate
        if not 0 <= start < stop <= self.count:
            raise InputError(f"There are no frames {start}:{stop}; the film has {self.count}, counted from 0.")
        check_rate(rate)
        return VideoPart(self, start, stop, rate)


class VideoPart(VideoSource):
    """Some frames of a film, or what lies between them; made by `CodedVideo.part`."""

    def __init__(self, film: CodedVideo, start: int, stop: int, rate: Fraction) -> None:
        self._film, self._start, self._step = film, start, film.rate / rate
        self.width, self.height, self.colour, self.rate = film.width, film.height, film.colour, rate
        self.count = int((stop - 1 - start) / self._step) + 1
        self._whole = (start, stop) == (0, film.count)

    @property
    def sound(self) -> SoundTrack | None:
        """That of the film, where the part is all of it."""
        return self._film.sound if self._whole else None

    def frames(self, start: int = 0, stop: int | None = None) -> Iterator[np.ndarray]:
        return self._film.frames_at(Positions(range(self.count)[start:stop], self._start, self._step))


@dataclass(frozen=True)
class Parsed:
    """A file that was checked and is ready for its codec.

    Attributes:
        codec: the codec that made it.
        stream, shape: arguments for `Codec.decode`.
        extras: of a picture, as of `extras_of`.
        sound: the sound of a film.
        damaged, sections, levels, lost: as of `Decoded`.
    """

    codec: Codec[Any]
    stream: Stream
    shape: dict[str, int]
    extras: dict[str, bytes]
    sound: SoundTrack | None
    damaged: list[int]
    sections: int
    levels: tuple[int, int] | None
    lost: list[int]


def parse(data: bytes, *, device: str = "cpu", allow_damage: bool = False, levels: int | None = None,
          max_pixels: int = MAX_PIXELS, max_samples: int = MAX_SAMPLES, weights: Path | None = None) -> Parsed:
    """Everything about a file that has to be right before a codec sees it; arguments and errors as `decode`."""
    box = container.read(data, registry.settings_of_number)
    shape = kinds.shape_of(box.header)
    kinds.check_limits(box.header.kind, shape, max_pixels, max_samples)
    entry = _entry(box.header)
    if levels is not None:
        check_levels(entry, levels)
    parts = _progressive_parts(box, shape, entry)
    unwanted = {i for part in parts for i in part[levels or entry.levels :]}
    damaged = [i for i, section in enumerate(box.sections) if not section.intact and i not in unwanted]
    if damaged and not allow_damage:
        raise DamagedSectionsError(f"{len(damaged)} of {len(box.sections)} sections of the file are damaged or "
                                   "missing: allow damage to see what is there.")
    codec = registry.create(entry.name, device, weights).for_weights(box.header.weights)
    sections = [box.section(i) if section.intact else None for i, section in enumerate(box.sections)]
    first = _first_section(shape)
    if len(sections) < first:
        raise DamagedError("The file lacks sections that its header speaks of.")
    extras = _extras(box, shape)
    try:
        sound = _sound(sections[0]) if shape.get("sound") else None
    except DamagedError:
        if not allow_damage:
            raise
        sound, damaged = None, [0, *damaged]
    shown, lost = shown_and_lost([part[:levels] for part in parts], damaged)
    return Parsed(codec, Stream(box.header.settings, sections[first:]), shape, extras, sound, damaged, len(sections),
                  shown, lost)


def _entry(header: container.Header) -> registry.Entry:
    """The codec of a file. Raises `StreamError` if there is none, or none for such media."""
    entry = registry.entry_of_number(header.codec)
    if header.kind != entry.kind:
        raise DamagedError(f"The file says {header.kind}, but its codec {entry.name} is for {entry.kind}.")
    return entry


def _first_section(shape: dict[str, int]) -> int:
    """The number of the first section that is the codec's own."""
    return sum(shape.get(name, 0) for name in ("profile", "exif", "sound"))


def _progressive_parts(box: container.Container, shape: dict[str, int], entry: registry.Entry) -> list[range]:
    """The numbers of the sections of each part of a progressive file, level by level; none of another file."""
    first = _first_section(shape)
    if entry.levels == 1 or len(box.sections) - first < entry.levels:
        return []
    codec = registry.create(entry.name)
    assert isinstance(codec, ProgressiveCodec)
    parts = codec.parts(shape, len(box.sections) - first)
    return [range(part.start + first, part.stop + first, part.step) for part in parts if len(part) > 1]


def extras_of(data: bytes) -> dict[str, bytes]:
    """The colour profile and the EXIF of a picture, where the file has them and they are intact. Nothing is decoded.

    Returns:
        `icc_profile` and `exif`, as `Image` and Pillow call them.

    Raises:
        StreamError: if the file is wrong.
    """
    box = container.read(data, registry.settings_of_number)
    return _extras(box, kinds.shape_of(box.header))


def _extras(box: container.Container, shape: dict[str, int]) -> dict[str, bytes]:
    """What `extras_of` gives; nothing for media other than pictures."""
    there = [(name, what) for flag, name, what in _EXTRAS if shape.get(flag)]
    return {name: inflate(box.section(number), MAX_EXTRA, what)
            for number, ((name, what), section) in enumerate(zip(there, box.sections, strict=False)) if section.intact}


def _sound(section: bytes | None) -> SoundTrack | None:
    """The sound of a film from its section; None where that was lost. Raises `DamagedError`."""
    if section is None:
        return None
    track = SoundTrack(section)
    track.check()
    return track


def info(data: bytes) -> dict[str, object]:
    """What the header and the sections say, without decoding. Raises `StreamError`."""
    box = container.read(data, registry.settings_of_number)
    entry = _entry(box.header)
    kind, shape = box.header.kind, kinds.shape_of(box.header)
    levels = [sum(box.sections[i].length for i in level)
              for level in zip(*_progressive_parts(box, shape, entry), strict=True)]
    track = {"sound_track": _track_info(box) if shape["sound"] else None} if kind == "video" else {}
    return {
        "codec": entry.name, "family": entry.family, "kind": kind, "lossless": entry.lossless, **shape, **track,
        "weights": box.header.weights.hex(), "settings": dict(box.header.settings),
        "sections": [{"offset": s.offset, "length": s.length, "intact": s.intact} for s in box.sections],
        **({"level_bytes": levels} if levels else {}),
        "bytes": len(data), **kinds.rate_of(kind, shape, len(data)), "header_bytes": box.header_size,
    }


@dataclass(frozen=True)
class Part:
    """A part of a file, in words.

    Attributes:
        name: what it holds.
        size: bytes.
        intact: its checksum is right; of what is none of the sections, always true.
    """

    name: str
    size: int
    intact: bool = True


def anatomy(data: bytes) -> list[Part]:
    """Where the bytes of a file went: parts that make up all of it, in its order but for the checksums, which are one
    part of their own. Nothing is decoded. Raises `StreamError`."""
    box = container.read(data, registry.settings_of_number)
    sizes = iter(container.header_layout(data, registry.settings_of_number))
    fields = (("magic, version, codec, form", 4), ("identity of the weights", int(bool(box.header.weights))),
              ("shape of the media", len(box.header.media)), ("settings of the codec", len(box.header.settings)),
              ("lengths of the sections", len(box.sections)))
    head = [Part(name, sum(size for _, size in islice(sizes, count))) for name, count in fields]
    checksums = Part("checksums", min(container.CRC_BYTES * len(box.sections), len(data) - box.header_size))
    shape = kinds.shape_of(box.header)
    extras = [what for flag, _, what in (*_EXTRAS, ("sound", "", "sound")) if shape.get(flag)]
    names = [*extras, *(f"section {number + 1}" for number in range(len(box.sections) - len(extras)))]
    sections = [Part(name, max(min(s.offset + s.length, len(data)) - s.offset, 0), s.intact)
                for name, s in zip(names, box.sections, strict=False)]
    return [part for part in (*head, checksums) if part.size] + sections


def bits_by_place(data: bytes) -> tuple[int, np.ndarray] | None:
    """Where in a picture the bits of its file went, as `Codec.bits_by_place` tells; None for what is no picture.

    Raises:
        StreamError, WeightsError: as `decode`.
    """
    parsed = parse(data, allow_damage=True)
    return parsed.codec.bits_by_place(parsed.stream, parsed.shape) if parsed.codec.kind == "image" else None


def _track_info(box: container.Container) -> dict[str, object]:
    """The form of a film's sound (a copy, the name of a codec, or damaged), and its bytes."""
    section = box.sections[0]
    try:
        track = SoundTrack(box.section(0))
        form = COPY if track.is_copy else info(track.data)["codec"]
    except StreamError:
        form = "damaged"
    return {"form": form, "bytes": section.length}
