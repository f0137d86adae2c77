"""From films to streams: groups, the width of their networks, and fits until what is aimed at is met."""

import math
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import Tensor

from fewbits.codecs.codec import Progress, Stream, Target
from fewbits.codecs.film import gathered
from fewbits.codecs.video.nerv import coding
from fewbits.codecs.video.nerv.aims import Aim
from fewbits.codecs.video.nerv.checkpoint import Checkpoint, identity_of, restore, state_of
from fewbits.codecs.video.nerv.coding import Numbers
from fewbits.codecs.video.nerv.config import MAX_WIDTH, Design, NervConfig
from fewbits.codecs.video.nerv.fit import BATCH, Fit
from fewbits.codecs.video.nerv.layout import Layout, is_too_large, layout_of
from fewbits.codecs.video.nerv.start import first_row, row_after
from fewbits.codecs.video_source import VideoSource
from fewbits.entropy.container import size_of_sections
from fewbits.errors import InputError

VISITS = (3, 6, 12, 25, 50, 100, 200, 400, 800)  # of each frame, for each effort,
LEAST_FRAMES = 96  # of as many frames at least: a network takes some steps to find, however little it shows
MORE_STEPS, MORE_TRIALS = 20, 24  # where a size is not met: of a fit, after numbers got coarser; and how often they do
SAVE_EVERY = 60.0  # seconds
_FITTING = threading.Lock()


class FilmEncoder:
    """Codes a film, group by group.

    Args:
        design: of the networks.
        target: `size` is that of the sections.
    """

    def __init__(self, media: VideoSource, design: Design, target: Target, progress: Progress, device: str) -> None:
        self.media, self.progress, self.device = media, progress, device
        self.length = group_length(media.count, design.group_frames)
        self.groups = -(-media.count // self.length)
        path = target.checkpoint
        self.checkpoint = None if path is None else Checkpoint(path, identity_of(media, design.name, target))
        if target.size is not None:
            overhead = size_of_sections([0] * self.groups)
            target = replace(target, size=max(target.size - overhead, 1))
        self.aim, self.visits = Aim(target, media.pixel_count), VISITS[target.effort - 1]
        self.may_hurry = target.keep_best
        config = NervConfig(design, 0, self.length, media.height, media.width)
        self.config = replace(config, width=best_width(self.aim.bits_per_pixel, config))
        if is_too_large(self.config):
            raise InputError(f"Frames of {media.width} x {media.height} are too large for {design.name}: make them "
                             "smaller, or aim at fewer bits.")
        # of the groups that are done: their sections and bits, and the numbers of the last one's network
        self.sections: list[bytes] = []
        self.bits, self.last = 0.0, torch.empty(0)

    def stream(self) -> Stream:
        """The whole film. Only the frames of a group are in memory."""
        pending = self._load()
        for group in range(len(self.sections), self.groups):
            self._code(group, pending)
            pending = {}
            self._save({})
        missed = any(len(section) > self._room(self._config(group)) for group, section in enumerate(self.sections))
        notices = ("The size cannot be reached; this is what came nearest to it.",) if missed else ()
        return Stream({"width": self.config.width, "group": self.length}, list(self.sections), self.bits, notices)

    def _code(self, group: int, state: dict[str, Tensor]) -> None:
        """Fits a group and enters what comes of it; `state` as of `_fitted`."""
        fit = self._fit(group)
        numbers = self._fitted(fit, group, state)
        section, bits = coding.encode(numbers, fit.layout)
        self.sections.append(section)
        self.bits += bits
        self.last = numbers.row(fit.layout) + fit.reference.cpu()

    def _config(self, group: int) -> NervConfig:
        return replace(self.config, frames=min(self.length, self.media.count - group * self.length))

    def _room(self, config: NervConfig) -> float:
        """Bytes that a group's section may have."""
        return self.aim.bits_per_pixel * config.pixels / 8 if self.aim.sized else math.inf

    def _fit(self, group: int) -> Fit:
        """The fit of a group, at its beginning."""
        config, start = self._config(group), group * self.length
        frames = torch.from_numpy(gathered(self.media.frames(start, start + config.frames), config.frames,
                                           config.height, config.frame_width))
        follows = group % config.design.chain > 0
        steps = self.visits * (config.frames if follows else max(config.frames, LEAST_FRAMES)) // BATCH
        row = row_after(layout_of(self.config).tensors(self.last), config) if group else first_row(frames, config)
        own, reference = (torch.zeros_like(row), row) if follows else (row, None)
        return Fit(frames, config, steps, own, reference, self.device, group)

    def _fitted(self, fit: Fit, group: int, state: dict[str, Tensor]) -> Numbers:
        """The numbers that a fit ends with; `state` is that of an earlier run, where there was one."""
        with one_thread_an_operation():
            error = 0.0
            if state:
                restore(fit, state)
                error = state["error"].item()
            next_save = time.monotonic() + SAVE_EVERY
            while fit.share < 1:
                try:
                    error = self._step(fit, group, error)
                except KeyboardInterrupt:
                    if not self.may_hurry:
                        raise
                    self.may_hurry, self.visits = False, VISITS[0]
                    fit.hurry()
                if time.monotonic() > next_save:
                    self._save(state_of(fit) | {"error": torch.tensor(error, dtype=torch.float64)})
                    next_save = time.monotonic() + SAVE_EVERY
            return self._small_enough(fit)

    def _step(self, fit: Fit, group: int, error: float) -> float:
        """One step of a fit, and the mean of errors in the last pass over its frames, from that before the step."""
        measured = fit.step(self.aim.trade)
        error += (measured.error - error) / min(fit.step_count, max(fit.config.frames // BATCH, 1))
        psnr, rate = -10 * math.log10(max(error, 1e-10)), measured.bits / fit.config.pixels
        self.aim.steer(fit.share, 1 / fit.steps, rate, psnr)
        share = (group + min(fit.share, 1)) / self.groups
        self.progress(share, f"fitting, {psnr:.1f} dB, {rate:.4f} bits per pixel")
        return error

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

    def _load(self) -> dict[str, Tensor]:
        """Takes over what an earlier run has done, and returns the state of the fit that it was at."""
        state = {} if self.checkpoint is None else self.checkpoint.load()
        if not state:
            return {}
        self.last, self.bits, self.aim.trade = state["last"], state["bits"].item(), state["trade"].item()
        done = sum(name.startswith("section.") for name in state)
        self.sections = [state[f"section.{number}"].numpy().tobytes() for number in range(done)]
        return state if "step_count" in state else {}

    def _save(self, state: dict[str, Tensor]) -> None:
        """Keeps what is done, and the state of the fit that is under way."""
        if self.checkpoint is None:
            return
        done = {f"section.{number}": torch.frombuffer(bytearray(section), dtype=torch.uint8)
                for number, section in enumerate(self.sections)}
        numbers = {"last": self.last, "bits": torch.tensor(self.bits, dtype=torch.float64),
                   "trade": torch.tensor(self.aim.trade, dtype=torch.float64)}
        self.checkpoint.save(state | done | numbers)


@contextmanager
def one_thread_an_operation() -> Iterator[None]:
    """Frames of a step are worked on side by side; operations are too small to be shared out as well.

    The number is one for all of a program: fits in several of its threads follow each other.
    """
    with _FITTING:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(threads)


def group_length(count: int, usual: int) -> int:
    """Frames of a group: about the usual number, all groups but the last alike."""
    groups = max(round(count / usual), 1)
    return -(-count // groups)


def best_width(bits_per_pixel: float, config: NervConfig) -> int:
    """The width whose numbers come nearest to a rate."""
    wanted = bits_per_pixel * config.pixels / config.design.bits_a_number
    sizes = [Layout(replace(config, width=width)).size for width in range(MAX_WIDTH + 1)]
    return min(range(MAX_WIDTH + 1), key=lambda width: abs(math.log(sizes[width] / wanted)))
