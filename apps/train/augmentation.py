"""Photos as never before, for recipes that have few of them: crops, colours, and a part erased."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F


def augmented(samples: Tensor, side: int) -> Tensor:
    """Photos (N, 3, H, W) uint8 as never before: (N, 3, side, side) float in [0, 1]."""
    return _erased(_recoloured(_cropped(samples.float() / 255, side)))


def _cropped(photos: Tensor, side: int) -> Tensor:
    """A random part of each, of a fifth of its area to all of it, and of other proportions; half of them mirrored."""
    count = len(photos)
    area = torch.empty(count).uniform_(0.2, 1)
    proportion = torch.empty(count).uniform_(math.log(3 / 4), math.log(4 / 3)).exp()
    width, height = ((area * ratio).sqrt().clamp(max=1) for ratio in (proportion, 1 / proportion))
    x, y = ((1 - size) * torch.empty(count).uniform_(-1, 1) for size in (width, height))
    mirrored = torch.randint(0, 2, (count,)) * 2 - 1
    zeros = torch.zeros(count)
    affine = torch.stack([torch.stack([width * mirrored, zeros, x], 1), torch.stack([zeros, height, y], 1)], 1)
    grid = F.affine_grid(affine, [count, 3, side, side], align_corners=False)
    return F.grid_sample(photos, grid, padding_mode="reflection", align_corners=False)


def _recoloured(photos: Tensor) -> Tensor:
    """With another brightness, contrast, saturation and white."""
    contrast, saturation = (torch.empty(len(photos), 1, 1, 1).uniform_(0.6, 1.4) for _ in range(2))
    gains = torch.empty(len(photos), 3, 1, 1).uniform_(0.85, 1.15)
    offset = torch.empty(len(photos), 1, 1, 1).uniform_(-0.15, 0.15)
    coloured = torch.lerp(photos.mean(1, keepdim=True), photos * gains, saturation)
    mean = coloured.mean([1, 2, 3], keepdim=True)
    return torch.lerp(mean, coloured, contrast).add(offset).clamp(0, 1)


def _erased(photos: Tensor) -> Tensor:
    """With one random rectangle in the mean colour of the picture, of up to half its sides."""
    count, _, height, width = photos.shape
    inside = torch.ones(count, 1, 1, 1, dtype=torch.bool)
    for dimension, size in ((2, height), (3, width)):
        extent = torch.empty(count).uniform_(0, 0.5)
        begin = torch.rand(count) * (1 - extent)
        places = torch.arange(size) / size
        within = (places >= begin[:, None]) & (places < (begin + extent)[:, None])
        inside = inside & within.view(count, 1, *(size if d == dimension else 1 for d in (2, 3)))
    return torch.where(inside, photos.mean([2, 3], keepdim=True), photos)
