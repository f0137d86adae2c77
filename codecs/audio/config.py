"""What a model of neural sound coding is made of: every number that encoder and decoder must agree on."""

from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class AudioConfig:
    """Sizes of one model. Travels with its weights.

    A frame is a step of the MDCT: `hop` samples. Each has `latents` numbers.
    """

    rate: int = 16000  # samples a second that the model works at
    hop: int = 320
    latents: int = 128
    width: int = 192  # features of a frame inside the networks
    hidden: int = 576  # inside their blocks
    blocks: int = 6  # of analysis and of synthesis
    levels: int = 9  # trained operating points; quality interpolates between them
    context_hidden: int = 192  # width of the networks that predict latents

    BLOCK = 96  # frames that are coded independently of others

    @property
    def first_latents(self) -> int:
        """Latents of a frame that are coded first; the others see them."""
        return self.latents // 2

    @property
    def halo(self) -> int:
        """Frames on either side that analysis and synthesis see."""
        return 3 * self.blocks + 1

    def to_metadata(self) -> dict[str, str]:
        """The configuration as the string map that safetensors stores beside weights."""
        return {name: repr(value) for name, value in asdict(self).items()}

    @classmethod
    def from_metadata(cls, metadata: dict[str, str]) -> "AudioConfig":
        """Inverse of `to_metadata`; ignores entries that are no field. Raises `ValueError` for what is no number."""
        return cls(**{name: int(value) for name, value in metadata.items() if name in cls.__dataclass_fields__})
