"""A search for latents that cost a picture less than those which the encoder's networks give at once.

Latents begin as the encoder's, and follow the gradient of `lambda * MSE + bits per pixel`, straight through the
rounding for the samples, with uniform noise in place of it for the bits, as in training. Y. Yang, R. Bamler, S. Mandt,
"Improving Inference for Neural Image Compression" (NeurIPS 2020). The decoder knows nothing of it.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from fewbits.codecs.codec import Progress
from fewbits.codecs.image.hyperprior.model import HyperpriorModel, lambda_of
from fewbits.codecs.image.hyperprior.picture import QUALITY_CODES, position_of, whole_cells
from fewbits.codecs.image.hyperprior.transforms import OVERLAP, Sides
from fewbits.codecs.image.hyperprior.weights import Weights
from fewbits.codecs.levels import LEVEL_FRACTION, level_integers
from fewbits.codecs.randomness import own_randomness

STEPS = 60
RATES = (0.0035, 0.0006)  # of learning, in quantiser steps, at quality 0 and 100


class LatentSearch:
    """Searches one tile after another of a picture; see `picture.Search`.

    Args:
        tiles: how many there are, for the progress.
    """

    def __init__(self, weights: Weights, device: str, tiles: int, progress: Progress) -> None:
        self.tiles, self.progress, self.done = tiles, progress, 0
        with torch.inference_mode(False):
            self.model = weights.trainable().to(device).eval().requires_grad_(False)

    def __call__(self, latents: Tensor, part: Tensor, sides: Sides, code: int) -> Tensor:
        with torch.inference_mode(False), torch.enable_grad():
            tile = _Tile(self.model, part.clone(), sides, code)
            searched = whole_cells(latents.clone())
            optimiser = torch.optim.Adam([searched.requires_grad_()], tile.rate, betas=(0.9, 0.98))
            schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, STEPS)
            self.model.entropy_model.train()  # noise in place of rounding
            for step in range(STEPS):
                optimiser.zero_grad()
                with own_randomness(step):  # one thread has it at a time, and so for no longer than it needs
                    cost = tile.cost(searched)
                cost.backward()
                optimiser.step()
                schedule.step()
                self.progress((self.done + (step + 1) / STEPS) / self.tiles, "searching latents")
        self.done += 1
        return searched.detach()[..., : latents.shape[2], : latents.shape[3]]


class _Tile:
    """A tile at one quality.

    Attributes:
        rate: of learning.
    """

    def __init__(self, model: HyperpriorModel, part: Tensor, sides: Sides, code: int) -> None:
        self.model, self.sides = model, sides
        quality = code / QUALITY_CODES
        self.rate = math.exp((1 - quality) * math.log(RATES[0]) + quality * math.log(RATES[1]))
        self.trade_off = float(lambda_of(torch.tensor(100 * quality), model.config))
        self.levels = (level_integers(position_of(code), model.config.levels) / 2**LEVEL_FRACTION).to(part.device)
        step, self.step_back = model.quantiser.steps(self.levels)
        self.scale, self.scale_back = map(model.quantiser.input_scale, (step, self.step_back))
        left, right, top, bottom = (0 if border else 2 * OVERLAP for border in sides)
        self.image = part[..., top : part.shape[2] - bottom, left : part.shape[3] - right]

    def cost(self, latents: Tensor) -> Tensor:
        """`lambda * MSE + bits per pixel`: scalar."""
        decoded, bits = self.model.entropy_model(latents, self.scale, self.levels)
        pixels = self.model.synthesis(decoded, self.step_back, self.scale_back, self.levels, self.sides)
        height, width = self.image.shape[2:]
        error = F.mse_loss(pixels[..., :height, :width], self.image) * 255**2
        return self.trade_off * error + bits.sum() / (height * width)
