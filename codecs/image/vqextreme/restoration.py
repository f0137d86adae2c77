"""A masked transformer that guesses the indices of lost cells from those of the cells around.

Every cell is a token. What is known of it comes in as the codebooks' entries, so that one network serves all rates,
whose codebooks are clusters of one another; what comes out are scores of the entries. As in "MaskGIT: Masked
Generative Image Transformer" (H. Chang et al., CVPR 2022), but no index is drawn: the mean of the entries, each as
probable as the network says, stands in the gap, since it is to be near to what was lost.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, from_numpy, nn
from torch.nn import functional as F

from fewbits.codecs.image.tiles import tiles
from fewbits.codecs.image.vqextreme.config import FINE, Rate
from fewbits.codecs.image.vqextreme.index_coder import CellIndices
from fewbits.codecs.image.vqextreme.model import VqExtremeModel
from fewbits.codecs.image.vqextreme.quantiser import Bottleneck
from fewbits.codecs.stored_config import StoredConfig

PLACES = FINE * FINE
WINDOW, MARGIN = 16, 4  # cells on a side that are restored at a time, and what is seen around them


@dataclass(frozen=True)
class RestorationConfig(StoredConfig):
    """Sizes of the transformer."""

    width: int = 192
    heads: int = 6
    layers: int = 6
    dimensions: int = 64  # of an entry


class RestorationNetwork(nn.Module):
    """Tokens of a grid of cells to what each lost cell's entries should be near to.

    Where a cell lies is told by a depthwise convolution before each layer, so that grids may have any size (X. Chu et
    al., "Conditional Positional Encodings for Vision Transformers", ICLR 2023).
    """

    def __init__(self, config: RestorationConfig) -> None:
        super().__init__()
        self.config, width = config, config.width
        self.into = nn.Linear((1 + PLACES) * config.dimensions + 1, width)
        self.positions = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1, groups=width)
                                       for _ in range(config.layers))
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(width, config.heads, 4 * width, 0.0, F.gelu, batch_first=True, norm_first=True)
            for _ in range(config.layers))
        self.out = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, (1 + PLACES) * (config.dimensions + 1)))

    def forward(self, entries: Tensor, lost: Tensor) -> Tensor:
        """Queries, whose products with entries are their scores, and a factor of each.

        Args:
            entries: (N, h, w, 5 D): of the coarse stage and the four places of the fine one, 0 where they are lost.
            lost: (N, h, w) float, 1 where a cell is lost.

        Returns:
            (N, h, w, 5, D + 1)
        """
        x = self.into(torch.cat([entries, lost[..., None]], -1))
        batch, height, width, channels = x.shape
        for position, layer in zip(self.positions, self.layers, strict=True):
            x = x + position(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
            x = layer(x.reshape(batch, height * width, channels)).view(batch, height, width, channels)
        return self.out(x).view(batch, height, width, 1 + PLACES, -1)


def scores(queries: Tensor, stage: Bottleneck, size: int) -> Tensor:
    """Unnormalised log-probabilities of entries: how usual they are, and how near to the queries.

    Args:
        queries: (..., D + 1), the last number being the logarithm of how much nearness counts.

    Returns:
        (..., K)
    """
    entries = stage.entries(size) / unit_of(stage, size)
    near = (queries[..., :-1] @ entries.T - entries.square().sum(1) / 2) / entries.shape[1]
    return near * queries[..., -1:].clamp(-6, 6).exp() - math.log(2) * stage.bits(size)


def unit_of(stage: Bottleneck, size: int) -> Tensor:
    """The root mean square of what entries are made of: scalar."""
    return stage.entries(size).square().mean().sqrt()


@dataclass(frozen=True)
class Guess:
    """What cells are expected to be; it counts where they are lost alone.

    Attributes:
        coarse: (1, D, rows, columns), features of the coarse stage.
        finer: (1, D, 2 rows, 2 columns), what the finer ones add to those predicted from it.
    """

    coarse: Tensor
    finer: Tensor


@dataclass(frozen=True)
class Restoration:
    """The trained network beside the codebooks that it was trained for."""

    network: RestorationNetwork
    model: VqExtremeModel

    @torch.inference_mode()
    def guess(self, indices: CellIndices, lost: np.ndarray, rate: Rate) -> Guess:
        """What cells are expected to be, where they are lost: (rows, columns) bool."""
        entries, flags = known_entries(self.model, indices, lost, rate), from_numpy(lost).float()[None]
        rows, columns = lost.shape
        expected = torch.zeros(rows, columns, 1 + PLACES, self.network.config.dimensions)
        for down, across in tiles(rows, columns, WINDOW, MARGIN):
            if lost[down.core, across.core].any():
                queries = self.network(entries[:, down.outer, across.outer], flags[:, down.outer, across.outer])
                queries, here = queries[0, down.inner, across.inner], expected[down.core, across.core]
                here[:, :, 0] = self._mean(queries[:, :, 0], "coarse", rate)
                here[:, :, 1:] = self._mean(queries[:, :, 1:], "fine", rate)
        places = expected[:, :, 1:].unflatten(2, (FINE, FINE)).permute(4, 0, 2, 1, 3)
        return Guess(expected[:, :, 0].permute(2, 0, 1)[None], places.reshape(1, -1, FINE * rows, FINE * columns))

    def _mean(self, queries: Tensor, stage: str, rate: Rate) -> Tensor:
        """Of a stage's entries, by their probabilities: (..., D + 1) -> (..., D)."""
        bottleneck, size = self.model.stage(stage), rate.size(stage)
        return scores(queries, bottleneck, size).softmax(-1) @ bottleneck.entries(size)


def known_entries(model: VqExtremeModel, indices: CellIndices, lost: np.ndarray, rate: Rate) -> Tensor:
    """What `RestorationNetwork` sees of a picture: (1, rows, columns, 5 D)."""
    coarse, fine = model.stage("coarse"), model.stage("fine")
    parts = [coarse.values(from_numpy(indices.coarse).long()[None], rate.coarse) / unit_of(coarse, rate.coarse)]
    parts += [fine.values(from_numpy(indices.fine[..., place]).long()[None], rate.fine) / unit_of(fine, rate.fine)
              for place in range(PLACES)]
    return (torch.cat(parts, 1) * from_numpy(~lost)[None, None]).permute(0, 2, 3, 1)
