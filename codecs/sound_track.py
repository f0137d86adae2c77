"""The sound of a film, as it travels beside its frames: packets as they were, or a sound that a codec of ours coded."""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from typing import IO, TYPE_CHECKING

import numpy as np

from fewbits.codecs.sound_source import CHUNK, SoundFile, SoundSource, open_container
from fewbits.entropy.container import MAGIC, kind_of_start
from fewbits.errors import DamagedError, InputError

if TYPE_CHECKING:
    import av

MAX_TRACK = 1 << 29
"""Bytes of a sound track; longer ones are refused."""

LEAD = "LEAD"
"""The tag of a Matroska file that says by how many milliseconds its sound begins before the film."""

_PACKET_COST = 40  # bytes that Matroska adds to each, at most
_MATROSKA_MAGIC = b"\x1a\x45\xdf\xa3"


@dataclass(frozen=True)
class SoundTrack:
    """The sound of a film in bytes.

    Attributes:
        data: a Matroska file with one stream of sound, whose times count from the film's first frame, or the bytes of a
            `.fwb` file with a sound that begins with the film.

    Raises:
        DamagedError: if it is neither, or longer than `MAX_TRACK`.
    """

    data: bytes

    def __post_init__(self) -> None:
        if len(self.data) > MAX_TRACK:
            raise DamagedError(f"The sound track has {len(self.data)} bytes, more than the limit of {MAX_TRACK}.")
        if not self.data.startswith((_MATROSKA_MAGIC, MAGIC)):
            raise DamagedError("The sound track is neither Matroska nor a .fwb file.")

    @property
    def is_copy(self) -> bool:
        """Whether it holds the packets of the source."""
        return self.data.startswith(_MATROSKA_MAGIC)

    def check(self) -> None:
        """Raises `DamagedError` where the beginning shows that it holds no sound."""
        if not self.is_copy:
            if kind_of_start(self.data) != "audio":
                raise DamagedError("The sound track is a .fwb file without sound.")
            return
        try:
            with open_container(io.BytesIO(self.data), "the sound track", "sound") as container:
                lead_of(container)
                heard = next(packets_of(container), None) is not None
        except InputError as error:
            raise DamagedError(f"The sound track is damaged: {error}") from None
        if not heard:
            raise DamagedError("The sound track holds no sound.")


class CopiedSound(SoundSource):
    """What the packets of a track sound like, from the film's first frame on: silence stands in front where the sound
    begins later, and what lies before is left out.

    Args:
        track: one that is a copy.
        max_samples: as for `SoundFile`.

    Raises:
        InputError: as `SoundFile`.
    """

    def __init__(self, track: SoundTrack, max_samples: int) -> None:
        self._sound = SoundFile(io.BytesIO(track.data), max_samples)
        self.rate = self._sound.rate
        self._offset = round(_start(track) * self.rate)  # samples of silence, or less than 0: to be left out

    @property
    def channels(self) -> int:
        return self._sound.channels

    @property
    def count(self) -> int:
        return max(self._sound.count + self._offset, 1)

    def chunks(self) -> Iterator[np.ndarray]:
        given = 0
        for chunk in chain(_silence(self.channels, self._offset), self._sound.chunks()):
            part = chunk[:, max(-self._offset - given, 0) :]
            given += chunk.shape[1]
            if part.size:
                yield part
        if given + min(self._offset, 0) <= 0:
            yield from _silence(self.channels, 1)


def copied(file: IO[bytes], name: str, start: Fraction) -> SoundTrack | None:
    """The packets of the first stream of sound in a file, untouched; None where there is none.

    Args:
        start: the time of the film's first frame in the file (s).

    Raises:
        InputError: if the file cannot be read, Matroska cannot hold the sound, or it is longer than `MAX_TRACK`.
    """
    import av  # slow to import

    target, size = io.BytesIO(), 0
    with open_container(file, name, "film with sound that can be copied") as source:
        packets = packets_of(source)
        first = next(packets, None)
        if first is None:
            return None
        lead = max(start - time_of(first), Fraction(0))
        with av.open(target, "w", format="matroska", options={"fflags": "bitexact"}) as out:
            if lead:
                out.metadata[LEAD] = str(round(lead * 1000))
            copy = out.add_stream_from_template(first.stream)
            for packet in chain((first,), packets):
                out.mux(moved(packet, copy, lead - start))
                size += packet.size + _PACKET_COST
                if size > MAX_TRACK:
                    raise InputError(f"{name} has more than {MAX_TRACK} bytes of sound: leave it out, or have it "
                                     "coded.")
    return SoundTrack(target.getvalue())


def sound_in(container: "av.container.InputContainer") -> "av.AudioStream | None":
    """The first stream of sound of a kind that FFmpeg knows."""
    return next((stream for stream in container.streams.audio if stream.codec_context is not None), None)


def packets_of(container: "av.container.InputContainer") -> "Iterator[av.Packet]":
    """The whole packets of the first stream of sound, each with a time; none where there is no sound."""
    stream = sound_in(container)
    for packet in container.demux(stream) if stream is not None else ():
        packet.pts = packet.dts if packet.pts is None else packet.pts
        if packet.size and packet.pts is not None and not packet.is_corrupt:
            yield packet


def time_of(packet: "av.Packet") -> Fraction:
    """When a packet of `packets_of` comes (s)."""
    assert packet.pts is not None and packet.time_base is not None
    return packet.pts * packet.time_base


def moved(packet: "av.Packet", stream: "av.AudioStream", seconds: Fraction) -> "av.Packet":
    """The packet, now of a stream of another file, and so much later (s)."""
    assert packet.pts is not None and packet.time_base is not None
    ticks = round(seconds / packet.time_base)
    packet.pts += ticks
    packet.dts = packet.pts if packet.dts is None else packet.dts + ticks
    packet.stream = stream
    return packet


def lead_of(container: "av.container.InputContainer") -> Fraction:
    """By how many seconds the times of a track are later than those of its film. Raises `DamagedError`."""
    text = container.metadata.get(LEAD, "0")
    if not (text.isascii() and text.isdecimal() and len(text) < 9):
        raise DamagedError("The sound track does not say when it begins.")
    return Fraction(int(text), 1000)


def _start(track: SoundTrack) -> Fraction:
    """When the sound of a copy begins, after the film's first frame (s)."""
    with open_container(io.BytesIO(track.data), "the sound track", "sound") as container:
        frame = next(container.decode(audio=0))
        return (frame.pts or 0) * (frame.time_base or Fraction(0)) - lead_of(container)


def _silence(channels: int, count: int) -> Iterator[np.ndarray]:
    """So many samples in each channel, in chunks; none for numbers below 1."""
    for start in range(0, count, CHUNK):
        yield np.zeros((channels, min(CHUNK, count - start)), np.float32)
