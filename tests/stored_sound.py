"""A codec of sound without weights that takes the place of `speech`: seconds of coarse samples, deflated."""

import sys
import zlib
from collections.abc import Iterator

import numpy as np

from fewbits.codecs import registry
from fewbits.codecs.codec import Progress, Stream, Target, no_progress
from fewbits.codecs.sound import Audio, SoundCodec
from fewbits.codecs.sound_source import SoundSource
from fewbits.entropy.container import size_of_sections
from fewbits.entropy.deflate import inflate
from fewbits.errors import DamagedError

BITS = 8  # a sample, at most


class SpeechCodec(SoundCodec):
    name, kind, family, lossless, weights_id = "speech", "audio", "hierarchical", False, b""

    def __init__(self, device: str = "cpu") -> None:
        pass

    def encode(self, media: SoundSource, target: Target, progress: Progress = no_progress) -> Stream:
        media, notices = Audio.read(media).cleaned()
        bits = BITS if target.quality is None else 1 + round(7 * target.quality / 100)
        sections = blocks(media, bits)
        while target.size is not None and bits > 1 and size_of_sections([len(s) for s in sections]) > target.size:
            bits -= 1
            sections = blocks(media, bits)
        progress(1, "stored")
        settings = {field.name: field.low for field in registry.entry(self.name).settings}
        return Stream(settings, list(sections), 8.0 * sum(map(len, sections)), notices)

    def decode_chunks(self, stream: Stream, shape: dict[str, int],
                      progress: Progress = no_progress) -> Iterator[np.ndarray]:
        for start, section in zip(range(0, shape["count"], shape["rate"]), stream.sections, strict=True):
            count = min(shape["rate"], shape["count"] - start)
            if section is None:
                yield np.zeros((shape["channels"], count), np.float32)
                continue
            coarse = np.frombuffer(inflate(section[1:], shape["channels"] * count, "samples"), np.int8)
            if coarse.size != shape["channels"] * count:
                raise DamagedError("A section is too short.")
            yield coarse.reshape(-1, count).astype(np.float32) / 2 ** (section[0] - 1)
        progress(1, "restored")


def blocks(audio: Audio, bits: int) -> list[bytes]:
    """The sections, each of a second, with samples of 1 to 8 bits."""
    full = 2 ** (bits - 1)
    coarse = np.rint(audio.samples * full).clip(-full, full - 1).astype(np.int8)
    return [bytes([bits]) + zlib.compress(np.ascontiguousarray(coarse[:, at : at + audio.rate]).tobytes())
            for at in range(0, audio.count, audio.rate)]


sys.modules["fewbits.codecs.audio.codec"] = sys.modules[__name__]  # where the registry looks for `speech`
registry.create.cache_clear()
