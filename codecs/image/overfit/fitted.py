"""What fitting a picture gives."""

from dataclasses import dataclass, field

import numpy as np

from fewbits.codecs.image.overfit.networks import Networks


@dataclass(frozen=True, eq=False)
class Fitted:
    """A picture as a decoder sees it, before coding.

    Attributes:
        size: which decoder, an index of `architecture.SIZES`.
        start: which of its shipped starts the networks are coded against.
        finest: the finest latent grid, 0 or 1.
        networks: of the decoder.
        shifts: by name of a parameter, how many low bits its difference from the start lacks; 0 where not given.
        latents: integers of grids 0 to 6; None for grid 0 where the finest is 1.
        notices: sentences for the user.
    """

    size: int
    start: int
    finest: int
    networks: Networks
    shifts: dict[str, int]
    latents: list[np.ndarray | None]
    notices: tuple[str, ...] = field(default=())
