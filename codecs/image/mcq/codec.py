"""The `mcq` image codec: `hyperprior` with narrower networks, and with vectors in place of rounded numbers."""

from functools import cached_property
from pathlib import Path

from fewbits.codecs.image.hyperprior.tile_codec import TileCodec
from fewbits.codecs.image.hyperprior.weights import Weights, load_weights
from fewbits.codecs.image.mcq.weights import vector_residuals
from fewbits.codecs.weights import identity_of

WEIGHTS = Path(__file__).parent.parent / "weights" / "mcq.safetensors"


class McqCodec(TileCodec):
    """See `TileCodec`; what the networks leave of the latents is vector-quantised, see `codebooks.VectorResiduals`."""

    name, family = "mcq", "vector-quantised"

    @cached_property
    def weights_id(self) -> bytes:
        return identity_of(WEIGHTS)

    @cached_property
    def weights(self) -> Weights:
        return load_weights(WEIGHTS, self.device, vector_residuals)
