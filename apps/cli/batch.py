"""`fewbits batch encode` and `fewbits batch decode`."""

import hashlib
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from fewbits.apps.cli import options, paths
from fewbits.apps.cli.conversion import Decoding, Encoding, rate_in_words, with_usual_name
from fewbits.apps.cli.device import Device, check_device
from fewbits.apps.cli.progress import progress_bar
from fewbits.codecs import registry
from fewbits.codecs.codec import Target
from fewbits.codecs.suffixes import suffixes_of
from fewbits.errors import InputError

if TYPE_CHECKING:
    from fewbits.apps.batch.run import Summary

app = typer.Typer(name="batch", help="Encode or decode many files, several at a time.", no_args_is_help=True)

Source = Annotated[str, typer.Argument(metavar="INPUT", help="A folder, or a text file with a path in each line.")]
Output = Annotated[
    str | None, typer.Option("--output", "-o", help="A folder, for the files and a manifest of what is done.")
]
Jobs = Annotated[int | None, typer.Option(min=1, help="Files at a time.", show_default="one a core")]
EngineName = Annotated[
    Literal["pool", "ray"], typer.Option("--engine", help="Processes of this machine, or a Ray cluster (fewbits[ray]).")
]
Retry = Annotated[bool, typer.Option("--retry", help="Try again what failed before with the same options.")]
Overwrite = Annotated[bool, typer.Option("-y", help="Overwrite files that exist and that no batch made.")]

_KINDS = {"image": "pictures", "images": "sets of images", "audio": "sounds", "video": "films"}


@app.command()
def encode(
    source: Source,
    output: Output = None,
    codec: options.Codec = None,
    quality: options.Quality = None,
    bits_per_pixel: options.BitsPerPixel = None,
    kbps: options.Kbps = None,
    size: options.Size = None,
    psnr: options.Psnr = None,
    effort: options.Effort = 5,
    progressive: options.Progressive = False,
    tune: options.Tune = "psnr",
    verify: options.Verify = True,
    audio: options.SoundOfFilm = None,
    device: Device = "cpu",
    weights: options.Weights = None,
    max_pixels: options.MaxPixels = None,
    max_samples: options.MaxSamples = None,
    jobs: Jobs = None,
    engine: EngineName = "pool",
    retry: Retry = False,
    overwrite: Overwrite = False,
) -> None:
    """Encode the pictures, sounds and films of a folder or a list. The same command again does what is not done yet."""
    target = Target(quality=quality, bits_per_pixel=bits_per_pixel, kbps=kbps, size=size, psnr=psnr, effort=effort,
                    progressive=progressive, tune=tune, verify=verify)
    check_device(device)
    kind = None if codec is None else registry.entry(codec).kind
    if kind == "images":
        raise InputError(f"{codec} makes one file of a whole set: leave batch out.")
    folder, planned = paths.plan_many(source, output, suffixes_of(kind), ".fwb", "-fwb")
    convert = Encoding(codec, target, audio, device, weights, max_pixels, max_samples)
    _run(planned, folder, convert, engine, jobs, overwrite, retry)


@app.command()
def decode(
    source: Source,
    output: Output = None,
    allow_damage: options.AllowDamage = False,
    weights: options.Weights = None,
    max_pixels: options.MaxPixels = None,
    max_samples: options.MaxSamples = None,
    jobs: Jobs = None,
    engine: EngineName = "pool",
    retry: Retry = False,
    overwrite: Overwrite = False,
) -> None:
    """Decode the .fwb files of a folder or a list to PNG, WAV and MKV. The same command again does what is not done."""
    folder, planned = paths.plan_many(source, output, paths.STREAMS, ".png", "-decoded")
    convert = Decoding(allow_damage, weights, max_pixels, max_samples)
    _run([with_usual_name(job) for job in planned], folder, convert, engine, jobs, overwrite, retry)


def _run(jobs: list[paths.Job], folder: Path, convert: Encoding | Decoding, engine: str, workers: int | None,
         overwrite: bool, retry: bool) -> None:
    """Raises `typer.Exit` with the exit code of the first file that failed."""
    from fewbits.apps.batch import engines
    from fewbits.apps.batch.manifest import Manifest
    from fewbits.apps.batch.run import Batch

    paths.refuse_unwritable_folder(folder)
    began = time.perf_counter()
    with Manifest(folder) as manifest, progress_bar() as progress:
        batch = Batch(jobs, manifest, _options(convert), overwrite=overwrite, retry=retry, say=_say, progress=progress)
        try:
            batch.run(engines.on_ray if engine == "ray" else engines.in_processes, convert, workers)
        finally:  # after an interrupt too
            _print_summary(batch.summary, len(jobs), time.perf_counter() - began)
    raise typer.Exit(batch.summary.exit_code)


def _options(convert: Encoding | Decoding) -> dict[str, Any]:
    """What decides the result, for the manifest: all but limits, weights by their content."""
    given = asdict(convert)
    given |= {"command": type(convert).__name__.lower(), **given.pop("target", {})}
    if convert.weights is not None:
        given["weights"] = hashlib.sha256(paths.read_bytes(convert.weights)).hexdigest()
    return {name: value for name, value in given.items() if value is not None and not name.startswith("max_")}


def _print_summary(summary: "Summary", count: int, seconds: float) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("")
    for heading in ("files", "bytes in", "bytes out", "rate", "seconds"):
        table.add_column(heading, justify="right")
    for kind, totals in summary.totals.items():
        table.add_row(_KINDS[kind], f"{totals.files:,}", f"{totals.bytes_in:,}", f"{totals.bytes_out:,}",
                      rate_in_words(kind, totals.rate), f"{totals.seconds:.1f}")
    if summary.totals:
        Console().print(table)
    left = count - summary.done - summary.skipped - summary.failures
    parts = {"done": summary.done, "done before": summary.skipped, "failed": summary.failures, "left": left}
    said = ", ".join(f"{number:,} {what}" for what, number in parts.items() if number or what == "done")
    print(f"{said}, in {seconds:.1f} s")
    if summary.failures:
        print("fewbits: --retry tries again what failed.", file=sys.stderr)


def _say(job: paths.Job, sentence: str) -> None:
    print(f"fewbits: {job.source_name}: {sentence}", file=sys.stderr)
