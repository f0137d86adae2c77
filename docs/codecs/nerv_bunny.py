"""`hnerv` and `nerv` beside the figures of the HNeRV paper: Big Buck Bunny, 640 x 1280. A table of `nerv.md`.

    python docs/codecs/nerv_bunny.py bunny_1280x720.mkv --device cuda                        # all of it
    python docs/codecs/nerv_bunny.py bunny_1280x720.mkv --every 4 --numbers 0.35 --visits 60 # on a CPU

Rows 40 to 679 of the frames are taken, as in the paper. Rates are those of real sections, and frames are decoded from
these.
"""

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fewbits.apps.cli.progress import progress_bar
from fewbits.codecs.codec import Progress
from fewbits.codecs.film import MAX_VIDEO_PIXELS
from fewbits.codecs.video.nerv import coding
from fewbits.codecs.video.nerv.aims import USUAL_RATE, USUAL_TRADE
from fewbits.codecs.video.nerv.codec import decoded
from fewbits.codecs.video.nerv.config import HNERV_LARGE, MAX_WIDTH, NERV, Design, NervConfig
from fewbits.codecs.video.nerv.encoder import one_thread_an_operation
from fewbits.codecs.video.nerv.fit import BATCH, Fit
from fewbits.codecs.video.nerv.layout import Layout
from fewbits.codecs.video.nerv.start import first_row
from fewbits.codecs.video_source import VideoFile
from fewbits.eval.metrics import psnr

ROWS = slice(40, 680)
MORE = 2  # times as many numbers for `nerv`, whose numbers take a sixth of the bits
PUBLISHED = {0.35: 30.15, 0.75: 32.81, 1.5: 35.57, 3.0: 37.43}  # millions of numbers: dB, 300 epochs, not rounded


def frames_of(film: Path, every: int) -> np.ndarray:
    """Every so many frames (N, 640, 1280, 3)."""
    source = VideoFile(film, MAX_VIDEO_PIXELS)
    return np.stack([frame[ROWS] for number, frame in enumerate(source.frames()) if number % every == 0])


def config_of(design: Design, frames: np.ndarray, numbers: float) -> NervConfig:
    """The network with the number of numbers that comes nearest to one."""
    configs = [NervConfig(design, width, *frames.shape[:3]) for width in range(MAX_WIDTH + 1)]
    return min(configs, key=lambda config: abs(Layout(config).size - numbers))


def fitted(frames: np.ndarray, config: NervConfig, visits: int, trade: float, device: str, progress: Progress) -> Fit:
    """A network after so many visits of each frame."""
    torch.manual_seed(0)
    source = torch.from_numpy(frames)
    fit = Fit(source, config, visits * len(frames) // BATCH, first_row(source, config), None, device)
    with one_thread_an_operation():
        while fit.share < 1:
            measured = fit.step(trade)
            progress(fit.share, f"{config.design.name}, {fit.layout.size / 1e6:.2f} M: error {measured.error:.5f}")
    return fit


def likeness(frames: np.ndarray, row: Tensor, config: NervConfig, device: str) -> float:
    """Mean PSNR of frames, in dB."""
    made = decoded(row, config, [float(number) for number in range(len(frames))], device)
    return float(np.mean([psnr(frame, back) for frame, back in zip(frames, made, strict=True)]))


def rows(frames: np.ndarray, designs: list[tuple[Design, float]], visits: int, device: str) -> Iterator[str]:
    """Lines of the table, as they are made."""
    for design, millions in designs:
        config = config_of(design, frames, 1e6 * millions)
        # the rate that such a network comes to at the usual trade, and the trade for it
        octaves = np.log2(design.bits_a_number * Layout(config).size / config.pixels / USUAL_RATE)
        began = time.perf_counter()
        with progress_bar() as progress:
            fit = fitted(frames, config, visits, USUAL_TRADE * 2 ** (-1.8 * octaves), device, progress)
        seconds = time.perf_counter() - began
        exact = likeness(frames, fit.numbers.row.detach(), config, device)
        section, _ = coding.encode(fit.numbers.numbers(), fit.layout)
        row = coding.decode(section, fit.layout).row(fit.layout)
        sent = likeness(frames, row, config, device)
        published = None if design.rated else PUBLISHED.get(millions)
        yield (f"| {design.name} | {fit.layout.size / 1e6:.2f} M | {8 * len(section) / config.pixels:.4f} "
               f"| {sent:.2f} | {exact:.2f} | {published or '-'} | {seconds:.0f} |")


def main() -> None:
    """Prints the table."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("film", type=Path)
    arguments.add_argument("--every", type=int, default=1, help="frames from one that is taken to the next")
    arguments.add_argument("--numbers", type=float, nargs="+", default=[0.75, 1.5, 3.0], help="millions, of networks")
    arguments.add_argument("--visits", type=int, default=300, help="of each frame")
    arguments.add_argument("--device", default="cpu")
    given = arguments.parse_args()
    frames = frames_of(given.film, given.every)
    print("| codec | numbers | bits per pixel | PSNR (dB) | before rounding | published | seconds |")
    print("|---|---|---|---|---|---|---|")
    designs = [pair for millions in given.numbers for pair in ((HNERV_LARGE, millions), (NERV, MORE * millions))]
    for row in rows(frames, designs, given.visits, given.device):
        print(row, flush=True)


if __name__ == "__main__":
    main()
