"""What `vqextreme` begins with: principal components in place of random networks, clusters in place of random entries.
"""

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

from fewbits.apps.train.hyperprior import cut
from fewbits.codecs.image.hyperprior.model import EVERY_SIDE
from fewbits.codecs.image.vqextreme.config import RATES, STAGES
from fewbits.codecs.image.vqextreme.model import UNIT, VqExtremeModel, rate_weights
from fewbits.codecs.image.vqextreme.quantiser import Codebooks, FiniteScalars
from fewbits.kernels import vq

LLOYD_ITERATIONS = 12
MOST_ROWS = 150_000  # that a codebook is made from


@torch.no_grad()
def begin(model: VqExtremeModel, photos: list[Tensor]) -> None:
    """Sets all that a new model knows from photos, uint8 (3, H, W)."""
    analysis, synthesis, prediction = model.analysis, model.synthesis, model.prediction
    width, dimensions = model.config.channels, model.config.dimensions
    rows = [_joined(analysis.coefficients(x, EVERY_SIDE) / UNIT) for x in images_of(photos)]
    fine = _components(rows, width)
    _set(analysis.to_fine.linear, fine)
    _set(synthesis.to_outer.linear, fine.T)
    grids = [analysis.to_fine(analysis.coefficients(x, EVERY_SIDE) / UNIT) for x in images_of(photos)]
    coarse = _components([_joined(g[:, :, : g.shape[2] // 2 * 2, : g.shape[3] // 2 * 2]) for g in grids], width)
    _set(analysis.to_coarse.linear, coarse)
    _set(prediction.expansion.linear, coarse[:dimensions, : 4 * dimensions].T)
    _set(synthesis.widen, torch.eye(width, dimensions))
    begin_stages(model, photos)


@torch.no_grad()
def begin_stages(model: VqExtremeModel, photos: list[Tensor]) -> None:
    """Makes the entries of all stages anew, each from what those before it leave at the highest rate that has it."""
    weights = rate_weights(len(RATES) - 1, torch.zeros(0))
    fine, left = [], []
    for image in images_of(photos):
        own_fine, own_coarse = model.analysis(image, weights, EVERY_SIDE, model.config.dimensions)
        fine.append(own_fine)
        left.append(own_coarse)
    for name in STAGES:
        stage, largest = model.stage(name), max(rate.size(name) for rate in RATES)
        _begin_stage(stage, torch.cat([_rows(x) for x in left]))
        parts = [stage.values(stage.indices(x, largest, 0.0), largest) for x in left]
        if name == "coarse":
            left = [x - model.prediction(part, weights) for x, part in zip(fine, parts, strict=True)]
        else:
            left = [x - part for x, part in zip(left, parts, strict=True)]


def _begin_stage(stage: Codebooks | FiniteScalars, rows: Tensor) -> None:
    rows = rows[torch.randperm(len(rows))[:MOST_ROWS]].contiguous()
    if isinstance(stage, FiniteScalars):
        for size in stage.into:
            into, out = stage.into[size], stage.out[size]
            directions = _components([rows], into.out_features)
            spread = (rows @ directions.T).std(0)
            _set(into, directions / spread[:, None])
            _set(out, directions.T * spread)
        return
    entries, shares = rows, torch.ones(len(rows))
    for size in sorted(map(int, stage.codebooks), reverse=True):
        entries, shares = clustered(entries, shares, size)
        stage.entries(size).copy_(entries)
        stage.bits(size).copy_(-(shares / shares.sum()).log2())


def clustered(rows: Tensor, weights: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Lloyd's algorithm: centres (count, D) of weighted rows, and the weight of each."""
    start = torch.multinomial(weights, count, replacement=len(rows) < count)
    centres = rows[start].clone()
    for _ in range(LLOYD_ITERATIONS):
        nearest = vq.nearest(rows, centres)
        total = torch.zeros(count).index_add_(0, nearest, weights)
        sums = torch.zeros_like(centres).index_add_(0, nearest, rows * weights[:, None])
        far = rows[torch.multinomial(weights, count, replacement=True)]  # for a centre that has lost all its rows
        centres = torch.where(total[:, None] > 0, sums / total.clamp(min=1e-9)[:, None], far).contiguous()
    return centres, total.clamp(min=1e-3)


def _components(rows: list[Tensor], count: int) -> Tensor:
    """The directions of most power, one a row: (count, D)."""
    products = torch.stack([x.double().T @ x.double() / len(x) for x in rows]).mean(0)
    return torch.linalg.eigh(products).eigenvectors.flip(1)[:, :count].T.float().contiguous()


def images_of(photos: list[Tensor]) -> Iterator[Tensor]:
    """(1, 3, H, W) in [0, 1], cut to whole cells."""
    for photo in photos:
        yield (cut(photo)[None].float() / 255).contiguous(memory_format=torch.channels_last)


def _joined(x: Tensor) -> Tensor:
    """Four neighbours to a row: (1, C, h, w) -> (h w / 4, 4 C)."""
    return _rows(F.pixel_unshuffle(x, 2))


def _rows(x: Tensor) -> Tensor:
    """(1, C, h, w) -> (h w, C)."""
    return x[0].flatten(1).T.contiguous()


def _set(linear: torch.nn.Linear, weight: Tensor) -> None:
    linear.weight.copy_(weight)
    linear.bias.zero_()
