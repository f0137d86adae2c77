"""One picture, sound or film through several codecs, each brought near to the same sizes."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from fewbits.codecs import files, kinds, search
from fewbits.codecs.codec import Progress, Target, no_progress, part_of
from fewbits.codecs.film import Video
from fewbits.codecs.kinds import Media
from fewbits.codecs.media import Image
from fewbits.codecs.sound import Audio
from fewbits.codecs.video_source import VideoSource
from fewbits.eval import evaluate, sounds, video_metrics, videos
from fewbits.eval.contenders import Contender, contender
from fewbits.eval.medium import MEDIA


@dataclass(frozen=True)
class Entry:
    """What one codec made at one size.

    Attributes:
        record: as in what `evaluate` returns; `setting` is the size aimed at, in bytes.
        data: the file.
        decoded: what it holds, as long and as large as the source.
    """

    record: dict[str, Any]
    data: bytes
    decoded: Media


def entries(media: Image | Audio | Video, codecs: Sequence[str], sizes: Sequence[int], effort: int,
            progress: Progress = no_progress) -> Iterator[Entry]:
    """Codes media with each codec at each size, decodes and measures; lossless codecs have one size of their own.

    Args:
        codecs: names, from `contenders.available`.
        sizes: bytes of the files aimed at.
        effort: 1 to 9, for neural codecs.

    Raises:
        InputError: for unknown names, and for media that a codec cannot take.
    """
    entrants = [contender(name, kinds.kind_of(media)) for name in codecs]
    runs = [(codec, size) for codec in entrants for size in (sizes[:1] if codec.lossless else sizes)]
    for number, (codec, size) in enumerate(runs):
        report = part_of(progress, number, len(runs), codec.name)
        report(0, "coding")
        data, encode_s = coded(codec, media, size, effort, report)
        start = time.perf_counter()
        decoded = _in_place(codec, media, codec.decode(data))
        decode_s = time.perf_counter() - start
        values, exact = measure(media, decoded)
        rate = kinds.rate_of(kinds.kind_of(media), kinds.fields_of(media), len(data))
        rate = {"bpp" if name == "bits_per_pixel" else name: value for name, value in rate.items()}
        frames = {"frames": media.count} if isinstance(media, Video) else {}
        yield Entry({"file": "", "codec": codec.name, "setting": size, "bytes": len(data), **rate, **frames,
                     "metrics": values, "exact": exact, "encode_s": encode_s, "decode_s": decode_s}, data, decoded)


def coded(codec: Contender[Any], media: Image | Audio | Video, size: int, effort: int,
          progress: Progress = no_progress) -> tuple[bytes, float]:
    """The codec's file that is nearest to a size in bytes, and the wall seconds that it took to make it.

    A codec of fewbits finds its way to the size itself, and those seconds have the search in them; of others, whose
    settings are tried, they are those of the one file.
    """
    start = time.perf_counter()
    if codec.lossless:
        data, _ = codec.encode(media, codec.settings[-1] if not codec.neural else effort, effort, progress)
        return data, time.perf_counter() - start
    if codec.neural:
        silent: dict[str, Any] = {"audio": files.NO_SOUND} if isinstance(media, Video) else {}
        data = files.encode(media, codec.name, Target(size=size, effort=effort), progress=progress, **silent).data
        return data, time.perf_counter() - start
    # the highest kbit/s are more than every sound may have
    low, high = round(codec.low), round(codec.settings[-1] if isinstance(media, Audio) else codec.high)
    falls = isinstance(media, Video)  # CRF falls where the size rises

    def encode(step: int) -> bytes:
        return codec.encode(media, low + high - step if falls else step, effort)[0]

    return nearest_in_size(encode, size, low, high, progress)[1:]


def nearest_in_size(encode: Callable[[int], bytes], size: int, low: int, high: int,
                    progress: Progress = no_progress) -> tuple[int, bytes, float]:
    """Setting, file and encoding seconds of the file whose size is nearest to `size` bytes.

    Args:
        encode: a setting to a file, which grows with it.
        low, high: the smallest and the largest setting.
    """
    tried: list[tuple[int, bytes, float]] = []

    def measure(setting: int) -> int:
        progress(min(len(tried) / 8, 1), f"setting {setting}")
        start = time.perf_counter()
        data = encode(setting)
        tried.append((setting, data, time.perf_counter() - start))
        return len(data)

    # the trials end with the two settings on both sides of the size
    search.highest_within(measure, size, low, high)
    return min(tried, key=lambda trial: abs(len(trial[1]) - size))


def measure(source: Media, decoded: Media, progress: Progress = no_progress) -> tuple[dict[str, float | None], bool]:
    """The usual metrics of media of a kind by name, None where one cannot be had, and whether every sample came back.

    Raises:
        FewbitsError: if the two differ in size.
    """
    names = MEDIA[kinds.kind_of(source)].usual
    if isinstance(source, Video) and isinstance(decoded, VideoSource):
        return video_metrics.compare(source, decoded, names)
    if isinstance(source, Audio) and isinstance(decoded, Audio):
        return sounds.compare(source, decoded, names, progress)
    assert isinstance(source, Image) and isinstance(decoded, Image)  # sets of images are coded without loss alone
    return evaluate.compare(source, decoded, names)


def _in_place(codec: Contender[Any], source: Image | Audio | Video, decoded: Any) -> Media:
    """What was decoded, without what classical codecs of sounds and films add to it."""
    if isinstance(source, Audio):
        return sounds.in_place(codec, source, decoded)
    if isinstance(source, Video):
        return Video.read(decoded if codec.neural else videos.Placed(decoded, source))
    return decoded
