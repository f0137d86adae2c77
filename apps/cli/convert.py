"""`fewbits encode` and `fewbits decode`."""

import json
import sys
import time
from collections.abc import Callable
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from fewbits.apps.cli import paths
from fewbits.apps.cli.device import Device, check_device
from fewbits.apps.cli.progress import progress_bar
from fewbits.codecs import registry
from fewbits.codecs.codec import Progress, Target, part_of
from fewbits.codecs.suffixes import suffixes_of
from fewbits.entropy.container import kind_of_start
from fewbits.errors import FewbitsError, InputError

if TYPE_CHECKING:
    from fewbits.codecs.files import CodedSound, CodedVideo, Decoded, Encoded
    from fewbits.codecs.kinds import Media, MediaSource
    from fewbits.codecs.sound_source import SoundSource
    from fewbits.codecs.video_source import VideoSource

Output = Annotated[str | None, typer.Option("--output", "-o", help="A file or folder, or - for standard output.")]
Overwrite = Annotated[bool, typer.Option("-y", help="Overwrite files that exist.")]
MaxPixels = Annotated[
    int | None,
    typer.Option(min=1, help="Refuse pictures and films with more pixels; raise it for files that you trust."),
]
MaxSamples = Annotated[
    int | None, typer.Option(min=1, help="Refuse sounds with more samples; raise it for files that you trust.")
]

Weights = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Weights of yours, for codecs that take them: compressai.")
]


def encode(
    source: Annotated[
        str,
        typer.Argument(metavar="INPUT", help="A picture, sound or film, an idx file, a folder, or - for a pipe."),
    ],
    output: Output = None,
    codec: Annotated[
        str | None,
        typer.Option(help="Name of the codec; `fewbits codecs` lists them.", show_default="hyperprior or speech"),
    ] = None,
    quality: Annotated[float | None, typer.Option(help="0 (smallest file) to 100 (best quality).")] = None,
    bits_per_pixel: Annotated[float | None, typer.Option("--bpp", help="Aim at this many bits per pixel.")] = None,
    kbps: Annotated[float | None, typer.Option(help="Of sounds and films: aim at this many kbit/s.")] = None,
    size: Annotated[int | None, typer.Option(help="Aim at a file of at most this many bytes.")] = None,
    psnr: Annotated[float | None, typer.Option(help="Aim at this PSNR, in dB.")] = None,
    effort: Annotated[int, typer.Option(min=1, max=9, help="1 (fastest) to 9 (slowest).")] = 5,
    progressive: Annotated[
        bool,
        typer.Option("--progressive", help="The beginning of the file is the whole picture at a lower quality."),
    ] = False,
    tune: Annotated[Literal["psnr", "msssim"], typer.Option(help="The metric that the picture is coded for.")] = "psnr",
    keep_best: Annotated[
        bool,
        typer.Option("--keep-best", help="On Ctrl-C, finish with what is fitted so far instead of writing nothing."),
    ] = False,
    checkpoint: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Of one film: keep the state of the fit in FILE every minute, and go on from "
                                          "it where it exists; it is removed when all is done."),
    ] = None,
    verify: Annotated[
        bool, typer.Option(help="Lossless codecs: decode the result and compare before reporting success.")
    ] = True,
    audio: Annotated[
        str | None,
        typer.Option(metavar="copy|none|CODEC", help="What becomes of the sound of a film.", show_default="copy"),
    ] = None,
    device: Device = "cpu",
    weights: Weights = None,
    max_pixels: MaxPixels = None,
    max_samples: MaxSamples = None,
    overwrite: Overwrite = False,
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

    def one(job: paths.Job, progress: Progress) -> None:
        from fewbits.codecs import files, sources
        from fewbits.codecs.sound import MAX_SAMPLES

        with sources.seekable(job.source or sys.stdin.buffer) as source:
            media, name = sources.open_for(source, codec, max_pixels, max_samples or MAX_SAMPLES)
            began = time.perf_counter()
            encoded = files.encode(media, name, target, audio=audio, device=device, weights=weights, progress=progress)
            seconds = time.perf_counter() - began
        if job.output is None:
            sys.stdout.buffer.write(encoded.data)
        else:
            with paths.whole_or_absent(job.output, overwrite) as temporary:
                temporary.write_bytes(encoded.data)
        if checkpoint is not None:
            checkpoint.unlink(missing_ok=True)
        _report(job, name, media, encoded, seconds, as_json)

    _run(jobs, one, overwrite)


def decode(
    source: Annotated[str, typer.Argument(metavar="FILE", help="A .fwb file, a folder, or - for standard input.")],
    output: Output = None,
    only: Annotated[int | None, typer.Option(metavar="NUMBER", min=0, help="Of a set, this image, from 0.")] = None,
    frames: Annotated[
        str | None, typer.Option(metavar="A:B", help="Of a film, frames A to B (not included), from 0, without sound.")
    ] = None,
    fps: Annotated[str | None, typer.Option(metavar="RATE", help="Of a film, so many frames a second.")] = None,
    levels: Annotated[
        int | None, typer.Option(metavar="K", help="Of a codec that works in levels, the first K: a preview.")
    ] = None,
    allow_damage: Annotated[
        bool, typer.Option(help="Keep what can be decoded of a damaged file, or of its beginning.")
    ] = False,
    weights: Weights = None,
    max_pixels: MaxPixels = None,
    max_samples: MaxSamples = None,
    overwrite: Overwrite = False,
) -> None:
    """Decode .fwb files to pictures, sounds and films: PNG, WAV and MKV, or what the suffix of the output says.

    A set of images becomes a folder of pictures, or an idx file where the output ends in idx3-ubyte or .idx. A film
    becomes a folder of pictures where the output has no suffix.
    """
    jobs = paths.plan(source, output, paths.STREAMS, ".png", "-decoded")
    if output is None or Path(source).is_dir():
        jobs = [_with_usual_name(job, only) for job in jobs]

    def one(job: paths.Job, progress: Progress) -> None:
        from fewbits.codecs import files

        data = paths.read_bytes(job.source)
        kind = kind_of_start(data)
        pixels, samples = _limits(kind, max_pixels, max_samples)
        if kind != "video" and (frames, fps) != (None, None):
            raise InputError(f"{job.source_name} holds no film, of which frames could be chosen.")
        if kind not in (None, "image") and levels is not None:
            raise InputError(f"{job.source_name} holds no picture, of which levels could be decoded.")
        refuse_weights(weights, kind, job.source_name)
        if only is not None:
            _write(files.decode_one(data, only, max_pixels=pixels), job, overwrite)
            return
        made: files.CodedSound | files.CodedVideo | files.Decoded
        if kind == "audio":  # written while it is decoded
            made = files.CodedSound(data, allow_damage=allow_damage, max_samples=samples, progress=progress)
            _write(made, job, overwrite)
        elif kind == "video":  # as well
            made = files.CodedVideo(data, allow_damage=allow_damage, max_pixels=pixels, progress=progress)
            _write(_chosen(made, frames, fps), job, overwrite)
        else:
            made = files.decode(data, allow_damage=allow_damage, levels=levels, max_pixels=pixels, weights=weights,
                                progress=progress)
            _write(made.media, job, overwrite)
        if made.damaged:
            _say(f"{job.source_name}: {_damage(made)}")

    _run(jobs, one, overwrite)


def _damage(made: "CodedSound | CodedVideo | Decoded") -> str:
    """What of a damaged file is not there, in words."""
    from fewbits.codecs.files import Decoded

    count = f"{len(made.damaged)} of {made.sections} sections are damaged"
    if not isinstance(made, Decoded) or made.levels is None:
        return f"{count} and blank."
    least, most = made.levels
    shown = str(least) if least == most else f"{least} to {most}"
    further = f", and {len(made.lost)} more cannot be shown without them" if made.lost else ""
    return f"{count} or missing{further}; levels shown: {shown}."


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


def _chosen(film: "CodedVideo", frames: str | None, fps: str | None) -> "VideoSource":
    """The frames of a film that the user asks for. Raises `InputError` for what cannot be asked for."""
    if frames is None and fps is None:
        return film
    start, stop = (None, None) if frames is None else _span(frames)
    try:
        rate = None if fps is None else Fraction(fps)
    except (ValueError, ZeroDivisionError):
        raise InputError(f"--fps takes a number such as 25, 29.97 or 30000/1001, not {fps}.") from None
    part = film.part(start or 0, stop, rate)
    if film.sound and not part.sound:
        _say("The sound is left out: it belongs to the whole film.")
    return part


def _span(text: str) -> tuple[int | None, int | None]:
    """A and B of A:B; either may be missing."""
    first, colon, last = text.partition(":")
    if not colon or any(end and not (end.isascii() and end.isdecimal()) for end in (first, last)):
        raise InputError(f"--frames takes A:B, counted from 0 and without B, not {text}.")
    return int(first) if first else None, int(last) if last else None


def _with_usual_name(job: paths.Job, only: int | None) -> paths.Job:
    """With the default place for what the file holds, instead of that for a picture."""
    kind = paths.kind_in(job.source)
    if job.output is None or kind not in ("images", "audio", "video"):
        return job
    if kind != "images":
        return paths.Job(job.source, job.output.with_suffix(".wav" if kind == "audio" else ".mkv"))
    ending = "-decoded" if only is None else f"-{only}.png"
    return paths.Job(job.source, job.output.with_name(job.output.stem + ending))


def _write(media: "Media | SoundSource | VideoSource", job: paths.Job, overwrite: bool) -> None:
    """To a file or folder, or as PNG, WAV, Matroska or idx to the standard output."""
    from fewbits.codecs.image_set import ImageSet
    from fewbits.codecs.media import Image
    from fewbits.codecs.video_source import VideoSource

    if job.output is not None:
        with paths.whole_or_absent(job.output, overwrite) as temporary:
            notices = media.save(temporary)
        for notice in notices or ():
            _say(f"{job.output_name}: {notice}")
    elif isinstance(media, VideoSource):
        media.save(sys.stdout.buffer, ".mkv")
    elif isinstance(media, ImageSet):
        sys.stdout.buffer.write(media.to_idx())
    elif isinstance(media, Image):
        buffer = BytesIO()
        media.save(buffer, format="PNG")
        sys.stdout.buffer.write(buffer.getvalue())
    else:
        media.write_wav(sys.stdout.buffer)


def _run(jobs: list[paths.Job], one: Callable[[paths.Job, Progress], None], overwrite: bool) -> None:
    """Converts one file after another. Of several, one that fails does not stop the others.

    Raises:
        FewbitsError: of the only file.
        typer.Exit: with the exit code of the first file of several that failed.
    """
    errors: list[FewbitsError] = []
    with progress_bar() as progress:
        for number, job in enumerate(jobs):
            try:
                if job.output is not None:
                    paths.refuse_existing(job.output, overwrite)  # before the work, not only after it
                one(job, part_of(progress, number, len(jobs), job.source_name))
            except FewbitsError as error:
                if len(jobs) == 1:
                    raise
                _say(f"{job.source_name}: {error}")
                errors.append(error)
    if errors:
        _say(f"{len(errors)} of {len(jobs)} files failed.")
        raise typer.Exit(errors[0].exit_code)


def _report(
    job: paths.Job, codec: str, media: "MediaSource", encoded: "Encoded", seconds: float, as_json: bool
) -> None:
    """What came of a file: on standard output, or on standard error where the other carries the file."""
    size = len(encoded.data)
    facts, rate = _facts(media, size)
    stream = sys.stdout if job.output is not None else sys.stderr
    if as_json:
        record = {
            "input": job.source_name,
            "output": job.output_name,
            "codec": codec,
            **facts,
            "bytes": size,
            "estimate_bits": encoded.estimate_bits,
            "settings": encoded.settings,
            "encode_s": seconds,
            "notices": list(encoded.notices),
        }
        print(json.dumps(record), file=stream)
        return
    print(f"{job.output_name}: {size:,} bytes, {rate}, {seconds:.2f} s", file=stream)
    for notice in encoded.notices:
        _say(f"{job.source_name}: {notice}")


def _facts(media: "MediaSource", size: int) -> tuple[dict[str, float], str]:
    """How large media are, the rate of their file of so many bytes, and the rate in words."""
    from fewbits.codecs import kinds
    from fewbits.codecs.sound_source import SoundSource
    from fewbits.codecs.video_source import VideoSource

    rate = kinds.rate_of(kinds.kind_of(media), kinds.fields_of(media), size)
    if isinstance(media, SoundSource):
        facts = {"rate": media.rate, "channels": media.channels, "samples": media.count, **rate}
        return facts, f"{rate['kbps']:.2f} kbit/s"
    if isinstance(media, VideoSource):
        facts = {"width": media.width, "height": media.height, "frames": media.count, **rate}
        return facts, f"{rate['kbps']:.1f} kbit/s, {rate['bits_per_pixel']:.3f} bits per pixel"
    facts = {"width": media.width, "height": media.height, "pixels": media.pixel_count, "bpp": rate["bits_per_pixel"]}
    return facts, f"{rate['bits_per_pixel']:.3f} bits per pixel"


def _say(sentence: str) -> None:
    print(f"fewbits: {sentence}", file=sys.stderr)
