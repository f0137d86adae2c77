"""The trainable `mcq` model: that of `hyperprior` with vectors in place of scalars."""

from torch import Tensor

from fewbits.codecs.image.hyperprior.config import HyperpriorConfig
from fewbits.codecs.image.hyperprior.entropy_model import EntropyModel
from fewbits.codecs.image.hyperprior.model import HyperpriorModel
from fewbits.codecs.image.mcq.quantiser import ScaleQuantiser
from fewbits.codecs.latents import SCALES

MCQ = HyperpriorConfig(transform_hidden=128, analysis_blocks=4, synthesis_blocks=4, low_hidden=96, low_by_bands=False,
                       high_hidden=128, high_multiplier=1, high_limit=511)
"""Narrower than `hyperprior`, for speed."""


class VectorEntropyModel(EntropyModel):
    """Rate of latents that are quantised by codebooks."""

    def __init__(self, config: HyperpriorConfig) -> None:
        super().__init__(config)
        self.quantiser = ScaleQuantiser()

    def quantised(self, residual: Tensor, scale_index: Tensor) -> tuple[Tensor, Tensor]:
        """See `EntropyModel.quantised`. Gradients of the rate are those of scalars of the same scale, which it is
        close to; its value is that of the codebooks."""
        smooth = super().quantised(residual, scale_index)[1]
        indices = scale_index.detach().round().clamp(0, SCALES - 1).long()
        quantised, bits = self.quantiser(residual.reshape(-1), indices.reshape(-1))
        return quantised.view_as(residual), smooth + (bits - smooth.sum()).detach() / len(smooth)


class McqModel(HyperpriorModel):
    """See `HyperpriorModel`."""

    def __init__(self, config: HyperpriorConfig) -> None:
        super().__init__(config)
        self.entropy_model = VectorEntropyModel(config)
