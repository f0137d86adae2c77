"""Recipe: train the image codec `mcq`.

It begins with what a smaller model can have of the trained `hyperprior`, whose networks it has, and with codebooks that
are lattices of whole steps, which is what rounding does. From there everything is trained together, as in the recipe of
`hyperprior`: first in floating point, then with the integer networks simulated.
"""

import random
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from fewbits.apps.train.hyperprior import Schedule, random_batch
from fewbits.apps.train.narrowing import narrow
from fewbits.apps.train.ranks import summed
from fewbits.codecs.image.hyperprior.codec import WEIGHTS
from fewbits.codecs.image.hyperprior.weights import load_weights
from fewbits.codecs.image.mcq.model import MCQ, McqModel

MEASURED = 200  # crops on which the units of `hyperprior` are measured


def schedule(minutes: float) -> Schedule:
    """What has been trained before is trained more gently."""
    return replace(Schedule(minutes), adam_rate=6e-4, muon_rate=6e-3)


def begin(photos: list[Tensor], start: Path | None) -> tuple[McqModel, str]:
    """The model to begin with, and what it comes from: the shipped weights of `hyperprior` or others of that codec."""
    path = start or WEIGHTS
    weights = load_weights(path, "cpu")
    model, random_state = McqModel(MCQ), random.Random(0)
    model.entropy_model.quantiser.summed = summed
    crop = min(128, min(min(photo.shape[1:]) for photo in photos) // 64 * 64)
    images = random_batch(photos, replace(Schedule(0), batch=MEASURED, crop=crop), random_state)
    narrow(weights.trainable(), model, images, torch.linspace(0, 100, MEASURED))
    return model, f"a narrower copy of {path.name} with the identity {weights.identity.hex()}"
