"""Latents of a block of frames to bytes and back, by codebooks: stages as needed, indices by context mixing."""

import torch
from torch import Tensor

from fewbits.codecs.audio.config import VectorConfig
from fewbits.codecs.audio.vector_model import VectorModel
from fewbits.entropy.index_coder import UNUSED, decode_indices, encode_and_estimate
from fewbits.kernels.index_mixing import IndexPrior


class VectorCoder:
    """Codes latents frame by frame, see `BlockCoder`. The code of a quality is the number of stages less one.

    A frame has at most as many stages, and fewer where it comes as near with them as frames usually do with all: pauses
    and quiet moments take few bits.

    Args:
        model: whose codebooks are used.
        prior: what is known of indices before the first frame.
        usual_errors: (stages + 1,) mean squares that are usually left of latents, by the number of stages.
    """

    def __init__(self, model: VectorModel, prior: IndexPrior, usual_errors: Tensor) -> None:
        self.config: VectorConfig = model.config
        self.model, self.prior, self.usual_errors = model, prior, usual_errors
        self.rows, self.qualities = self.config.stages, self.config.stages - 1

    def level_weights(self, code: int) -> Tensor:
        """See `BlockCoder`."""
        return self.model.level_weights(torch.tensor([code + 1]))

    def indices(self, latents: Tensor, code: int) -> Tensor:
        """Indices (C, stages, T) int64 of latents (C, K, T), UNUSED where a frame needs no more of them."""
        indices = self.model.quantiser.indices(latents, torch.full((len(latents),), code + 1))
        errors = self.model.quantiser.errors(latents, indices[:, : code + 1])
        needed = (errors[:, :-1] > self.usual_errors[code + 1]).long().cumprod(1).sum(1)  # (C, T)
        return torch.where(torch.arange(self.rows)[:, None] < needed[:, None], indices, UNUSED)

    def encode(self, latents: Tensor, code: int) -> tuple[bytes, float]:
        """See `BlockCoder`: the channels follow one another like further frames."""
        rows = self.indices(latents, code).transpose(0, 1).flatten(1).numpy()
        return encode_and_estimate(rows, self.config.entries, self.prior)

    def decode(self, data: bytes, channels: int, frames: int, code: int) -> Tensor:
        """See `BlockCoder`: the indices of the frames."""
        rows = decode_indices(data, self.rows, channels * frames, self.config.entries, self.prior)
        return torch.from_numpy(rows).to(torch.int16).unflatten(1, (channels, frames)).transpose(0, 1)

    def dequantise(self, integers: Tensor) -> Tensor:
        """See `BlockCoder`."""
        return self.model.quantiser.decode(integers)
