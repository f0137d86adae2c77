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
from fewbits.codecs.video.nerv.coding import Numbers
from fewbits.codecs.video.nerv.config import HNERV, HNERV_LARGE, LARGE, NERV, NERV_PLUS, NIRVANA, Design, NervConfig
from fewbits.codecs.video.nerv.decoder import bare_decoder
from fewbits.codecs.video.nerv.layout import is_too_large, layout_of
from fewbits.codecs.video.nerv.start import row_after
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
    weights_id, keeps_checkpoints = b"", True
    design: ClassVar[Design] = NERV

    def __init__(self, device: str = "cpu") -> None:
        self.device = device

    def encode(self, media: VideoSource, target: Target = Target(), progress: Progress = no_progress) -> Stream:
        """Codes a film; see `Codec.encode`. Only the frames of a group are in memory."""
        from fewbits.codecs.video.nerv.encoder import FilmEncoder  # what only encoders need

        return FilmEncoder(media, self.design_for(media.height, media.width), target, progress, self.device).stream()

    def design_for(self, height: int, width: int) -> Design:
        """How networks for frames of this size are built."""
        return self.design

    def decode_frames(self, stream: Stream, shape: dict[str, int], positions: Sequence[Fraction],
                      progress: Progress = no_progress) -> Iterator[np.ndarray]:
        """See `VideoCodec.decode_frames`. A frame between two groups is the last of the first. Of a damaged group,
        all frames are grey."""
        length, count = stream.settings["group"], shape["count"]
        groups = -(-count // length)
        if len(stream.sections) != groups:
            raise DamagedError(f"The film needs {groups} sections, the file has {len(stream.sections)}.")
        networks = self._networks(stream, shape)
        check_limits(networks.config(0))
        return self._frames(networks, positions, progress)

    def integers(self, stream: Stream, shape: dict[str, int]) -> np.ndarray:
        """The numbers of all networks, (n,) int32: what is decoded before any float arithmetic, equal on every machine.

        Raises:
            StreamError: if the stream is wrong.
        """
        networks = self._networks(stream, shape)
        return np.concatenate([networks.numbers(group).integers for group, section in enumerate(stream.sections)
                               if section is not None])

    def _networks(self, stream: Stream, shape: dict[str, int]) -> "Networks":
        return Networks(self.design_for(shape["height"], shape["width"]), stream, shape)

    def _frames(self, networks: "Networks", positions: Sequence[Fraction], progress: Progress) -> Iterator[np.ndarray]:
        length, done = networks.stream.settings["group"], 0
        for group, inside in groupby(positions, lambda position: int(position) // length):
            config, row = networks.config(group), networks.row(group)
            within = [float(min(position - group * length, config.frames - 1)) for position in inside]
            if row is None:
                frames = repeat(np.full((config.height, config.frame_width, 3), LOST, np.uint8), len(within))
            else:
                frames = decoded(row, config, within, self.device)
            for frame in frames:
                done += 1
                progress(done / len(positions), "decoding")
                yield frame


class HnervCodec(NervCodec):
    """HNeRV as it was published: trained without a thought of the rate, then rounded to 8 bits. To compare with."""

    name, design = "hnerv", HNERV

    def design_for(self, height: int, width: int) -> Design:
        return HNERV_LARGE if height * width >= LARGE else HNERV


class NervPlusCodec(NervCodec):
    """The network of NERV++, trained with its rate."""

    name, design = "nerv++", NERV_PLUS


class NirvanaCodec(NervCodec):
    """NIRVANA: networks of short groups of frames, each sent as a difference to the one before. Of a damaged group and
    those that follow up to the next whole one, all frames are grey."""

    name, design = "nirvana", NIRVANA


class Networks:
    """The networks of a film, group by group.

    Args:
        shape: of the film, as in its header.
    """

    def __init__(self, design: Design, stream: Stream, shape: dict[str, int]) -> None:
        self.design, self.stream, self.shape = design, stream, shape
        self._known: tuple[int, Tensor | None] = (-1, None)  # a group, and its row

    def config(self, group: int) -> NervConfig:
        """What the network of a group is made of."""
        length = self.stream.settings["group"]
        frames = min(length, self.shape["count"] - group * length)
        return NervConfig(self.design, self.stream.settings["width"], frames, self.shape["height"], self.shape["width"])

    def numbers(self, group: int) -> Numbers:
        """What was sent of a group that is not damaged. Raises `StreamError` where that is wrong."""
        section = self.stream.sections[group]
        assert section is not None
        return coding.decode(section, layout_of(self.config(group)))

    def row(self, group: int) -> Tensor | None:
        """The numbers (size,) of a network; None where what it follows from is damaged. Raises `StreamError`."""
        whole = group - group % self.design.chain
        known, row = self._known
        for number in range(known + 1 if whole <= known <= group else whole, group + 1):
            row = self._after(row, number)
            self._known = number, row
        return row

    def _after(self, last: Tensor | None, group: int) -> Tensor | None:
        """The numbers of a group, from those of the one before."""
        config = self.config(group)
        layout, follows = layout_of(config), group % self.design.chain > 0
        if self.stream.sections[group] is None or (follows and last is None):
            return None
        row = self.numbers(group).row(layout)
        if follows:
            row += row_after(layout_of(self.config(group - 1)).tensors(last), config)
        return row


def check_limits(config: NervConfig) -> None:
    """Raises `LimitError` for networks that would take too much memory, before they take any."""
    if is_too_large(config):
        raise LimitError(f"Frames of {config.frame_width} x {config.height} with a network of width {config.width} "
                         "would take too much memory.")


@torch.inference_mode()
def decoded(row: Tensor, config: NervConfig, positions: Sequence[float], device: str) -> Iterator[np.ndarray]:
    """Frames (H, W, 3) uint8 of a group at positions in it, by a network with these numbers (size,)."""
    layout, decoder = layout_of(config), bare_decoder(config, device).eval()
    tensors = layout.tensors(row.to(device))
    at_once = max(min(AT_ONCE, FEATURES_AT_ONCE // config.largest), 1)
    for start in range(0, len(positions), at_once):
        times = torch.tensor(positions[start : start + at_once], dtype=torch.float32, device=device)
        yield from to_samples(functional_call(decoder, tensors, (times,)))


def to_samples(frames: Tensor) -> np.ndarray:
    """(N, 3, H, W) of about 0 to 1 to (N, H, W, 3) uint8; what is no number is 0."""
    samples = torch.nan_to_num(frames).clamp(0, 1).mul(255).round().to(torch.uint8)
    return samples.permute(0, 2, 3, 1).contiguous().cpu().numpy()
