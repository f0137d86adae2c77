"""How the numbers of a decoder learn."""

import math

import torch
from torch import Tensor

from fewbits.codecs.orthogonal import orthogonal
from fewbits.codecs.video.nerv.layout import EMBEDDING, Layout, Part

ADAM_RATE, MUON_RATE = 5e-3, 4e-3
EMBEDDING_FACTOR, PLACES_FACTOR = 8.0, 3.0  # of Adam's rate: each step sees few of these numbers, or each in one place
MOMENTUM, SECOND_MOMENTUM = 0.9, 0.99
ITERATIONS = 4


class RowOptimiser:
    """Adam for a row of numbers, and Muon (K. Jordan et al., 2024) for the matrices in it.

    Args:
        row: a leaf of the graph, (size,).
    """

    def __init__(self, layout: Layout, row: Tensor) -> None:
        self.row, self.step_count = row, 0
        self.mean, self.square = torch.zeros_like(row), torch.zeros_like(row)
        self.rates = torch.cat([torch.full((part.size,), _adam_rate(part)) for part in layout.parts]).to(row.device)
        stops = torch.tensor(layout.sizes).cumsum(0).tolist()
        self.matrices = [(slice(stop - part.size, stop), part.shape[:2])
                         for part, stop in zip(layout.parts, stops, strict=True) if _is_matrix(part)]

    @torch.no_grad()
    def step(self, factor: float) -> None:
        """One update, with all rates times a factor."""
        gradient, self.step_count = self.row.grad, self.step_count + 1
        self.mean.lerp_(gradient, 1 - MOMENTUM)
        self.square.lerp_(gradient.square(), 1 - SECOND_MOMENTUM)
        mean = self.mean / (1 - MOMENTUM**self.step_count)
        size = (self.square / (1 - SECOND_MOMENTUM**self.step_count)).sqrt() + 1e-12
        self.row.sub_(mean / size * self.rates * factor)
        for place, shape in self.matrices:
            ahead = torch.lerp(gradient[place], self.mean[place], MOMENTUM).view(shape)
            self.row[place] -= MUON_RATE * factor * _muon_size(shape) * orthogonal(ahead, ITERATIONS).reshape(-1)


def _is_matrix(part: Part) -> bool:
    """Whether it is a 1x1 convolution of features; what stands in few places is not orthogonal to anything."""
    return len(part.shape) == 4 and part.shape[2:] == (1, 1) and not part.name.endswith(("places", "places.weight"))


def _adam_rate(part: Part) -> float:
    if _is_matrix(part):
        return 0.0
    return ADAM_RATE * {EMBEDDING: EMBEDDING_FACTOR}.get(part.name, PLACES_FACTOR if part.kind == "grid" else 1.0)


def _muon_size(shape: tuple[int, ...]) -> float:
    """So that numbers of matrices of any shape move about as far."""
    rows, columns = shape
    return math.sqrt(max(rows, columns) * max(1.0, rows / columns))

