"""What a codec for sound asks of the side that turns latents into bytes, whatever its quantiser."""

from typing import Protocol

from torch import Tensor


class BlockCoder(Protocol):
    """Quantises and codes the latents of blocks, each on its own.

    Attributes:
        qualities: codes of the quality are 0 to this.
        rows: integers of a frame.
    """

    qualities: int
    rows: int

    def level_weights(self, code: int) -> Tensor:
        """Weights of the trained levels (1, L) float32 at a quality."""
        ...

    def encode(self, latents: Tensor, code: int) -> tuple[bytes, float]:
        """The bytes of a block and the model's own estimate of their bits.

        Args:
            latents: (C, K, T) float32, counted in steps, of C channels that are heard.
            code: of the quality.
        """
        ...

    def decode(self, data: bytes, channels: int, frames: int, code: int) -> Tensor:
        """The integers of a block, (C, rows, T) int16: equal on every machine. Raises `StreamError` for wrong data."""
        ...

    def dequantise(self, integers: Tensor) -> Tensor:
        """Latents (C, K, T) float32 in steps, of integers (C, rows, T)."""
        ...
