"""What a `hyperprior` model is made of: every number that encoder and decoder must agree on."""

from dataclasses import dataclass

from fewbits.codecs.stored_config import StoredConfig


@dataclass(frozen=True)
class HyperpriorConfig(StoredConfig):
    """Sizes of one `hyperprior` model. Travels with its weights.

    Latents live at 1/8 of the image's resolution, hyper-latents at 1/32.
    """

    levels: int = 8  # trained operating points; quality interpolates between them
    lambda_low: float = 6e-4  # rate-distortion trade-off of the lowest level (times MSE on the 0..255 scale)
    lambda_high: float = 0.3  # ... and of the highest
    transform_hidden: int = 256  # width inside the residual blocks of analysis and synthesis
    analysis_blocks: int = 8  # more than in synthesis: pictures are encoded once and decoded often
    synthesis_blocks: int = 6
    hyper_channels: int = 96  # width of the hyper-encoder and hyper-decoder
    hyper_latents: int = 64
    hyper_hidden: int = 128  # width of the networks that predict hyper-latents from each other
    low_hidden: int = 128
    low_multiplier: int = 4  # neighbourhood features per input channel
    low_by_bands: bool = True  # whether low frequencies of a phase come in bands, one after the other, or at once
    high_hidden: int = 192
    high_multiplier: int = 2
    high_limit: int = 4095  # of activations for high frequencies; up to 511 they fit float32, which is thrice as fast

    BLOCK = 8  # pixels between neighbouring latents
    LOW_BANDS = ((0, 3), (3, 12), (12, 32))  # latents with the most energy, coded before the others
    LATENTS = 192  # 3 colour components x 8 x 8 frequencies
    HYPER_STRIDE = 4  # latents between neighbouring hyper-latents
    CELL = 2 * HYPER_STRIDE  # latents on the side of what is coded together: 2 x 2 hyper-latents
