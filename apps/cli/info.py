"""`fewbits info`, `fewbits verify` and `fewbits codecs`."""

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fewbits.apps.cli import paths
from fewbits.apps.cli.progress import progress_bar
from fewbits.errors import InputError

if TYPE_CHECKING:
    from fewbits.codecs.image_set import ImageSet
    from fewbits.codecs.media import Image

Stream = Annotated[Path, typer.Argument(metavar="FILE", help="A .fwb file.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def info(file: Stream, as_json: AsJson = False) -> None:
    """Show what a .fwb file says about itself."""
    from fewbits.codecs import files

    facts: dict[str, Any] = files.info(paths.read_bytes(file))
    if as_json:
        print(json.dumps(facts))
        return
    damaged = [i for i, section in enumerate(facts["sections"]) if not section["intact"]]
    settings = ", ".join(f"{name} {value}" for name, value in facts["settings"].items())
    count = f"{facts['count']:,} of " if "count" in facts else ""
    rows = {
        "codec": f"{facts['codec']} ({facts['family']})",
        facts["kind"]: f"{count}{facts['width']} x {facts['height']}, {facts['channels']} x {facts['bits']} bits",
        "colour": "by the profile in the file" if facts["profile"] else "sRGB, as nothing else is said",
        "settings": settings or "none",
        "weights": facts["weights"] or "in the file",
        "size": f"{facts['bytes']:,} bytes, {facts['bits_per_pixel']:.3f} bits per pixel",
        "header": f"{facts['header_bytes']} bytes",
        "sections": f"{len(facts['sections'])}, " + (f"damaged: {damaged}" if damaged else "all checksums right"),
    }
    for name, value in rows.items():
        print(f"{name:9} {value}")


def verify(
    file: Stream,
    against: Annotated[Path | None, typer.Option(metavar="INPUT", help="Compare with this picture.")] = None,
) -> None:
    """Check every checksum of a .fwb file and decode it."""
    from fewbits.codecs import files
    from fewbits.codecs.image_set import ImageSet

    data = paths.read_bytes(file)
    with progress_bar() as progress:
        decoded = files.decode(data, progress=progress)
    media = decoded.media
    count = "the section is" if decoded.sections == 1 else f"all {decoded.sections} sections are"
    number = f"{media.count:,} images of " if isinstance(media, ImageSet) else ""
    print(f"{file}: {count} intact and decodes to {number}{media.width} x {media.height} pixels.")
    if against is not None:
        print(_compared_sets(against, media) if isinstance(media, ImageSet) else _compared(against, media, file))


def _compared(against: Path, picture: "Image", file: Path) -> str:
    """What a picture is beside its original."""
    from fewbits.codecs.media import Image
    from fewbits.eval import metrics

    original = Image.open(against)
    if (original.width, original.height) != (picture.width, picture.height):
        raise InputError(f"{against} has {original.width} x {original.height} pixels: not the picture in {file}.")
    psnr = metrics.psnr(original.rgb(), picture.rgb())
    return "The decoded picture is identical." if math.isinf(psnr) else f"PSNR {psnr:.2f} dB."


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
