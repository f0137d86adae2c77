"""`fewbits encode` and `fewbits decode`."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from fewbits.apps.cli import options, paths
from fewbits.apps.cli.conversion import Conversion, Decoding, Encoding, Outcome, rate_in_words, with_usual_name
from fewbits.apps.cli.device import Device, check_device
from fewbits.apps.cli.progress import progress_bar
from fewbits.codecs import registry
from fewbits.codecs.codec import Target, part_of
from fewbits.codecs.suffixes import suffixes_of
from fewbits.errors import FewbitsError, InputError


def encode(
    source: Annotated[
        str,
        typer.Argument(metavar="INPUT", help="A picture, sound or film, an idx file, a folder, or - for a pipe."),
    ],
    output: options.Output = None,
    codec: options.Codec = None,
    quality: options.Quality = None,
    bits_per_pixel: options.BitsPerPixel = None,
    kbps: options.Kbps = None,
    size: options.Size = None,
    psnr: options.Psnr = None,
    effort: options.Effort = 5,
    progressive: options.Progressive = False,
    tune: options.Tune = "psnr",
    keep_best: Annotated[
        bool,
        typer.Option("--keep-best", help="On Ctrl-C, finish with what is fitted so far instead of writing nothing."),
    ] = False,
    checkpoint: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Of one film: keep the state of the fit in FILE every minute, and go on from "
                                          "it where it exists; it is removed when all is done."),
    ] = None,
    verify: options.Verify = True,
    audio: options.SoundOfFilm = None,
    device: Device = "cpu",
    weights: options.Weights = None,
    max_pixels: options.MaxPixels = None,
    max_samples: options.MaxSamples = None,
    overwrite: options.Overwrite = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a file.")] = False,
) -> None:
    """Encode a picture, sound or film, or those of a folder, to .fwb files; codecs for sets make one of a folder."""
    target = Target(quality=quality, bits_per_pixel=bits_per_pixel, kbps=kbps, size=size, psnr=psnr, effort=effort,
                    progressive=progressive, tune=tune, keep_best=keep_best, checkpoint=checkpoint, verify=verify)
    check_device(device)
    kind = None if codec is None else registry.entry(codec).kind
    if kind == "images":
        jobs = [paths.plan_set(source, output, ".fwb")]
    else:
        jobs = paths.plan(source, output, suffixes_of(kind), ".fwb", "-fwb")
    if checkpoint is not None and len(jobs) > 1:
        raise InputError(f"A checkpoint belongs to one film, and {source} holds {len(jobs)} files.")

    def report(job: paths.Job, outcome: Outcome) -> None:
        if checkpoint is not None:
            checkpoint.unlink(missing_ok=True)
        _report(job, outcome, as_json)

    _run(jobs, Encoding(codec, target, audio, device, weights, max_pixels, max_samples), report, overwrite)


def decode(
    source: Annotated[str, typer.Argument(metavar="FILE", help="A .fwb file, a folder, or - for standard input.")],
    output: options.Output = None,
    only: Annotated[int | None, typer.Option(metavar="NUMBER", min=0, help="Of a set, this image, from 0.")] = None,
    frames: Annotated[
        str | None, typer.Option(metavar="A:B", help="Of a film, frames A to B (not included), from 0, without sound.")
    ] = None,
    fps: Annotated[str | None, typer.Option(metavar="RATE", help="Of a film, so many frames a second.")] = None,
    levels: Annotated[
        int | None, typer.Option(metavar="K", help="Of a codec that works in levels, the first K: a preview.")
    ] = None,
    allow_damage: options.AllowDamage = False,
    conceal: options.Conceal = False,
    weights: options.Weights = None,
    max_pixels: options.MaxPixels = None,
    max_samples: options.MaxSamples = None,
    overwrite: options.Overwrite = False,
) -> None:
    """Decode .fwb files to pictures, sounds and films: PNG, WAV and MKV, or what the suffix of the output says.

    A set of images becomes a folder of pictures, or an idx file where the output ends in idx3-ubyte or .idx. A film
    becomes a folder of pictures where the output has no suffix.
    """
    jobs = paths.plan(source, output, paths.STREAMS, ".png", "-decoded")
    if output is None or Path(source).is_dir():
        jobs = [with_usual_name(job, only) for job in jobs]
    decoding = Decoding(allow_damage, weights, max_pixels, max_samples, only, frames, fps, levels, conceal)
    _run(jobs, decoding, _say_notices, overwrite)


def _run(
    jobs: list[paths.Job], convert: Conversion, report: Callable[[paths.Job, Outcome], None], overwrite: bool
) -> None:
    """Converts one file after another. Of several, one that fails does not stop the others.

    Raises:
        FewbitsError: of the only file.
        typer.Exit: with the exit code of the first file of several that failed.
    """
    for folder in {job.output.resolve().parent for job in jobs if job.output is not None}:
        paths.remove_leftovers(folder)
    errors: list[FewbitsError] = []
    with progress_bar() as progress:
        for number, job in enumerate(jobs):
            try:
                if job.output is not None:
                    paths.refuse_unwritable(job.output, overwrite)
                report(job, convert(job, overwrite, part_of(progress, number, len(jobs), job.source_name)))
            except FewbitsError as error:
                if len(jobs) == 1:
                    raise
                _say(f"{job.source_name}: {error}")
                errors.append(error)
    if errors:
        _say(f"{len(errors)} of {len(jobs)} files failed.")
        raise typer.Exit(errors[0].exit_code)


def _report(job: paths.Job, outcome: Outcome, as_json: bool) -> None:
    """What came of a file: on standard output, or on standard error where the other carries the file."""
    stream = sys.stdout if job.output is not None else sys.stderr
    if as_json:
        record = {"input": job.source_name, "output": job.output_name, **outcome.details,
                  "notices": list(outcome.notices)}
        print(json.dumps(record), file=stream)
        return
    rate, seconds = rate_in_words(outcome.kind, outcome.rate), outcome.details["encode_s"]
    print(f"{job.output_name}: {outcome.size:,} bytes, {rate}, {seconds:.2f} s", file=stream)
    _say_notices(job, outcome)


def _say_notices(job: paths.Job, outcome: Outcome) -> None:
    for notice in outcome.notices:
        _say(f"{job.source_name}: {notice}")


def _say(sentence: str) -> None:
    print(f"fewbits: {sentence}", file=sys.stderr)
