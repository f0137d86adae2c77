"""Films to files: FFV1 in Matroska, which keeps every sample, H.264 and VP9 for players, or a folder of pictures."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np

from fewbits.codecs import files
from fewbits.codecs.colour import Colour
from fewbits.codecs.media import Image
from fewbits.codecs.planar_frame import fill, planar_frame, say_colour
from fewbits.codecs.sound_source import SoundSource, bare_container, finite
from fewbits.codecs.sound_track import SoundTrack, lead_of, moved, packets_of, sound_in, time_of
from fewbits.codecs.video_source import VideoSource
from fewbits.errors import InputError

if TYPE_CHECKING:
    import av
    import av.video.plane


@dataclass(frozen=True)
class _Form:
    """How films are stored under a suffix.

    Attributes:
        container, video, sound: FFmpeg's names of the container and of encoders, the last for sound that is not copied.
        exact: frames are stored as RGB; otherwise in planes of 4:2:0.
        even: the encoder takes no odd sizes.
        options: of the encoder of frames.
    """

    container: str
    video: str
    sound: str
    exact: bool
    even: bool
    options: dict[str, str]


_H264 = {"crf": "12"}
_FORMS = {
    ".mkv": _Form("matroska", "ffv1", "flac", True, False, {"level": "3", "slicecrc": "1"}),
    ".mp4": _Form("mp4", "libx264", "aac", False, True, _H264),
    ".mov": _Form("mov", "libx264", "aac", False, True, _H264),
    ".webm": _Form("webm", "libvpx-vp9", "libopus", False, False, {"crf": "15", "b": "0", "cpu-used": "4"}),
}
_LAYOUTS = ("mono", "stereo", "3.0", "quad", "5.0", "5.1", "6.1", "7.1")  # by the number of channels
_USUAL_SOUND_RATE = 48000  # Hz, where the encoder does not take that of the sound


def write(film: VideoSource, target: str | Path | IO[bytes], suffix: str | None = None) -> tuple[str, ...]:
    """Writes a film frame by frame: .mkv (FFV1, every sample of RGB), .mp4 and .mov (H.264), .webm (VP9), or without
    suffix a folder of PNG pictures, 000000.png and so on.

    Sound whose packets were copied is copied again; other sound is coded as FLAC, AAC or Opus.

    Args:
        target: a name, or an open file, which for .mkv and .webm may be a pipe.
        suffix: that of the name where it is not given.

    Returns:
        Sentences for the user on what the file does not hold as it was.

    Raises:
        InputError: if the suffix is unknown, the form cannot hold the film or its sound, or the film cannot be read.
        StreamError, WeightsError: if the film or its sound cannot be decoded.
    """
    suffix = Path(target).suffix.lower() if suffix is None and isinstance(target, str | Path) else suffix
    if not suffix and isinstance(target, str | Path):
        return _write_pictures(film, Path(target))
    if suffix not in _FORMS:
        raise InputError(f"A film cannot be written to {target}: the suffixes {', '.join(_FORMS)} are known, and none, "
                         "for a folder of pictures.")
    return _write_container(film, target, suffix)


def _write_pictures(film: VideoSource, folder: Path) -> tuple[str, ...]:
    folder.mkdir(parents=True, exist_ok=True)
    for number, pixels in enumerate(film.frames()):
        Image(pixels).save(folder / f"{number:06d}.png")
    return ("The pictures hold no sound; it is left out.",) if film.sound else ()


def _write_container(film: VideoSource, target: str | Path | IO[bytes], suffix: str) -> tuple[str, ...]:
    import av  # slow to import

    form = _FORMS[suffix]
    place = str(Path(target).absolute()) if isinstance(target, str | Path) else target  # no name of a protocol
    try:
        with ExitStack() as stack:
            out = stack.enter_context(av.open(place, "w", format=form.container))
            stream = _video_stream(out, film, form)
            sound = _sound_packets(out, film, form, suffix, stack)
            _start(out, suffix)
            waiting = next(sound, None)
            for number, pixels in enumerate(film.frames()):
                while waiting is not None and time_of(waiting) <= number / film.rate:
                    out.mux(waiting)
                    waiting = next(sound, None)
                frame = _frame(pixels, film.colour, form)
                frame.pts, frame.time_base = number, 1 / film.rate
                out.mux(stream.encode(frame))
            out.mux(stream.encode(None))
            while waiting is not None:
                out.mux(waiting)
                waiting = next(sound, None)
    except av.FFmpegError as error:
        hint = "" if isinstance(error, OSError) else " Try .mkv, which holds most."
        raise InputError(f"The film cannot be written to {target}: {error.strerror or error}.{hint}") from None
    if form.even and (film.width % 2 or film.height % 2):
        return (f"{suffix} files need even sides; the last row or column is there twice.",)
    return ()


def _start(out: "av.container.OutputContainer", suffix: str) -> None:
    """Opens encoders and writes the header, in which unfit forms show."""
    import av

    try:
        out.start_encoding()
    except (av.FFmpegError, ValueError) as error:
        if isinstance(error, OSError):  # of the disk
            raise
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{suffix} files cannot hold the film with its sound: {reason}. Write .mkv.") from None


def _video_stream(out: "av.container.OutputContainer", film: VideoSource, form: _Form) -> "av.VideoStream":
    import av

    stream = out.add_stream(form.video, rate=film.rate, options=form.options)
    assert isinstance(stream, av.VideoStream)
    stream.width, stream.height = (side + side % 2 * form.even for side in (film.width, film.height))
    stream.pix_fmt = "bgr0" if form.exact else "yuv420p"
    stream.codec_context.time_base = 1 / film.rate
    stream.codec_context.thread_type = "AUTO"
    if not form.exact:
        say_colour(stream.codec_context, film.colour)
    return stream


def _frame(pixels: np.ndarray, colour: Colour, form: _Form) -> "av.VideoFrame":
    """Pixels as the encoder takes them."""
    import av

    height, width = pixels.shape[:2]
    if form.exact:
        frame = av.VideoFrame(width, height, "bgr0")
        blank = np.zeros((height, width, 1), np.uint8)
        fill(frame.planes[0], np.concatenate((pixels[..., ::-1], blank), axis=2).reshape(height, -1))
        return frame
    if form.even:
        pixels = np.pad(pixels, ((0, height % 2), (0, width % 2), (0, 0)), "edge")
    return planar_frame(pixels, colour)


def _sound_packets(out: "av.container.OutputContainer", film: VideoSource, form: _Form, suffix: str,
                   stack: ExitStack) -> "Iterator[av.Packet]":
    """The packets of the film's sound, for a stream that is added; they may be taken once the encoding has started."""
    track = film.sound
    if track is None:
        return iter(())
    track.check()
    if track.is_copy:
        return _copied(out, track, suffix, stack)
    return _coded(out, files.sound_of(track), form.sound)


def _copied(out: "av.container.OutputContainer", track: SoundTrack, suffix: str,
            stack: ExitStack) -> "Iterator[av.Packet]":
    source = stack.enter_context(bare_container(BytesIO(track.data)))
    stream = sound_in(source)
    assert stream is not None  # the track is checked
    name = stream.codec_context.codec.canonical_name
    if name not in out.supported_codecs:
        raise InputError(f"{suffix} files cannot hold the sound of the film, {name}: write .mkv.")
    copy, lead = out.add_stream_from_template(stream), lead_of(source)
    return (moved(packet, copy, -lead) for packet in packets_of(source))


def _coded(out: "av.container.OutputContainer", sound: SoundSource, encoder: str) -> "Iterator[av.Packet]":
    import av

    if sound.channels > len(_LAYOUTS):
        raise InputError(f"Films are written with up to {len(_LAYOUTS)} channels of sound, not {sound.channels}.")
    layout = _LAYOUTS[sound.channels - 1]
    rates = av.Codec(encoder, "w").audio_rates
    rate = sound.rate if rates is None or sound.rate in rates else _USUAL_SOUND_RATE
    stream = out.add_stream(encoder, rate=rate, layout=layout)
    assert isinstance(stream, av.AudioStream)

    def packets() -> "Iterator[av.Packet]":
        cutter = av.AudioResampler(stream.format.name, layout, rate, stream.frame_size or None)
        for frame in _audio_frames(sound, layout):
            for part in cutter.resample(frame):
                yield from stream.encode(part)
        for part in cutter.resample(None):
            yield from stream.encode(part)
        yield from stream.encode(None)

    return packets()


def _audio_frames(sound: SoundSource, layout: str) -> "Iterator[av.AudioFrame]":
    import av

    written = 0
    for chunk in sound.chunks():
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(finite(chunk)[0].clip(-1, 1)), "fltp", layout)
        frame.sample_rate, frame.pts, frame.time_base = sound.rate, written, Fraction(1, sound.rate)
        written += chunk.shape[1]
        yield frame
