"""The `nerv` video codec: a small network is fitted to each group of frames and sent."""

from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import groupby, repeat
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.func import functional_call

from fewbits.codecs.codec import Progress, Stream, Target, no_progress
from fewbits.codecs.film import VideoCodec
from fewbits.codecs.video.nerv import coding
from fewbits.codecs.video.nerv.config import HNERV, NERV, Design, NervConfig
from fewbits.codecs.video.nerv.decoder import Decoder
from fewbits.codecs.video.nerv.layout import Layout, is_too_large
from fewbits.codecs.video_source import VideoSource
from fewbits.errors import DamagedError, LimitError

AT_ONCE = 8  # frames that are decoded together at most,
FEATURES_AT_ONCE = 1 << 25  # and numbers of a stage for them, where they are more than one
LOST = 128  # samples of frames whose group is damaged


class NervCodec(VideoCodec):
    """Lossy codec for films: encoding takes minutes, decoding is fast, and frames between frames can be had.

    Args:
        device: where networks run.
    """

    name, kind, family, lossless = "nerv", "video", "overfitted", False
    weights_id = b""
    design: ClassVar[Design] = NERV

    def __init__(self, device: str = "cpu") -> None:
        self.device = device

    def encode(self, media: VideoSource, target: Target = Target(), progress: Progress = no_progress) -> Stream:
        """Codes a film; see `Codec.encode`. Only the frames of a group are in memory."""
        from fewbits.codecs.video.nerv.encoder import FilmEncoder  # what only encoders need

        return FilmEncoder(media, self.design, target, progress, self.device).stream()

    def decode_frames(self, stream: Stream, shape: dict[str, int], positions: Sequence[Fraction],
                      progress: Progress = no_progress) -> Iterator[np.ndarray]:
        """See `VideoCodec.decode_frames`. A frame between two groups is the last of the first. Of a damaged group,
        all frames are grey."""
        length, count = stream.settings["group"], shape["count"]
        groups = -(-count // length)
        if len(stream.sections) != groups:
            raise DamagedError(f"The film needs {groups} sections, the file has {len(stream.sections)}.")
        check_limits(self._config(stream, shape, 0))
        return self._frames(stream, shape, positions, progress)

    def integers(self, stream: Stream, shape: dict[str, int]) -> np.ndarray:
        """The numbers of all networks, (n,) int32: what is decoded before any float arithmetic, equal on every machine.

        Raises:
            StreamError: if the stream is wrong.
        """
        layouts = (Layout(self._config(stream, shape, group)) for group in range(len(stream.sections)))
        numbers = (coding.decode(section, layout) for section, layout in zip(stream.sections, layouts, strict=True)
                   if section is not None)
        return np.concatenate([decoded.integers for decoded in numbers])

    def _config(self, stream: Stream, shape: dict[str, int], group: int) -> NervConfig:
        length = stream.settings["group"]
        frames = min(length, shape["count"] - group * length)
        return NervConfig(self.design, stream.settings["width"], frames, shape["height"], shape["width"])

    def _frames(self, stream: Stream, shape: dict[str, int], positions: Sequence[Fraction],
                progress: Progress) -> Iterator[np.ndarray]:
        length, done = stream.settings["group"], 0
        for number, inside in groupby(positions, lambda position: int(position) // length):
            config = self._config(stream, shape, number)
            within = [float(min(position - number * length, config.frames - 1)) for position in inside]
            section = stream.sections[number]
            if section is None:
                frames = repeat(np.full((config.height, config.frame_width, 3), LOST, np.uint8), len(within))
            else:
                frames = decoded(section, config, within, self.device)
            for frame in frames:
                done += 1
                progress(done / len(positions), "decoding")
                yield frame


class HnervCodec(NervCodec):
    """HNeRV as it was published: trained without a thought of the rate, then rounded to 8 bits. To compare with."""

    name, design = "hnerv", HNERV


def check_limits(config: NervConfig) -> None:
    """Raises `LimitError` for networks that would take too much memory, before they take any."""
    if is_too_large(config):
        raise LimitError(f"Frames of {config.frame_width} x {config.height} with a network of width {config.width} "
                         "would take too much memory.")


@torch.inference_mode()
def decoded(section: bytes, config: NervConfig, positions: Sequence[float], device: str) -> Iterator[np.ndarray]:
    """Frames (H, W, 3) uint8 of a group at positions in it. Raises `StreamError` where the section is wrong."""
    layout, decoder = Layout(config), Decoder(config).to(device, memory_format=torch.channels_last).eval()
    tensors = layout.tensors(coding.decode(section, layout).row(layout).to(device))
    at_once = max(min(AT_ONCE, FEATURES_AT_ONCE // config.largest), 1)
    for start in range(0, len(positions), at_once):
        times = torch.tensor(positions[start : start + at_once], dtype=torch.float32, device=device)
        yield from to_samples(functional_call(decoder, tensors, (times,)))


def to_samples(frames: Tensor) -> np.ndarray:
    """(N, 3, H, W) of about 0 to 1 to (N, H, W, 3) uint8; what is no number is 0."""
    samples = torch.nan_to_num(frames).clamp(0, 1).mul(255).round().to(torch.uint8)
    return samples.permute(0, 2, 3, 1).contiguous().cpu().numpy()
