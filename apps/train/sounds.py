"""Clips to train codecs for sound with: read once, cut and varied at random."""

import random
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fewbits.codecs.audio.codec import USUAL_LEVEL
from fewbits.codecs.sound import Audio
from fewbits.errors import InputError

VALIDATION_EVERY = 28  # of the clips, this one's speaker is kept out of training
SPEED_SPREAD = 0.12  # logarithm of the speed, at most
SHORT_SHARE = 0.3  # how often a clip shorter than a crop is taken when it is drawn


@dataclass(frozen=True)
class Clips:
    """Sounds of a folder, mono, at one rate, each at the usual level.

    Attributes:
        training, validation: (S,) float16 each; no speaker is in both.
    """

    training: list[np.ndarray]
    validation: list[np.ndarray]

    @classmethod
    def open(cls, folder: Path, rate: int) -> "Clips":
        """Reads the sounds of a folder. Raises `InputError` if there are too few, or one cannot be read."""
        clips = {path.stem: _at_usual_level(Audio.open(path).mono().resampled(rate).samples[0])
                 for path in sorted(folder.iterdir()) if path.is_file()}
        kept_out = {speaker(name) for name in list(clips)[::VALIDATION_EVERY]}
        training = [clip for name, clip in clips.items() if speaker(name) not in kept_out]
        if not training:
            raise InputError(f"{folder} needs sounds of two speakers at least, one of them for validation.")
        return cls(training, list(clips.values())[::VALIDATION_EVERY])


def speaker(name: str) -> str:
    """Who speaks in a clip, by the name of its file: what stands up to and with its first number."""
    found = re.match(r"\D*\d+", name)
    return found.group() if found else name


def _at_usual_level(samples: np.ndarray) -> np.ndarray:
    level = np.sqrt(np.square(samples, dtype=np.float64).mean())
    return (samples * (USUAL_LEVEL / max(level, 1e-6))).astype(np.float16)


def random_batch(clips: list[np.ndarray], batch: int, crop: int, level_spread: float,
                 random_state: random.Random) -> Tensor:
    """(batch, crop) float32: parts of random clips, half of them faster or slower.

    Args:
        level_spread: dB that they are louder or quieter than usual, at most.
    """
    parts: list[np.ndarray] = []
    room = int(crop * np.exp(SPEED_SPREAD)) + 2
    while len(parts) < batch:
        clip = random_state.choice(clips)
        if len(clip) < room:
            if random_state.random() > SHORT_SHARE:
                continue
            clip = np.pad(clip, (random_state.randrange(crop), room))
        factor = np.exp(random_state.uniform(-SPEED_SPREAD, SPEED_SPREAD)) if random_state.random() < 0.5 else 1.0
        part = _at_speed(clip, random_state.random() * (len(clip) - room), crop, float(factor))
        level = 10 ** (random_state.uniform(-level_spread, level_spread) / 20)
        parts.append(part * level * random_state.choice((-1, 1)))
    return torch.from_numpy(np.stack(parts).astype(np.float32)).clamp(-1, 1)


def _at_speed(clip: np.ndarray, start: float, count: int, factor: float) -> np.ndarray:
    """`count` samples of a clip at another speed and pitch, by linear interpolation."""
    if factor == 1:
        return clip[int(start) : int(start) + count].astype(np.float32)
    places = start + factor * np.arange(count)
    left = places.astype(np.int64)
    share = (places - left).astype(np.float32)
    return clip[left].astype(np.float32) * (1 - share) + clip[left + 1].astype(np.float32) * share
