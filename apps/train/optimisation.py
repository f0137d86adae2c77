"""What recipes have in common: two optimisers as one, averaged weights, and the stage with integer networks."""

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from fewbits.codecs.orthogonal import orthogonal
from fewbits.codecs.precision import mixed_precision
from fewbits.codecs.quantisation import QuantisableLayer

MOMENTUM = 0.95  # of Muon


class Muon(torch.optim.Optimizer):
    """Muon (K. Jordan et al., 2024) for matrices and convolutions, which it takes as matrices (outputs, all else).

    `torch.optim.Muon` takes matrices alone, and always computes in bfloat16, which is several times slower where a
    processor only emulates it.

    Args:
        like_adam: whether steps are as long as those of Adam at the same rate (J. Liu et al., "Muon is Scalable for LLM
            Training", 2025); else their length depends on the shape as in the original.
    """

    def __init__(self, matrices: Iterable[nn.Parameter], lr: float, iterations: int = 5,
                 like_adam: bool = True) -> None:
        super().__init__(matrices, {"lr": lr})
        self.iterations, self.like_adam = iterations, like_adam

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        """One update by the gradients there are."""
        for group in self.param_groups:
            for matrix in (p for p in group["params"] if p.grad is not None):
                momentum = self.state[matrix].setdefault("momentum", torch.zeros_like(matrix))
                momentum.lerp_(matrix.grad, 1 - MOMENTUM)
                ahead = torch.lerp(matrix.grad, momentum, MOMENTUM).flatten(1)
                with mixed_precision(matrix.device.type):
                    direction = orthogonal(ahead, self.iterations)
                matrix.sub_(group["lr"] * self._length(*ahead.shape) * direction.reshape(matrix.shape))

    def _length(self, rows: int, columns: int) -> float:
        return 0.2 * math.sqrt(max(rows, columns)) if self.like_adam else math.sqrt(max(1.0, rows / columns))


class MuonAndAdam:
    """Two optimisers as one: Muon for matrices and 1x1 convolutions, Adam for the rest."""

    def __init__(self, muon: Muon, adam: torch.optim.Adam) -> None:
        self.muon, self.adam = muon, adam
        for optimiser in (muon, adam):
            for group in optimiser.param_groups:
                group["full_rate"] = group["lr"]

    def step(self, factor: float) -> None:
        """One update with every learning rate scaled by `factor`."""
        for optimiser in (self.muon, self.adam):
            for group in optimiser.param_groups:
                group["lr"] = group["full_rate"] * factor
            optimiser.step()

    def state_dict(self) -> dict:
        return {"muon": self.muon.state_dict(), "adam": self.adam.state_dict()}

    def load_state_dict(self, state: dict) -> None:
        self.muon.load_state_dict(state["muon"])
        self.adam.load_state_dict(state["adam"])


@torch.no_grad()
def average_into(averaged: nn.Module, model: nn.Module, decay: float) -> None:
    """Moves the averaged weights towards the model's."""
    for old, new in zip(averaged.state_dict().values(), model.state_dict().values(), strict=True):
        if old.dtype.is_floating_point:
            old.lerp_(new, 1 - decay)
        else:
            old.copy_(new)


def begin_integer_stage(*models: nn.Module) -> None:
    """Fixes the integer formats of models with an `entropy_model` from the ranges seen so far, and simulates their
    integer networks from here on."""
    for model in models:
        for module in model.modules():
            if isinstance(module, QuantisableLayer):
                module.calibrate()
        model.entropy_model.simulated = True


def restore_integer_stage(model: nn.Module, state: dict[str, Tensor], formats_fixed: bool) -> None:
    """Gives a model with an `entropy_model` the weights of a run, with its integer networks simulated.

    Args:
        formats_fixed: whether the run had come to the stage with integer networks; snapshots in it may be older. Where
            formats are not fixed yet, they are now.
    """
    model.load_state_dict(state)
    if formats_fixed and all(int(v) >= 0 for k, v in state.items() if k.endswith(".fraction")):
        model.entropy_model.simulated = True
    else:
        begin_integer_stage(model)
