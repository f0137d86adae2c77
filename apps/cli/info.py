"""`fewbits info`, `fewbits verify` and `fewbits codecs`."""

import json
import math
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fewbits.apps.cli import paths
from fewbits.apps.cli.conversion import rate_in_words, refuse_weights
from fewbits.apps.cli.options import Weights
from fewbits.apps.cli.progress import progress_bar
from fewbits.entropy.container import kind_of_start
from fewbits.errors import InputError

if TYPE_CHECKING:
    from fewbits.codecs.files import CodedVideo
    from fewbits.codecs.image_set import ImageSet
    from fewbits.codecs.kinds import Media
    from fewbits.codecs.media import Image
    from fewbits.codecs.sound import Audio

Stream = Annotated[Path, typer.Argument(metavar="FILE", help="A .fwb file.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def info(file: Stream, as_json: AsJson = False) -> None:
    """Show what a .fwb file says about itself."""
    from fewbits.codecs import files

    facts: dict[str, Any] = files.info(paths.read_bytes(file))
    if as_json:
        print(json.dumps(facts))
        return
    for name, value in rows_of(facts).items():
        print(f"{name:9} {value}")


def rows_of(facts: dict[str, Any]) -> dict[str, str]:
    """What `fewbits.codecs.files.info` says, in words, by what it is about."""
    damaged = [i for i, section in enumerate(facts["sections"]) if not section["intact"]]
    settings = ", ".join(f"{name} {value}" for name, value in facts["settings"].items())
    media = {"audio": _sound, "video": _film}.get(facts["kind"], _picture)(facts)
    return {
        "codec": f"{facts['codec']} ({facts['family']})",
        **media,
        "settings": settings or "none",
        "weights": facts["weights"] or "in the file",
        "size": f"{facts['bytes']:,} bytes, {rate_in_words(facts['kind'], facts)}",
        "header": f"{facts['header_bytes']} bytes",
        **({"levels": _levels(facts["level_bytes"])} if "level_bytes" in facts else {}),
        "sections": f"{len(facts['sections'])}, " + (f"damaged: {damaged}" if damaged else "all checksums right"),
    }


def _levels(sizes: list[int]) -> str:
    """How many levels a progressive file has, and their bytes."""
    return f"{len(sizes)}, of {', '.join(f'{size:,}' for size in sizes)} bytes"


def _picture(facts: dict[str, Any]) -> dict[str, str]:
    """Rows about a picture or a set of images."""
    count = f"{facts['count']:,} of " if "count" in facts else ""
    return {
        facts["kind"]: f"{count}{facts['width']} x {facts['height']}, {facts['channels']} x {facts['bits']} bits",
        "colour": "by the profile in the file" if facts["profile"] else "sRGB, as nothing else is said",
        **({"EXIF": "in the file"} if facts["exif"] else {}),
    }


def _sound(facts: dict[str, Any]) -> dict[str, str]:
    """Rows about a sound."""
    channels = f"{facts['channels']} channel{'s' * (facts['channels'] > 1)}"
    return {
        "audio": f"{facts['seconds']:.2f} s, {channels} at {facts['rate']} Hz",
        "samples": f"{facts['count']:,} in each channel",
    }


def _film(facts: dict[str, Any]) -> dict[str, str]:
    """Rows about a film."""
    from fewbits.codecs.film import colour_in, rate_in

    track = facts["sound_track"]
    sound = "none" if track is None else f"{track['form']}, {track['bytes']:,} bytes"
    return {
        "video": f"{facts['count']:,} frames of {facts['width']} x {facts['height']} pixels, {facts['seconds']:.2f} s",
        "rate": f"{rate_in(facts)} frames a second",
        "colour": f"RGB, from {colour_in(facts)}",
        "sound": sound,
    }


def verify(
    file: Stream,
    against: Annotated[
        Path | None, typer.Option(metavar="INPUT", help="Compare with this picture, sound or film.")
    ] = None,
    weights: Weights = None,
) -> None:
    """Check every checksum of a .fwb file and decode it."""
    from fewbits.codecs import files

    data = paths.read_bytes(file)
    kind = kind_of_start(data)
    refuse_weights(weights, kind, str(file))
    if kind == "video":
        _verify_film(data, file, against)
        return
    with progress_bar() as progress:
        decoded = files.decode(data, weights=weights, progress=progress)
    media = decoded.media
    print(f"{file}: {_verdict(decoded.sections)} to {_measured(media)}.")
    if against is not None:
        print(_compared_with(against, media, file))


def _verdict(sections: int) -> str:
    return "the section is intact and decodes" if sections == 1 else f"all {sections} sections are intact and decode"


def _verify_film(data: bytes, file: Path, against: Path | None) -> None:
    """As `verify`, frame by frame."""
    from fewbits.codecs import files
    from fewbits.codecs.film import MAX_VIDEO_PIXELS
    from fewbits.codecs.video_source import VideoFile
    from fewbits.eval import metrics

    with progress_bar() as progress:
        film = files.CodedVideo(data, progress=progress)
        original = None if against is None else VideoFile(against, MAX_VIDEO_PIXELS)
        if original and (original.width, original.height, original.count) != (film.width, film.height, film.count):
            raise InputError(f"{against} has {original.count} frames of {original.width} x {original.height} pixels: "
                             f"not the film in {file}.")
        if original:
            psnr = metrics.psnr_of_film(original.frames(), film.frames())
        else:
            deque(film.frames(), maxlen=0)
        sound = files.sound_of(film.sound) if film.sound else None
        samples = sum(chunk.shape[1] for chunk in sound.chunks()) if sound else 0
    heard = f", and {samples / sound.rate:.2f} s of sound" if sound else ""
    print(f"{file}: {_verdict(film.sections)} to {_measured(film)}{heard}.")
    if original:
        print("The decoded film is identical." if math.isinf(psnr) else f"PSNR {psnr:.2f} dB.")


def _measured(media: "Media | CodedVideo") -> str:
    """What a file decoded to, in words."""
    from fewbits.codecs.image_set import ImageSet
    from fewbits.codecs.sound import Audio
    from fewbits.codecs.video_source import VideoSource

    if isinstance(media, VideoSource):
        return (f"{media.seconds:.2f} s of film: {media.count:,} frames of {media.width} x {media.height} pixels at "
                f"{media.rate} a second")
    if isinstance(media, Audio):
        return f"{media.seconds:.2f} s of sound: {media.channels} x {media.count:,} samples at {media.rate} Hz"
    number = f"{media.count:,} images of " if isinstance(media, ImageSet) else ""
    return f"{number}{media.width} x {media.height} pixels"


def _compared_with(against: Path, media: "Media", file: Path) -> str:
    """What media are beside their original."""
    from fewbits.codecs.image_set import ImageSet
    from fewbits.codecs.media import Image
    from fewbits.codecs.sound import Audio

    if isinstance(media, ImageSet):
        return _compared_sets(against, media)
    if isinstance(media, Audio):
        return _compared_sounds(against, media, file)
    assert isinstance(media, Image)  # films are compared frame by frame
    return _compared(against, media, file)


def _compared(against: Path, picture: "Image", file: Path) -> str:
    """What a picture is beside its original."""
    from fewbits.codecs.media import Image
    from fewbits.eval import metrics

    original = Image.open(against)
    if (original.width, original.height) != (picture.width, picture.height):
        raise InputError(f"{against} has {original.width} x {original.height} pixels: not the picture in {file}.")
    psnr = metrics.psnr(original.rgb(), picture.rgb())
    return "The decoded picture is identical." if math.isinf(psnr) else f"PSNR {psnr:.2f} dB."


def _compared_sounds(against: Path, sound: "Audio", file: Path) -> str:
    """What a sound is beside its original."""
    import numpy as np

    from fewbits.codecs.sound import Audio
    from fewbits.eval import sound_metrics

    original, _ = Audio.open(against).cleaned()
    if (original.rate, original.samples.shape) != (sound.rate, sound.samples.shape):
        raise InputError(f"{against} has {original.channels} x {original.count} samples at {original.rate} Hz: not the "
                         f"sound in {file}.")
    if np.array_equal(original.samples, sound.samples):
        return "The decoded sound is identical."
    ratio = sound_metrics.si_sdr(original, sound)
    known = "" if ratio is None else f"SI-SDR {ratio:.2f} dB, "
    return f"{known}mel distance {sound_metrics.mel_distance(original, sound):.3f}."


def _compared_sets(against: Path, images: "ImageSet") -> str:
    """What a set of images, always coded without loss, is beside its original."""
    import numpy as np

    from fewbits.codecs.image_set import ImageSet

    if not np.array_equal(ImageSet.open(against).samples, images.samples):
        raise InputError(f"{against} holds other images.")
    return "The decoded images are identical."


def codecs(as_json: AsJson = False) -> None:
    """List the codecs."""
    from fewbits.codecs import registry

    entries = registry.describe()
    if as_json:
        print(json.dumps(entries))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("name", "kind", "family", "lossless", "about")
    for entry in entries:
        lossless = "yes" if entry["lossless"] else "no"
        table.add_row(*(str(entry[key]) for key in ("name", "kind", "family")), lossless, str(entry["about"]))
    Console().print(table)
