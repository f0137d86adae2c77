"""Media to the bytes of a `.fwb` file and back: registry and container put together."""

import zlib
from dataclasses import dataclass, replace

from fewbits.codecs import registry
from fewbits.codecs.codec import Codec, Progress, Stream, Target, no_progress
from fewbits.codecs.media import MAX_PIXELS, Image
from fewbits.entropy import container
from fewbits.errors import DamagedError, LimitError, WeightsError

MAX_PROFILE = 1 << 24  # bytes of a colour profile

LAYOUT_WIDE, LAYOUT_PROFILE = 8, 16  # bits of the layout field


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
        media: the picture.
        damaged: numbers of the sections that were damaged and left out.
        sections: how many sections the file has.
    """

    media: Image
    damaged: list[int]
    sections: int


def encode(media: Image, codec: str = "hyperprior", target: Target = Target(), *, device: str = "cpu",
           progress: Progress = no_progress) -> Encoded:
    """Codes media into a file.

    Raises:
        InputError: for unknown codecs and media that the codec cannot take.
        WeightsError: if the codec's weights are missing.
    """
    entry = registry.entry(codec)
    instance = registry.create(codec, device)
    extras = [zlib.compress(media.icc_profile, 9)] if media.icc_profile else []
    layout = media.channels | LAYOUT_WIDE * (media.bits == 16) | LAYOUT_PROFILE * bool(extras)
    shape = {"layout": layout, "width": media.width, "height": media.height}

    def file_of(settings: dict[str, int], sections: list[bytes]) -> bytes:
        header = container.Header(entry.number, entry.kind, instance.weights_id, shape, settings)
        return container.write(header, entry.settings, extras + sections)

    overhead = len(file_of({f.name: f.low for f in entry.settings}, [b""]))
    stream = instance.encode(media, _section_target(target, media, overhead), progress)
    data = file_of(stream.settings, [s for s in stream.sections if s is not None])
    return Encoded(data, stream.estimate_bits, stream.notices, stream.settings)


def _section_target(target: Target, media: Image, overhead: int) -> Target:
    """Rate aims for the file as a size of the codec's sections."""
    size = target.size
    if target.bits_per_pixel is not None:
        size = int(target.bits_per_pixel * media.width * media.height / 8)
    if size is None:
        return target
    return replace(target, bits_per_pixel=None, size=max(size - overhead, 1))


def decode(data: bytes, *, device: str = "cpu", allow_damage: bool = False, max_pixels: int = MAX_PIXELS,
           progress: Progress = no_progress) -> Decoded:
    """Decodes a file.

    Args:
        allow_damage: decode what is intact of a file with several sections and report the rest.

    Raises:
        StreamError: if the file is damaged, truncated, unknown, or larger than the limits.
        WeightsError: if it needs weights that are not installed.
    """
    parsed = parse(data, device=device, allow_damage=allow_damage, max_pixels=max_pixels)
    media = parsed.codec.decode(parsed.stream, parsed.shape, progress)
    return Decoded(Image(media.pixels, parsed.profile), parsed.damaged, parsed.sections)


@dataclass(frozen=True)
class Parsed:
    """A file that was checked and is ready for its codec.

    Attributes:
        codec: the codec that made it.
        stream, shape: arguments for `Codec.decode`.
        profile: the colour profile.
        damaged: numbers of the damaged sections.
        sections: how many sections the file has.
    """

    codec: Codec[Image]
    stream: Stream
    shape: dict[str, int]
    profile: bytes | None
    damaged: list[int]
    sections: int


def parse(data: bytes, *, device: str = "cpu", allow_damage: bool = False, max_pixels: int = MAX_PIXELS) -> Parsed:
    """Everything about a file that has to be right before a codec sees it; arguments and errors as `decode`."""
    box = container.read(data, registry.settings_of_number)
    damaged = [i for i, section in enumerate(box.sections) if not section.intact]
    if damaged and not allow_damage:
        raise DamagedError(f"{len(damaged)} of {len(box.sections)} sections of the file are damaged or missing; "
                           "the others can be decoded where damage is allowed.")
    shape = shape_of(box.header)
    if shape["width"] * shape["height"] > max_pixels:
        raise LimitError(f"The picture has {shape['width']} x {shape['height']} pixels, more than the limit of "
                         f"{max_pixels}: raise the limit if you trust the file.")
    entry = registry.entry_of_number(box.header.codec)
    if box.header.kind != entry.kind:
        raise DamagedError(f"The file says {box.header.kind}, but its codec {entry.name} is for {entry.kind}.")
    codec = registry.create(entry.name, device)
    if box.header.weights != codec.weights_id:
        raise WeightsError(f"The file was made with weights {box.header.weights.hex()} of {entry.name}; installed are "
                           f"{codec.weights_id.hex()}: install the release of fewbits that made it, or a later one.")
    sections = [box.section(i) if section.intact else None for i, section in enumerate(box.sections)]
    profile = _profile(sections.pop(0)) if shape["profile"] else None
    return Parsed(codec, Stream(box.header.settings, sections), shape, profile, damaged, len(box.sections))


def shape_of(header: container.Header) -> dict[str, int]:
    """Width, height, channels, bits and presence of a colour profile. Raises `DamagedError` if they make no sense."""
    layout = header.media["layout"]
    shape = {"width": header.media["width"], "height": header.media["height"], "channels": layout & 7,
             "bits": 16 if layout & LAYOUT_WIDE else 8, "profile": int(bool(layout & LAYOUT_PROFILE))}
    if shape["channels"] not in (1, 2, 3, 4) or (shape["bits"] == 16 and shape["channels"] != 1):
        raise DamagedError(f"The file names a sample layout ({layout}) that does not exist.")
    return shape


def _profile(section: bytes | None) -> bytes | None:
    """The colour profile from its section; None where that was lost."""
    if section is None:
        return None
    inflate = zlib.decompressobj()
    try:
        profile = inflate.decompress(section, MAX_PROFILE)
    except zlib.error as error:
        raise DamagedError(f"The colour profile is damaged: {error}.") from None
    if not inflate.eof:
        raise DamagedError("The colour profile is damaged, or larger than any real one.")
    return profile


def info(data: bytes) -> dict[str, object]:
    """What the header and the sections say, without decoding. Raises `StreamError`."""
    box = container.read(data, registry.settings_of_number)
    entry = registry.entry_of_number(box.header.codec)
    shape = shape_of(box.header)
    return {
        "codec": entry.name, "family": entry.family, "kind": box.header.kind, "lossless": entry.lossless, **shape,
        "weights": box.header.weights.hex(), "settings": dict(box.header.settings),
        "sections": [{"offset": s.offset, "length": s.length, "intact": s.intact} for s in box.sections],
        "bytes": len(data), "bits_per_pixel": 8 * len(data) / (shape["width"] * shape["height"]),
        "header_bytes": box.header_size,
    }
