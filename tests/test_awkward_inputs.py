"""Awkward files and what comes of each, which docs/inputs.md tells row by row."""

import io
import os
import re
import struct
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from PIL import Image as PillowImage

from fewbits.codecs import files, sources
from fewbits.codecs.codec import Target
from fewbits.codecs.kinds import samples_of
from fewbits.codecs.media import Image
from fewbits.codecs.sound_source import SoundSource
from fewbits.codecs.video_source import VideoSource
from fewbits.errors import InputError

Y, X = np.mgrid[0:32, 0:48]
RGB = np.stack([X * 5, Y * 7, X + Y], axis=-1).astype(np.uint8)
DEEP = np.random.default_rng(0).integers(0, 2**16, (32, 48, 4), dtype=np.uint16)
TONE = (np.sin(np.arange(4000) / 5) / 2).astype(np.float32)
NOISE = np.random.default_rng(1).integers(0, 256, (96, 96, 3), dtype=np.uint8)
ORIENTED = [lambda p: p, np.fliplr, lambda p: np.rot90(p, 2), np.flipud, lambda p: p.swapaxes(0, 1),
            lambda p: np.rot90(p, -1), lambda p: np.rot90(p.swapaxes(0, 1), 2), np.rot90]  # by EXIF's number less 1


def picture(pixels: np.ndarray = RGB, format: str = "PNG", mode: str | None = None, **options) -> bytes:
    file, made = io.BytesIO(), PillowImage.fromarray(pixels)
    (made if mode is None else made.convert(mode)).save(file, format, **options)
    return file.getvalue()


def several(format: str, **options) -> bytes:
    return picture(format=format, save_all=True, append_images=[PillowImage.fromarray(RGB[::-1])] * 2, **options)


def deep_png(channels: int, form: int, *more: bytes) -> bytes:
    """A PNG file with 16 bits a sample, which Pillow writes of grey alone."""
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in DEEP[..., :channels])
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 48, 32, 16, form, 0, 0, 0))
    return b"".join((b"\x89PNG\r\n\x1a\n", head, *more, chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")))


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def exif(tag: int, value: object) -> PillowImage.Exif:
    made = PillowImage.Exif()
    made[tag] = value
    return made


def print_profile() -> bytes:
    """A colour profile for CMYK that makes everything grey: lightness falls with the ink."""
    even = bytes(range(256))
    inks = [[number >> place & 1 for place in (3, 2, 1, 0)] for number in range(16)]
    table = b"".join(bytes([255 - 60 * sum(ink), 128, 128]) for ink in inks)  # Lab
    unit = struct.pack(">9i", *(65536 * (place % 4 == 0) for place in range(9)))
    lut = b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + unit + 4 * even + table + 3 * even
    head = struct.pack(">I4x4s4s4s4s12x4s28x3i", 144 + len(lut), b"\x02\x40\0\0", b"prtr", b"CMYK", b"Lab ", b"acsp",
                       63190, 65536, 54061)
    return head.ljust(128, b"\0") + struct.pack(">I4sII", 1, b"A2B0", 144, len(lut)) + lut


def cut(data: bytes, share: float = 0.6) -> bytes:
    return data[: int(len(data) * share)]


def patched(data: bytes, at: int, value: bytes) -> bytes:
    return data[:at] + value + data[at + len(value) :]


PALETTE = PillowImage.fromarray(RGB).quantize(16)
PICTURES: dict[str, tuple[Callable[[], bytes], np.ndarray | None, int]] = {
    # by name: the file, what it should look like where that is known, and how far samples may be from it
    "JPEG, progressive": (lambda: picture(format="JPEG", progressive=True, quality=95), RGB, 30),
    "JPEG, CMYK": (lambda: picture(format="JPEG", mode="CMYK", quality=95), RGB, 40),
    "JPEG, CMYK, with a profile": (lambda: picture(format="JPEG", mode="CMYK", icc_profile=print_profile()), None, 0),
    "JPEG, CMYK, with a broken profile": (lambda: picture(format="JPEG", mode="CMYK", icc_profile=b"?" * 99), None, 0),
    "TIFF, Lab": (lambda: picture(np.full((32, 48, 3), 128, np.uint8), "TIFF", "LAB"), None, 0),
    "TIFF, floating point": (lambda: picture(RGB[..., 0].astype(np.float32), "TIFF"), None, 0),
    "TIFF, grey, 32 bits": (lambda: picture(RGB[..., 0].astype(np.int32) * 2**20, "TIFF"), None, 0),
    "TIFF, several pages": (lambda: several("TIFF"), RGB, 0),
    "PNG, grey, 16 bits": (lambda: deep_png(1, 0), DEEP[..., :1], 0),
    "PNG, grey, 16 bits, one value transparent": (lambda: deep_png(1, 0, chunk(b"tRNS", b"\0\5")), DEEP[..., :1], 0),
    "PNG, grey and alpha, 16 bits": (lambda: deep_png(2, 4), DEEP[..., [0, 0, 0, 1]] >> 8, 0),
    "PNG, RGB, 16 bits": (lambda: deep_png(3, 2), DEEP[..., :3] >> 8, 0),
    "PNG, RGB and alpha, 16 bits": (lambda: deep_png(4, 6), DEEP >> 8, 0),
    "PNG, 1 bit": (lambda: picture(RGB[..., 0] > 99), 255 * (RGB[..., :1] > 99), 0),
    "PNG, palette": (lambda: picture(np.asarray(PALETTE.convert("RGB")), mode="P"), None, 0),
    "PNG, palette, transparency": (lambda: stored(PALETTE, transparency=3), np.asarray(PALETTE.convert("RGBA")), 255),
    "PNG, animated": (lambda: several("PNG"), RGB, 0),
    "GIF, animated": (lambda: several("GIF"), RGB, 60),
    "WebP, animated": (lambda: several("WEBP", lossless=True), RGB, 0),
    "AVIF, animated": (lambda: several("AVIF", quality=95), RGB, 40),
    "JPEG of several pictures (MPO)": (lambda: several("MPO", quality=95), RGB, 40),
    "WebP, 5 MB of EXIF": (lambda: picture(format="WEBP", lossless=True, exif=exif(0x10E, "x" * 5_000_000)), RGB, 0),
    "PNG, EXIF that is none": (lambda: picture(exif=b"no EXIF"), RGB, 0),
    **{f"PNG, EXIF orientation {n + 1}": (lambda n=n: picture(exif=exif(0x112, n + 1)), turned(RGB), 0)
       for n, turned in enumerate(ORIENTED)},
    "AVIF, EXIF orientation 6": (lambda: picture(format="AVIF", quality=95, exif=exif(0x112, 6)), ORIENTED[5](RGB), 40),
    "PNG, 1 pixel wide": (lambda: picture(RGB[:, :1]), RGB[:, :1], 0),
    "PNG, 1 pixel high": (lambda: picture(RGB[:1]), RGB[:1], 0),
    "PNG, 400 megapixels in 50 kB": (lambda: picture(np.zeros((20000, 20000), bool)), None, 0),
    "PNG of no bytes": (lambda: b"", None, 0),
    "TIFF, 17 MB of colour profile": (lambda: picture(format="TIFF", icc_profile=bytes(17 << 20)), None, 0),
    "JPEG, cut": (lambda: cut(picture(NOISE, "JPEG")), None, 0),
    "JPEG, progressive, cut": (lambda: cut(picture(NOISE, "JPEG", progressive=True)), None, 0),
    "PNG, cut": (lambda: cut(picture(NOISE)), None, 0),
    "WebP, cut": (lambda: cut(picture(NOISE, "WEBP")), None, 0),
    "GIF, cut": (lambda: cut(picture(NOISE, "GIF")), None, 0),
    "AVIF, cut": (lambda: cut(picture(NOISE, "AVIF")), None, 0),
    "AVIF, damaged inside": (lambda: picture(NOISE, "AVIF").replace(b"av01", b"av02"), None, 0),
}


def stored(made: PillowImage.Image, **options) -> bytes:
    file = io.BytesIO()
    made.save(file, "PNG", **options)
    return file.getvalue()


def sound(samples: np.ndarray = TONE, format: str = "WAV", subtype: str | None = None, rate: int = 16000) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=format, subtype=subtype)
    return file.getvalue()


def by_ffmpeg(codec: str, format: str) -> bytes:
    """A tone of four seconds."""
    file = io.BytesIO()
    with av.open(file, "w", format=format) as out:
        stream = out.add_stream(codec, rate=48000, layout="mono")
        wave = (np.sin(np.arange(192000) / 9) / 2).astype(np.float32)
        frame = av.AudioFrame.from_ndarray(wave[None], "fltp", "mono")
        frame.sample_rate, frame.pts, frame.time_base = 48000, 0, Fraction(1, 48000)
        cutter = av.AudioResampler(stream.format.name, "mono", 48000, stream.frame_size)
        for part in (*cutter.resample(frame), *cutter.resample(None), None):
            out.mux(stream.encode(part))
    return file.getvalue()


WRONG = TONE.copy()
WRONG[[5, 7, 9]] = np.nan, np.inf, -np.inf
SIX = np.stack([TONE / n for n in range(1, 7)], axis=1)
WAV = sound()
UNKNOWN = b"\xff" * 4
SOUNDS: dict[str, tuple[Callable[[], bytes], np.ndarray | None, float]] = {
    "WAV, 8 bits": (lambda: sound(subtype="PCM_U8"), TONE, 0.02),
    "WAV, floating point, with NaN and infinities": (lambda: sound(WRONG, subtype="FLOAT"),
                                                     np.where(np.isfinite(WRONG), WRONG, 0), 0.02),
    "WAV, 6 channels": (lambda: sound(SIX), SIX, 0.02),
    "WAV, 1 Hz": (lambda: sound(rate=1, samples=TONE[:5]), TONE[:5], 0.02),
    "WAV, 96,001 Hz": (lambda: sound(rate=96001), TONE, 0.02),
    "WAV, 2,000,000 Hz": (lambda: patched(WAV, 24, struct.pack("<I", 2_000_000)), None, 0),
    "WAV, 0 Hz": (lambda: patched(WAV, 24, bytes(4)), None, 0),
    "WAV, no channels": (lambda: patched(WAV, 22, bytes(2)), None, 0),
    "WAV, 65,535 channels": (lambda: patched(WAV, 22, b"\xff\xff"), None, 0),
    "WAV, 255 bits": (lambda: patched(WAV, 34, b"\xff\0"), None, 0),
    "WAV from a pipe, without lengths": (lambda: patched(patched(WAV, 4, UNKNOWN), 40, UNKNOWN), TONE, 0.02),
    "WAV, cut": (lambda: cut(WAV), TONE[:2391], 0.02),
    "WAV without samples": (lambda: sound(TONE[:0]), None, 0),
    "WAV, cut in its header": (lambda: WAV[:20], None, 0),
    "WAV of no bytes": (lambda: b"", None, 0),
    "RF64": (lambda: sound(format="RF64"), TONE, 0.02),
    "RF64 that announces an exabyte": (lambda: patched(sound(format="RF64"), 20, struct.pack("<QQ", 1 << 60, 1 << 60)),
                                       TONE, 0.02),
    "AIFF, cut": (lambda: cut(sound(format="AIFF")), TONE[:2389], 0.02),
    "FLAC, 24 bits": (lambda: sound(format="FLAC", subtype="PCM_24"), TONE, 0.02),
    "FLAC, cut": (lambda: cut(sound(format="FLAC")), None, 0),
    "Ogg Vorbis, cut": (lambda: cut(sound(np.tile(TONE, 40), format="OGG"), 0.9), None, 0),
    "Ogg Opus, cut": (lambda: cut(by_ffmpeg("libopus", "ogg")), None, 0),
    "MP3, cut": (lambda: cut(by_ffmpeg("libmp3lame", "mp3")), None, 0),
    "MPEG-4 AAC, cut before its index": (lambda: cut(by_ffmpeg("aac", "mp4")), None, 0),
}

Film, Moving = Callable[..., bytes], Callable[..., np.ndarray]
H264 = {"codec": "libx264", "pix_fmt": "yuv420p", "format": "mp4"}


def cut_behind_index(film: Film, moving: Moving) -> bytes:
    with tempfile.NamedTemporaryFile(suffix=".mp4") as file:  # FFmpeg moves the index by opening the file again
        with av.open(io.BytesIO(film(moving(60), **H264, tone=2))) as whole, av.open(
                file.name, "w", options={"movflags": "faststart"}) as out:
            streams = {stream: out.add_stream_from_template(stream) for stream in whole.streams}
            for packet in whole.demux():
                if packet.size:
                    packet.stream = streams[packet.stream]
                    out.mux(packet)
        return cut(Path(file.name).read_bytes())


def empty_film(film: Film, moving: Moving) -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as out:
        stream = out.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 48, 34, "yuv420p"
        out.start_encoding()
    return file.getvalue()


def without_frames(film: Film, moving: Moving) -> bytes:
    file = io.BytesIO()
    with av.open(io.BytesIO(film(moving(), tone=1))) as whole, av.open(file, "w", format="mp4") as out:
        stream = out.add_stream_from_template(whole.streams.audio[0])
        for packet in whole.demux(audio=0):
            if packet.size:
                packet.stream = stream
                out.mux(packet)
    return file.getvalue()


FILMS: dict[str, tuple[Callable[[Film, Moving], bytes], Callable[[np.ndarray], np.ndarray] | None]] = {
    # by name: the file, and what becomes of the frames of `moving` where that is exact
    "Matroska, variable frame rate": (lambda film, moving: film(moving(), 1000, times=[
        0, 40, 80, 200, 240, 280, 320, 360, 400, 440]), lambda frames: frames[[0, 1, 2, 2, 3, 3, 4, 5, 6, 7, 8, 9]]),
    "QuickTime from a phone, display matrix of 90 degrees": (
        lambda film, moving: film(moving(), codec="png", pix_fmt="rgb24", format="mov", rotation=90),
        lambda frames: np.rot90(frames, 1, (1, 2))),
    "MP4, display matrix of 45 degrees": (lambda film, moving: film(moving(), **H264, rotation=45), None),
    "MP4, 4:2:2": (lambda film, moving: film(moving(), **H264 | {"pix_fmt": "yuv422p"}), None),
    "MP4, 4:4:4": (lambda film, moving: film(moving(), **H264 | {"pix_fmt": "yuv444p"}), None),
    "MP4, 10 bits": (lambda film, moving: film(moving(), **H264 | {"pix_fmt": "yuv420p10le"}), None),
    "Matroska, odd sides, 4:2:0": (lambda film, moving: film(moving(10, 37, 25), pix_fmt="yuv420p"), None),
    "Matroska, frames of one pixel": (lambda film, moving: film(moving()[:, :1, :1]),
                                      lambda frames: frames[:, :1, :1]),
    "Matroska, one frame": (lambda film, moving: film(moving(1)), lambda frames: frames[:1]),
    "Matroska, sound longer than the film": (lambda film, moving: film(moving(), tone=2), lambda frames: frames),
    "Matroska, sound shorter than the film": (lambda film, moving: film(moving(), tone=0.1), lambda frames: frames),
    "Matroska, sound that begins later": (lambda film, moving: film(moving(), tone=0.2, begin=0.2),
                                          lambda frames: frames),
    "Matroska, cut": (lambda film, moving: cut(film(moving(), tone=0.4)), None),
    "AVI, cut": (lambda film, moving: cut(film(moving(), codec="mpeg4", pix_fmt="yuv420p", format="avi"), 0.9), None),
    "MPEG transport stream, cut": (lambda film, moving: cut(film(moving(40), **H264 | {"format": "mpegts"})), None),
    "MP4 with its index in front, cut": (cut_behind_index, None),
    "MP4, cut before its index": (lambda film, moving: cut(film(moving(), **H264)), None),
    "MP4 with sound alone": (without_frames, None),
    "MP4 with no frame": (empty_film, None),
    "MP4 of no bytes": (lambda film, moving: b"", None),
}


def answer(data: bytes, codec: str) -> tuple[str, np.ndarray | None]:
    """What the house says of a file, as docs/inputs.md has it, and what its stream decodes to; it is coded where it is
    not refused."""
    try:
        media, codec = sources.open_for(io.BytesIO(data), codec)
        encoded = files.encode(media, codec, Target(effort=1))
    except InputError as error:
        return f"refused: {error}", None
    decoded = files.decode(encoded.data).media
    said = " ".join(notice for notice in encoded.notices if "codec for tests" not in notice)
    return f"{described(media)}{f'. {said}' if said else ''}", samples_of(decoded)


def described(media: object) -> str:
    if isinstance(media, SoundSource):
        return f"{media.channels} x {media.count:,} samples at {media.rate:,} Hz"
    if isinstance(media, VideoSource):
        heard = f", {files.sound_of(media.sound).seconds:.1f} s of sound" if media.sound else ""
        return f"{media.count} frames of {media.width} x {media.height}, {float(media.rate):g} a second{heard}"
    assert isinstance(media, Image)
    return f"{media.width} x {media.height}, {('grey', 'grey and alpha', 'RGB', 'RGBA')[media.channels - 1]}, " \
           f"{media.bits} bits"


@pytest.fixture(scope="module")
def told() -> dict[str, str]:
    """What docs/inputs.md says of each file."""
    text = (Path(__file__).parent.parent / "docs" / "inputs.md").read_text()
    return dict(re.findall(r"^\| (.+?) \| (.+?) \|$", text, re.MULTILINE))


@pytest.mark.parametrize("name", PICTURES)
def test_pictures(name: str, told: dict[str, str]) -> None:
    make, expected, off = PICTURES[name]
    said, decoded = answer(make(), "circuit")
    assert said == told[name]
    assert (decoded is None) == said.startswith("refused: ")
    if expected is not None:
        assert decoded is not None and np.abs(decoded.astype(int) - expected).max() <= off


@pytest.mark.parametrize("name", SOUNDS)
def test_sounds(name: str, told: dict[str, str], stored_sound: Path) -> None:
    make, expected, off = SOUNDS[name]
    said, decoded = answer(make(), "speech")
    assert said == told[name]
    if expected is not None:
        assert decoded is not None and np.abs(decoded - np.atleast_2d(expected.T)).max() <= off


@pytest.mark.parametrize("name", FILMS)
def test_films(name: str, told: dict[str, str], film: Film, moving: Moving, stored_film: Path) -> None:
    make, becomes = FILMS[name]
    said, decoded = answer(make(film, moving), "stored")
    assert said == told[name]
    if becomes is not None:
        assert decoded is not None and np.array_equal(decoded, becomes(moving()))


def test_the_page_tells_of_no_other_files(told: dict[str, str]) -> None:
    assert set(told) - {"file", "---"} == {*PICTURES, *SOUNDS, *FILMS}


def test_colours_for_print_go_through_their_profile() -> None:
    image = Image.open(io.BytesIO(PICTURES["JPEG, CMYK, with a profile"][0]()))
    grey = image.pixels.astype(int)
    assert image.icc_profile is None and np.ptp(grey, axis=2).max() <= 2 and np.ptp(grey) > 60


@pytest.mark.parametrize(("name", "code"), [("photo.png", 0), ("pages.tiff", 0), ("cut.jpg", 2), ("none.webp", 2),
                                            ("cut.flac", 2), ("alone.mp4", 2)])
def test_as_a_process(name: str, code: int, film: Film, moving: Moving, root: Path, tmp_path: Path) -> None:
    content = {"photo.png": picture(), "pages.tiff": several("TIFF"), "cut.jpg": cut(picture(NOISE, "JPEG")),
               "none.webp": b"", "cut.flac": cut(sound(format="FLAC")), "alone.mp4": without_frames(film, moving)}
    (tmp_path / name).write_bytes(content[name])
    codec = ("--codec", "circuit", "--effort", "1") if code == 0 else ()
    done = subprocess.run([sys.executable, "-m", "fewbits", "encode", name, "-o", "out.fwb", *codec], cwd=tmp_path,
                          env=os.environ | {"PYTHONPATH": str(root)}, capture_output=True, text=True, timeout=120)
    assert done.returncode == code and (tmp_path / "out.fwb").exists() == (code == 0)
    sentences = {"photo.png": "", "pages.tiff": "fewbits: pages.tiff: The file holds several pictures; the first is "
                                                "kept.\n"}
    if code == 0:
        assert done.stderr == sentences[name]
    else:
        assert re.fullmatch(rf"fewbits: [^\n]*{name}[^\n]*\.\n", done.stderr)
