"""All parameters of a decoder as one row of floats with named views, as optimisers want them."""

import math

import numpy as np

from fewbits.codecs.image.overfit.architecture import UNIT, DecoderSize


class Parameters:
    """Float parameters of a decoder.

    Attributes:
        flat: (n,) float32, all of them.
        views: name -> view into `flat`, in its own shape.
    """

    def __init__(self, size: DecoderSize, flat: np.ndarray | None = None) -> None:
        self.size = size
        shapes = size.shapes()
        self.flat = np.zeros(sum(map(math.prod, shapes.values())), np.float32) if flat is None else flat
        self.views: dict[str, np.ndarray] = {}
        begin = 0
        for name, shape in shapes.items():
            end = begin + math.prod(shape)
            self.views[name] = self.flat[begin:end].reshape(shape)
            begin = end

    @classmethod
    def from_networks(cls, size: DecoderSize, networks: dict[str, np.ndarray]) -> "Parameters":
        """From the integers of a file, in units of 1 / 1024."""
        parameters = cls(size)
        for name, view in parameters.views.items():
            view[:] = networks[name] / UNIT
        return parameters

    def __getitem__(self, name: str) -> np.ndarray:
        return self.views[name]
