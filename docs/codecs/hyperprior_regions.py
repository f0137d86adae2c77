"""What region-adaptive transforms would save `hyperprior`, after Y. Liu et al., "Region-Adaptive Transform with
Segmentation Prior for Image Compression" (ECCV 2024). A trial of `hyperprior.md`.

    pip install scikit-image
    python docs/codecs/hyperprior_regions.py PHOTOS REGIONS.pt --steps 1500 # regions are kept in a file

The mean features of each region of a picture are sent, as a few small numbers. From them, on both sides, comes a
convolution for each region and a scale and an offset of its features. In training, regions are those of a
segmentation (P. Felzenszwalb and D. Huttenlocher, "Efficient Graph-Based Image Segmentation", IJCV 2004); a real
picture's are the cells of a grid of 4 x 4, so that no segmentation is sent.

Both models begin with the shipped weights, and see as many crops. The entropy model's integer networks
get nothing of the regions: what the paper adds there is left out.
"""

import argparse
import copy
import math
import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from skimage.segmentation import felzenszwalb
from torch import Tensor, nn
from torch.nn import functional as F

from fewbits.apps.train.hyperprior import (
    VALIDATION_QUALITIES,
    Points,
    load_photos,
    loss_of,
    optimisers_of,
    schedule,
    validate,
)
from fewbits.apps.train.optimisation import average_into
from fewbits.codecs.image.hyperprior.codec import WEIGHTS
from fewbits.codecs.image.hyperprior.entropy_model import logistic_bits
from fewbits.codecs.image.hyperprior.model import EVERY_SIDE, HyperpriorModel
from fewbits.codecs.image.hyperprior.weights import load_weights
from fewbits.codecs.latents import round_through
from fewbits.codecs.levels import level_weights
from fewbits.eval.curves import Curve, Point, bd_rate

GRID = 4  # regions along a side of a real picture
SENT = 8  # numbers sent of each region
WIDTH = 96  # inside the networks around them
KERNEL = 3
SCALE_LOW = 0.05  # least scale of what is sent
HALF = 2  # blocks of the transforms before and after what is adapted
MOST_REGIONS = 16  # of a crop; those beyond count as one


def grid_regions(like: Tensor) -> Tensor:
    """Cells of a grid as regions: (N, C, h, w) -> (N, h, w) int64."""
    rows, columns = (torch.arange(size) * GRID // size for size in like.shape[-2:])
    return (rows[:, None] * GRID + columns).expand(len(like), -1, -1)


class Prototypes(nn.Module):
    """The mean features of regions, as they arrive."""

    def __init__(self, levels: int, channels: int) -> None:
        super().__init__()
        self.down = nn.Sequential(nn.Linear(channels, WIDTH), nn.GELU(), nn.Linear(WIDTH, SENT))
        self.up = nn.Sequential(nn.Linear(SENT, WIDTH), nn.GELU())
        self.mean = nn.Parameter(torch.zeros(levels, SENT))
        self.log_scale = nn.Parameter(torch.zeros(levels, SENT))

    def forward(self, features: Tensor, members: Tensor, level_weights: Tensor) -> tuple[Tensor, Tensor]:
        """To prototypes (N, K, WIDTH) and bits (N,).

        Args:
            features: (N, C, h, w).
            members: (N, K, h, w), 1 inside a region, else 0.
        """
        sizes = members.sum([2, 3])
        means = torch.einsum("nchw,nkhw->nkc", features.float(), members) / sizes.clamp(min=1)[..., None]
        numbers = self.down(means).float()
        noisy = numbers + torch.rand_like(numbers) - 0.5 if self.training else numbers.round()
        mean, scale = (level_weights @ x for x in (self.mean, self.log_scale))
        bits = logistic_bits(noisy - mean[:, None], scale.exp()[:, None] + SCALE_LOW)
        return self.up(round_through(numbers)), (bits * (sizes > 0)[..., None]).sum([1, 2])


class RegionAdaptation(nn.Module):
    """A depthwise convolution, a scale and an offset for each region, from its prototype. It begins as the identity."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.kernels = nn.Linear(WIDTH, channels * KERNEL**2)
        self.affine = nn.Linear(WIDTH, 2 * channels)
        for layer in (self.kernels, self.affine):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor, prototypes: Tensor, members: Tensor, input_scale: Tensor) -> Tensor:
        """x: (N, C, h, w), seen scaled by input_scale (N, C, 1, 1), to the same shape."""
        size, channels, seen = x.shape[-2:], x.shape[1], x * input_scale
        around = F.unfold(seen.float(), KERNEL, padding=KERNEL // 2).view(len(x), channels, KERNEL**2, *size)
        scale, offset = self._by_place(self.affine(prototypes), members).chunk(2, 1)
        kernels = self._by_place(self.kernels(prototypes), members).view_as(around)
        return x + (around * kernels).sum(2) + seen * scale + offset

    def _by_place(self, of_regions: Tensor, members: Tensor) -> Tensor:
        return torch.einsum("nkc,nkhw->nchw", of_regions.float(), members)


class RegionAdaptiveModel(HyperpriorModel):
    """`hyperprior` with an adaptation amid the blocks of either transform."""

    regions: Tensor | None = None  # (N, h, w) int64 at 1/8 of the resolution, of the batch to come; None for a grid

    def __init__(self, begun: HyperpriorModel) -> None:
        super().__init__(begun.config)
        self.load_state_dict(begun.state_dict())
        self.entropy_model.simulated = begun.entropy_model.simulated
        self.prototypes = Prototypes(self.config.levels, self.config.LATENTS)
        self.analysed = RegionAdaptation(self.config.LATENTS)
        self.synthesised = RegionAdaptation(self.config.LATENTS)

    def forward(self, image: Tensor, quality: Tensor) -> tuple[Tensor, Tensor]:
        """As of `HyperpriorModel`."""
        weights = level_weights(quality, self.config.levels)
        step, step_back = self.quantiser.steps(weights)
        scale, scale_back = self.quantiser.input_scale(step), self.quantiser.input_scale(step_back)
        x = self.analysis.coefficients(image, EVERY_SIDE) / step
        regions = grid_regions(x) if self.regions is None else self.regions
        members = F.one_hot(regions, max(MOST_REGIONS, GRID**2)).permute(0, 3, 1, 2).float()
        for block in self.analysis.blocks[:HALF]:
            x = block(x, weights, scale)
        prototypes, region_bits = self.prototypes(x * scale, members, weights)
        x = self.analysed(x, prototypes, members, scale)
        for block in self.analysis.blocks[HALF:]:
            x = block(x, weights, scale)
        with torch.autocast(image.device.type, enabled=False):
            x, bits = self.entropy_model(x.float(), scale, weights)
        for block in self.synthesis.blocks[:HALF]:
            x = block(x, weights, scale_back)
        x = self.synthesised(x, prototypes, members, scale_back)
        for block in self.synthesis.blocks[HALF:]:
            x = block(x, weights, scale_back)
        with torch.autocast(image.device.type, enabled=False):
            return self.synthesis.image(x.float() * step_back, EVERY_SIDE), bits + region_bits


def segmented(photo: Tensor) -> Tensor:
    """Regions of a photo (3, H, W): (H, W) uint8."""
    regions = felzenszwalb(photo.permute(1, 2, 0).numpy(), scale=200, sigma=0.8, min_size=400)
    return torch.from_numpy(np.minimum(regions, 255).astype(np.uint8))


@dataclass(frozen=True)
class Crops:
    """Random crops of photos with their regions."""

    photos: list[Tensor]
    regions: list[Tensor]
    size: int
    state: random.Random

    def batch(self, count: int) -> tuple[Tensor, Tensor]:
        """Images (N, 3, size, size) in [0, 1], and regions (N, size / 8, size / 8)."""
        images, regions = [], []
        for _ in range(count):
            number = self.state.randrange(len(self.photos))
            top, left = (self.state.randint(0, side - self.size) for side in self.photos[number].shape[1:])
            window = (..., slice(top, top + self.size), slice(left, left + self.size))
            images.append(self.photos[number][window].float() / 255)
            blocks = self.regions[number][window][4::8, 4::8].long()
            regions.append(blocks.unique(return_inverse=True)[1].clamp(max=MOST_REGIONS - 1))
        return torch.stack(images).contiguous(memory_format=torch.channels_last), torch.stack(regions)


def trained(model: HyperpriorModel, crops: Crops, steps: int, validation: list[Tensor]) -> Points:
    """Trains a model, and tells how its average does on the validation photos."""
    plan = schedule(1.0, "psnr", WEIGHTS)
    averaged, optimisers = copy.deepcopy(model), optimisers_of(model, plan)
    for step in range(steps):
        images, regions = crops.batch(plan.batch)
        if isinstance(model, RegionAdaptiveModel):
            model.regions = regions
        loss, _, _ = loss_of(model, images, (torch.rand(plan.batch) * 110 - 5).clamp(0, 100), plan.tune)
        for parameter in model.parameters():
            parameter.grad = None
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimisers.step(min(1.0, (step + 1) / plan.warmup) * 0.5 * (1 + math.cos(math.pi * step / steps)))
        average_into(averaged, model, min(0.995, (1 + step) / (10 + step)))
        if step % 100 == 0:
            print(f"step {step}, loss {loss.item():.3f}", flush=True)
    return validate(averaged, validation)


def curve(points: Points) -> Curve:
    """Bits per pixel and PSNR at each of `VALIDATION_QUALITIES`."""
    return Curve("hyperprior", "psnr", tuple(Point(q, *p) for q, p in zip(VALIDATION_QUALITIES, points, strict=True)))


def main(photos: Path, kept: Path, steps: int) -> None:
    """Trains both and prints the table."""
    training, validation = load_photos(photos)
    size = schedule(1.0, "psnr", WEIGHTS).crop
    training = [photo for photo in training if min(photo.shape[1:]) >= size]
    if not kept.exists():
        torch.save([segmented(photo) for photo in training], kept)
    regions = torch.load(kept)
    begun = load_weights(WEIGHTS, "cpu").trainable()
    results = {}
    for name, kind in (("without", copy.deepcopy), ("with regions", RegionAdaptiveModel)):
        torch.manual_seed(0)
        model = kind(begun).to(memory_format=torch.channels_last).train()
        results[name] = trained(model, Crops(training, regions, size, random.Random(0)), steps, validation)
    print(f"\n| quality | {' | '.join(f'{name}: bits per pixel, PSNR' for name in results)} |\n|---|---|---|")
    for quality, *points in zip(VALIDATION_QUALITIES, *results.values(), strict=True):
        print(f"| {quality:g} | {' | '.join(f'{rate:.3f}, {psnr:.2f}' for rate, psnr in points)} |")
    print(f"\nwith regions: {bd_rate(*map(curve, results.values())).percent:+.2f} % bits at equal PSNR")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("kept", type=Path, metavar="REGIONS.pt")
    parser.add_argument("--steps", type=int, default=1500)
    arguments = parser.parse_args()
    main(arguments.photos, arguments.kept, arguments.steps)
