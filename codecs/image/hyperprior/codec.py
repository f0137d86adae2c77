"""The `hyperprior` image codec: which weights it works with."""

from functools import cached_property, lru_cache
from pathlib import Path
from typing import Self

from fewbits.codecs.codec import Progress, Target
from fewbits.codecs.image.hyperprior.picture import Search
from fewbits.codecs.image.hyperprior.tile_codec import TileCodec
from fewbits.codecs.image.hyperprior.weights import Weights, load_weights
from fewbits.codecs.media import Image
from fewbits.codecs.weights import identity_of

WEIGHTS = Path(__file__).parent.parent / "weights" / "hyperprior.safetensors"
CIRCUIT = WEIGHTS.with_name("hyperprior-circuit.safetensors")
MSSSIM_WEIGHTS = WEIGHTS.with_name("hyperprior-msssim.safetensors")
CIRCUIT_EFFORT = 6  # from which on latents are coded with the circuit
SEARCH_EFFORT = 7  # ... and searched for


class HyperpriorCodec(TileCodec):
    """See `TileCodec`.

    Args:
        device: where the float transforms run.
        weights: the weights file.
        circuit: a circuit as prior over the latents, trained for these weights; None to code them by their tables
            alone. The identity in a file is that of the circuit, if there is one: it names the weights in turn.
    """

    name, family = "hyperprior", "hierarchical"

    def __init__(self, device: str = "cpu", weights: Path = WEIGHTS, circuit: Path | None = None) -> None:
        super().__init__(device)
        self.weights_path, self.circuit_path = weights, circuit

    @cached_property
    def weights_id(self) -> bytes:
        return identity_of(self.circuit_path or self.weights_path)

    @cached_property
    def weights(self) -> Weights:
        weights = _load_weights(self.weights_path, self.device)
        return weights if self.circuit_path is None else weights.with_circuit(self.circuit_path)

    def search(self, target: Target, tiles: int, progress: Progress) -> Search | None:
        """From effort 7 on, with the weights for PSNR, where no size or PSNR is to be met; see `TileCodec`."""
        free = target.size is None and target.psnr is None
        if target.effort < SEARCH_EFFORT or self.weights_path != WEIGHTS or not free:
            return None
        from fewbits.codecs.image.hyperprior.latent_search import LatentSearch

        return LatentSearch(self.weights, self.device, tiles, progress)

    @cached_property
    def _with_circuit(self) -> Self:
        return type(self)(self.device, self.weights_path, CIRCUIT)

    @cached_property
    def _for_msssim(self) -> Self:
        return type(self)(self.device, MSSSIM_WEIGHTS)

    def for_media(self, media: Image, target: Target) -> Self:
        """With the weights tuned for MS-SSIM, if that is the target, else with the circuit from effort 6 on; see
        `Codec.for_media`."""
        if target.tune == "msssim":
            return self._for_msssim
        return self if target.effort < CIRCUIT_EFFORT else self._with_circuit

    def for_weights(self, identity: bytes) -> Self:
        """With the circuit or the weights tuned for MS-SSIM, if the file names those; see `Codec.for_weights`."""
        if self.weights_path == WEIGHTS and self.circuit_path is None and identity != self.weights_id:
            for other in (self._with_circuit, self._for_msssim):
                if identity == other.weights_id:
                    return other
        return super().for_weights(identity)


_load_weights = lru_cache(maxsize=3)(load_weights)  # shared by the codec with and without the circuit
