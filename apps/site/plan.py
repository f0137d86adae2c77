"""What the site shows: a small set of evaluations, each one command, on real sets or on what every installation has."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from fewbits.apps import samples
from fewbits.codecs.film import MAX_VIDEO_PIXELS, Video
from fewbits.codecs.video_source import VideoFile

FRAMES = 24  # of the small film


@dataclass(frozen=True)
class Evaluation:
    """An evaluation and the page about it.

    Attributes:
        name, title: of its files, for people.
        set_name, found: the name of a real set, and which files below the folder of data it consists of.
        small_name, make: the name of the set that stands in for it, and what writes that into a folder.
        options: of `fewbits eval`.
    """

    name: str
    title: str
    set_name: str
    found: str
    small_name: str
    make: Callable[[Path], None]
    options: tuple[str, ...]

    def prepare(self, data: Path | None, output: Path) -> list[str]:
        """Puts the set under `output`, links to a real one, and gives the command, to be run in that folder."""
        files = sorted(data.glob(self.found)) if data else []
        folder = Path("sets") / (self.set_name if files else self.small_name)
        if not (output / folder).is_dir():
            (output / folder).mkdir(parents=True)
            for file in files:
                (output / folder / file.name).symlink_to(file.resolve())
            if not files:
                self.make(output / folder)
        return ["fewbits", "eval", folder.as_posix(), *self.options, "--json", f"{self.name}.json",
                "--html", f"{self.name}.html"]


def _photos(folder: Path) -> None:
    for name in (samples.TOWER, samples.STILL):
        samples.photo(name).save(folder / f"{Path(name).stem}.png")


def _voice(folder: Path) -> None:
    samples.sound(samples.VOICE).resampled(16000).save(folder / "voice.wav")


def _music(folder: Path) -> None:
    samples.sound(samples.MUSIC).save(folder / "saxophone.wav")


def _film(folder: Path) -> None:
    film = VideoFile(samples.path(samples.FILM), MAX_VIDEO_PIXELS)
    Video(np.stack(list(islice(film.frames(), FRAMES))), film.rate, film.colour).save(folder / "film.mkv")


def _with_codecs(*codecs: str, more: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Options of `fewbits eval`."""
    return (*(word for codec in codecs for word in ("--codec", codec)), *more)


PLAN = (
    Evaluation("image", "Photos", "kodak", "image/kodak/*.png", "photos", _photos,
               _with_codecs("hyperprior@10,30,50,70,90", "mcq@10,30,50,70,90", "overfit@30,60", "avif-psnr@20,40,60,80",
                            "avif@20,40,60,80", "jpeg@10,30,60,90", "webp@5,30,70,95", "jxl@5,30,60,90",
                            "hyperprior-msssim@10,30,50,70,90", more=("--effort", "1"))),
    Evaluation("lossless", "Photos without loss", "kodak", "image/kodak/*.png", "photos", _photos,
               _with_codecs("circuit@5", "png@9", "webp-lossless@80", "jxl-lossless@3,7,9")),
    Evaluation("speech", "Speech", "speech", "audio/test/speech_*", "voice", _voice,
               _with_codecs("speech@0,30,60,90", "speech-vq@0,50,100", "opus@6,9,12,16", "opus-60@6,9,12,16")),
    Evaluation("sound", "Music and all other sounds", "sounds", "audio/test/[!s]*", "music", _music,
               _with_codecs("sound@0,30,60,90", "opus@6,10,16,24", "mp3@8,16,32", "aac@12,16,24,32", more=("--mono",))),
    Evaluation("video", "Films", "bear", "video/natural/bear.mkv", "film", _film,
               _with_codecs("nerv@30,60", "x264@20,28,36", "x265@20,28,36", "svtav1@25,40,55", more=("--effort", "1"))),
)
"""Few settings and low efforts, as all of it is to end in minutes on the small sets."""
