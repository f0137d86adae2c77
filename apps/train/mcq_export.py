"""From a finished training run of `mcq` to its weights file: codebooks, and tables of how often their entries occur."""

import numpy as np
import torch
from torch import Tensor

from fewbits.codecs.image.hyperprior.exact_networks import ExactNetworks
from fewbits.codecs.image.hyperprior.latent_coder import LatentCoder
from fewbits.codecs.image.hyperprior.model import HyperpriorModel
from fewbits.codecs.image.hyperprior.picture import QUALITY_CODES, Picture
from fewbits.codecs.image.hyperprior.weights import LATENT_TABLES, Weights
from fewbits.codecs.image.mcq.codebooks import VectorResiduals
from fewbits.codecs.image.mcq.model import McqModel
from fewbits.codecs.image.mcq.quantiser import ScaleQuantiser
from fewbits.codecs.image.mcq.weights import INDEX_TABLES, codebook_tensors
from fewbits.codecs.latents import UNIT
from fewbits.codecs.media import Image
from fewbits.entropy.tables import SymbolTables, quantised

PRIOR_WEIGHT = 32.0  # how many observations the shares of training are worth
_ESCAPE_SHARE = 1e-7  # what tables must have and never use


def codebooks_of(model: HyperpriorModel, networks: ExactNetworks, tables: dict[str, SymbolTables],
                 photos: list[Tensor]) -> tuple[dict[str, SymbolTables], dict[str, Tensor]]:
    """Tables and tensors that a weights file of `mcq` has beside those of `hyperprior`.

    Args:
        model: the trained model.
        networks, tables: what the file has of `hyperprior`.
        photos: (3, H, W) uint8, coded to count how often entries occur.
    """
    assert isinstance(model, McqModel)
    quantiser = model.entropy_model.quantiser
    shares = [quantiser.shares(number).double().numpy() for number in range(len(quantiser.codebooks))]
    residuals = VectorResiduals(_entries(quantiser), _tables(shares), tables[LATENT_TABLES])
    coder = LatentCoder(model.config, networks, residuals)
    counts = index_counts(Weights(b"", model, coder), residuals, photos)
    rows = [own + PRIOR_WEIGHT * share / share.sum() for own, share in zip(counts, shares, strict=True)]
    return {INDEX_TABLES: _tables(rows)}, codebook_tensors(residuals)


@torch.inference_mode()
def index_counts(weights: Weights, residuals: VectorResiduals, photos: list[Tensor]) -> list[np.ndarray]:
    """How often each entry occurs, and spelled out vectors last, over photos coded at every level: (K + 1,) each."""
    counts = [np.zeros(len(entries) + 1) for entries in residuals.entries]
    levels = weights.model.config.levels
    for photo in photos:
        picture = Picture(weights, "cpu", Image(photo.permute(1, 2, 0).contiguous().numpy()))
        for level in range(levels):
            for tile in picture.quantised(level * QUALITY_CODES // (levels - 1)):
                groups = (group for groups in tile.sections for group in groups)
                for group in (group for group in groups if group.tables is residuals.index_tables):
                    for table in np.unique(group.index):
                        counts[table] += np.bincount(group.symbols[group.index == table], minlength=len(counts[table]))
    return counts


def _entries(quantiser: ScaleQuantiser) -> list[np.ndarray]:
    return [(entries.detach() * UNIT).round().to(torch.int16).numpy() for entries in quantiser.codebooks]


def _tables(rows: list[np.ndarray]) -> SymbolTables:
    """Tables of numbers in proportion to rows (K + 1,)."""
    return SymbolTables.from_frequencies([quantised(np.append(row / row.sum(), _ESCAPE_SHARE)) for row in rows],
                                         np.zeros(len(rows), np.int32))
