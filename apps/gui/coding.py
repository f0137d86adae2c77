"""What the tabs do with one file, without any of the page: compress it, take it apart, damage it."""

import time
from dataclasses import dataclass
from pathlib import Path

from fewbits.apps.cli.conversion import rate_in_words
from fewbits.apps.cli.info import rows_of
from fewbits.apps.gui import limits
from fewbits.apps.gui.previews import Preview, preview
from fewbits.codecs import files, kinds, registry, sources
from fewbits.codecs.codec import Progress, Target, between, no_progress
from fewbits.codecs.film import Video
from fewbits.codecs.kinds import Media
from fewbits.codecs.media import Image
from fewbits.codecs.sound import Audio
from fewbits.codecs.sound_source import SoundSource
from fewbits.codecs.video_source import VideoSource
from fewbits.entropy.container import START_BYTES, kind_of_start
from fewbits.errors import InputError, StreamError
from fewbits.eval.matched import measure

Rows = list[tuple[str, str]]
"""Facts for people: what, and what of it."""


@dataclass(frozen=True)
class Compressed:
    """A finished file.

    Attributes:
        stream: the `.fwb` file.
        preview: the source beside what that file decodes to.
        notices: sentences for the user.
    """

    stream: Path
    preview: Preview
    facts: Rows
    notices: tuple[str, ...]


@dataclass(frozen=True)
class Opened:
    """What is in a file; `heat` says what the second picture of the preview, a map of the bits, means, if there is one.
    """

    preview: Preview
    facts: Rows
    parts: list[files.Part]
    heat: str


@dataclass(frozen=True)
class Harmed:
    """What is left of a damaged file.

    Attributes:
        stream: the damaged file.
        sentence: what a strict decoder says.
        preview: what the whole file holds beside what survived; None where nothing did.
    """

    stream: Path
    sentence: str
    preview: Preview | None
    facts: Rows


def opened(source: Path) -> Image | Audio | Video:
    """A picture, a sound or a film, in memory. Raises `InputError` for what cannot be read or exceeds the limits."""
    with source.open("rb") as file:
        if kind_of_start(file.read(START_BYTES)):
            raise InputError(f"{source.name} is a .fwb file: drop it in the tab Open.")
    kind = sources.kind_of_source(source)
    pixels = limits.FILM_PIXELS if kind == "video" else limits.PIXELS
    media, _ = sources.open_for(source, registry.default(kind), pixels, limits.SAMPLES)
    if isinstance(media, SoundSource):
        return Audio.read(media).cleaned()[0]
    if isinstance(media, VideoSource):
        return Video.read(media)
    assert isinstance(media, Image)  # what is no set by its codec
    return media


def decoded(data: bytes, allow_damage: bool = False, progress: Progress = no_progress,
            conceal: bool = False) -> files.Decoded:
    """As `files.decode`, within the limits of the page."""
    pixels = limits.FILM_PIXELS if files.info(data)["kind"] == "video" else limits.PIXELS
    return files.decode(data, allow_damage=allow_damage, conceal=conceal, max_pixels=pixels,
                        max_samples=limits.SAMPLES, progress=progress)


def compress(source: Path, codec: str, target: Target, folder: Path, progress: Progress = no_progress) -> Compressed:
    """Codes a file into another in a folder, which is read and decoded again and measured.

    Raises:
        FewbitsError: for what cannot be read or coded.
    """
    progress(0, "reading")
    media = opened(source)
    began = time.perf_counter()
    encoded = files.encode(media, codec, target, progress=between(progress, 0, 0.8))
    encode_s = time.perf_counter() - began
    stream = folder / f"{source.stem}.fwb"
    stream.write_bytes(encoded.data)
    data = stream.read_bytes()
    began = time.perf_counter()
    result = decoded(data, progress=between(progress, 0.8, 0.9)).media
    decode_s = time.perf_counter() - began
    values, exact = measure(media, result, between(progress, 0.9, 1))
    kind = kinds.kind_of(media)
    rate = rate_in_words(kind, kinds.rate_of(kind, kinds.fields_of(media), len(data)))
    facts = [("file", f"{len(data):,} bytes"), ("rate", rate),
             ("of the source's bytes", f"{len(data) / source.stat().st_size:.1%}"), *_measures(values, exact),
             ("encoding", f"{encode_s:.2f} s"), ("decoding", f"{decode_s:.2f} s")]
    return Compressed(stream, preview(folder, media, result), facts, encoded.notices)


def take_apart(stream: Path, folder: Path, progress: Progress = no_progress) -> Opened:
    """Decodes a `.fwb` file and says where its bytes went. Raises `FewbitsError` for what cannot be decoded."""
    data = _stream_bytes(stream)
    media = decoded(data, progress=progress).media
    second, words = _heat(data, media)
    return Opened(preview(folder, media, second), list(rows_of(files.info(data)).items()), files.anatomy(data), words)


def harm(stream: Path, way: str, share: float, seed: int, folder: Path, progress: Progress = no_progress,
         guess: bool = False) -> Harmed:
    """Damages a copy of a `.fwb` file, as `fewbits.eval.damage.damaged` does, and decodes what is left.

    Args:
        guess: let the codec guess what is lost, if it can.

    Raises:
        FewbitsError: where the file cannot be decoded as it is.
    """
    from fewbits.eval.damage import damaged

    data = _stream_bytes(stream)
    whole = decoded(data, progress=between(progress, 0, 0.4)).media
    broken = folder / f"{stream.stem}-damaged.fwb"
    broken.write_bytes(damaged(data, way, share, seed))
    left = broken.read_bytes()
    guess = guess and registry.entry(str(files.info(data)["codec"])).conceals
    sentence = _refusal(left)
    try:
        survived = decoded(left, True, between(progress, 0.4, 0.8), guess)
        values, exact = measure(whole, survived.media, between(progress, 0.8, 1))
    except StreamError as error:
        return Harmed(broken, sentence, None, [("what survives", f"nothing: {error}")])
    lost = f"{len(survived.damaged)} of {survived.sections}"
    facts = [("damaged sections", lost + (", what they held is guessed" if guess and survived.damaged else "")),
             *_measures(values, exact)]
    return Harmed(broken, sentence, preview(folder, whole, survived.media), facts)


def metric_in_words(name: str, value: float | None) -> str:
    """The value of a metric of `fewbits.eval.medium`, with its unit."""
    if value is None:
        return "-"
    return f"{value:.2f} dB" if name in ("psnr", "psnr_yuv", "si_sdr") else f"{value:.4f}"


def _measures(values: dict[str, float | None], exact: bool) -> Rows:
    """Rows about metrics; of what came back exactly, that alone."""
    from fewbits.eval.medium import short_label

    if exact:
        return [("every sample", "as it was")]
    return [(short_label(name), metric_in_words(name, value)) for name, value in values.items() if value is not None]


def _heat(data: bytes, media: Media) -> tuple[Image | None, str]:
    """The map of a picture's bits and what it says, where there is more than one cell to tell apart."""
    from fewbits.eval.heat import heat_map

    found = files.bits_by_place(data) if isinstance(media, Image) else None
    if found is None or found[1].size == 1:
        return None, ""
    assert isinstance(media, Image)
    heat, top = heat_map(*found, media.width, media.height)
    return heat, f"Bits per pixel: from black, 0, to the brightest, {top:.2f} and more."


def _refusal(data: bytes) -> str:
    """What a strict decoder says of a file."""
    try:
        decoded(data)
    except StreamError as error:
        return str(error)
    return "Nothing is wrong with the file."


def _stream_bytes(stream: Path) -> bytes:
    try:
        return stream.read_bytes()
    except OSError as error:
        raise InputError(f"{stream} cannot be read: {error.strerror or error}.") from None
