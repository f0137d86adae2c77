"""From films to streams: groups, the width of their networks, and fits until what is aimed at is met."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from fewbits.codecs.codec import Progress, Stream, Target
from fewbits.codecs.video.nerv import coding
from fewbits.codecs.video.nerv.aims import Aim
from fewbits.codecs.video.nerv.coding import Numbers
from fewbits.codecs.video.nerv.config import MAX_WIDTH, Design, NervConfig
from fewbits.codecs.video.nerv.fit import BATCH, Fit
from fewbits.codecs.video.nerv.layout import Layout, is_too_large
from fewbits.codecs.video_source import VideoSource
from fewbits.entropy.container import size_of_sections
from fewbits.errors import InputError

USUAL_GROUP = 144  # frames
VISITS = (3, 6, 12, 25, 50, 100, 200, 400, 800)  # of each frame, for each effort
BITS_A_NUMBER = 1.15  # that a network of the right size comes to
UNRATED_BITS_A_NUMBER = 7.6
MORE_STEPS, MORE_TRIALS = 20, 24  # where a size is not met: of a fit, after numbers got coarser; and how often they do


class FilmEncoder:
    """Codes a film, group by group.

    Args:
        design: of the networks.
        target: `size` is that of the sections.
    """

    def __init__(self, media: VideoSource, design: Design, target: Target, progress: Progress, device: str) -> None:
        self.media, self.progress, self.device = media, progress, device
        self.length = group_length(media.count)
        self.groups = -(-media.count // self.length)
        if target.size is not None:
            overhead = size_of_sections([0] * self.groups)
            target = replace(target, size=max(target.size - overhead, 1))
        self.aim, self.visits = Aim(target, media.pixel_count), VISITS[target.effort - 1]
        config = NervConfig(design, 0, self.length, media.height, media.width)
        self.config = replace(config, width=best_width(self.aim.bits_per_pixel, config))
        if is_too_large(self.config):
            raise InputError(f"Frames of {media.width} x {media.height} are too large for {design.name}: make them "
                             "smaller, or aim at fewer bits.")
        self.settings = {"width": self.config.width, "group": self.length}

    def stream(self) -> Stream:
        """The whole film. Only the frames of a group are in memory."""
        sections: list[bytes | None] = []
        bits, last, small_enough = 0.0, None, True
        for group in range(self.groups):
            start = group * self.length
            frames = np.stack(list(self.media.frames(start, min(start + self.length, self.media.count))))
            config = replace(self.config, frames=len(frames))
            numbers, layout = self._fitted(frames, config, group, last), Layout(config)
            last = layout.tensors(numbers.row(layout))
            section, section_bits = coding.encode(numbers, layout)
            sections.append(section)
            bits += section_bits
            small_enough &= len(section) <= self._room(config)
        notices = () if small_enough else ("The size cannot be reached; this is what came nearest to it.",)
        return Stream(self.settings, sections, bits, notices)

    def _room(self, config: NervConfig) -> float:
        """Bytes that a group's section may have."""
        return self.aim.bits_per_pixel * config.pixels / 8 if self.aim.sized else math.inf

    def _fitted(self, frames: np.ndarray, config: NervConfig, group: int, start: dict[str, Tensor] | None) -> Numbers:
        """The numbers for a group of frames (N, H, W, 3), from the tensors of the group before."""
        with torch.random.fork_rng(devices=[]), one_thread_an_operation():
            torch.manual_seed(group)
            fit = Fit(torch.from_numpy(frames), config, -(-self.visits * config.frames // BATCH), start, self.device)
            error, shown = 0.0, max(config.frames // BATCH, 1)
            while fit.share < 1:
                measured = fit.step(self.aim.trade)
                error += (measured.error - error) / min(fit.step_count, shown)
                psnr, rate = -10 * math.log10(max(error, 1e-10)), measured.bits / config.pixels
                self.aim.steer(fit.share, 1 / fit.steps, rate, psnr)
                self.progress((group + fit.share) / self.groups, f"fitting, {psnr:.1f} dB, {rate:.4f} bits per pixel")
            return self._small_enough(fit)

    def _small_enough(self, fit: Fit) -> Numbers:
        """The numbers of a fit, which get coarser until they have room."""
        numbers, room = fit.numbers.numbers(), self._room(fit.config)
        for _ in range(MORE_TRIALS):
            if len(coding.encode(numbers, fit.layout)[0]) <= room:
                break
            fit.numbers.coarsen()
            for _ in range(MORE_STEPS):
                fit.step(self.aim.trade)
            numbers = fit.numbers.numbers()
        return numbers


@contextmanager
def one_thread_an_operation() -> Iterator[None]:
    """Frames of a step are worked on side by side; operations are too small to be shared out as well."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def group_length(count: int) -> int:
    """Frames of a group: about `USUAL_GROUP`, all groups but the last alike."""
    groups = max(round(count / USUAL_GROUP), 1)
    return -(-count // groups)


def best_width(bits_per_pixel: float, config: NervConfig) -> int:
    """The width whose numbers come nearest to a rate."""
    of_number = BITS_A_NUMBER if config.design.rated else UNRATED_BITS_A_NUMBER
    wanted = bits_per_pixel * config.pixels / of_number
    sizes = [Layout(replace(config, width=width)).size for width in range(MAX_WIDTH + 1)]
    return min(range(MAX_WIDTH + 1), key=lambda width: abs(math.log(sizes[width] / wanted)))
