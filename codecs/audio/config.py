"""What a model of neural sound coding is made of: every number that encoder and decoder must agree on."""

from dataclasses import dataclass

from fewbits.codecs.stored_config import StoredConfig


@dataclass(frozen=True)
class TransformConfig(StoredConfig):
    """Sizes of the transforms of a model. Travels with its weights.

    A frame is a step of the MDCT: `hop` samples. Each has `latents` numbers.
    """

    rate: int = 16000  # samples a second that the model works at
    hop: int = 320
    latents: int = 128
    width: int = 192  # features of a frame inside the networks
    hidden: int = 576  # inside their blocks
    blocks: int = 6  # of analysis and of synthesis
    levels: int = 9  # trained operating points; quality interpolates between them
    decades: int = 3  # powers of ten below 1 that sizes of coefficients are told apart in
    block: int = 96  # frames that are coded independently of others
    causal: bool = False  # whether analysis and synthesis see no frame after their own

    @property
    def halo_before(self) -> int:
        """Frames before its own that analysis, and synthesis, see for a frame."""
        return 6 * self.blocks + 2 if self.causal else 3 * self.blocks + 1

    @property
    def halo_after(self) -> int:
        """Frames after its own."""
        return 0 if self.causal else self.halo_before


@dataclass(frozen=True)
class AudioConfig(TransformConfig):
    """Sizes of a model whose latents are rounded one by one."""

    context_hidden: int = 192  # width of the networks that predict latents

    @property
    def first_latents(self) -> int:
        """Latents of a frame that are coded first; the others see them."""
        return self.latents // 2


@dataclass(frozen=True)
class VectorConfig(TransformConfig):
    """Sizes of a model whose latents go through stages of codebooks."""

    stages: int = 20
    entries: int = 64  # of each codebook: as good as 256 in fewer stages, and easier to predict


SPEECH = AudioConfig()
SPEECH_LIVE = AudioConfig(block=16, causal=True)
SOUND = AudioConfig(rate=24000, hop=480, latents=160, decades=5)  # music has quiet parts far below its loud ones
