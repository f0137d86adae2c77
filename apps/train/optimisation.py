"""What recipes have in common: two optimisers as one, averaged weights, and the stage with integer networks."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from fewbits.codecs.quantisation import QuantisableLayer


class MuonAndAdam:
    """Muon (K. Jordan et al., 2024; `torch.optim.Muon`) for matrices and 1x1 convolutions, Adam for the rest.

    Args:
        matrices: what Muon trains.
        muon: its options, `lr` among them.
        groups: what Adam trains, as `torch.optim.Adam` takes it, each group with its `lr`.
        betas: of Adam.
    """

    def __init__(self, matrices: list[nn.Parameter], muon: dict[str, Any], groups: Iterable[dict[str, Any]],
                 betas: tuple[float, float]) -> None:
        # Muon takes matrices only: views of the parameters' memory, with the gradients handed over in `step`
        self.matrices = matrices
        self.views = [p.data.view(p.shape[0], -1) for p in matrices]
        self.muon = torch.optim.Muon(self.views, weight_decay=0, **muon)
        self.adam = torch.optim.Adam(groups, betas=betas)
        for optimiser in (self.muon, self.adam):
            for group in optimiser.param_groups:
                group["full_rate"] = group["lr"]

    def step(self, factor: float) -> None:
        """One update with every learning rate scaled by `factor`."""
        for view, parameter in zip(self.views, self.matrices, strict=True):
            view.grad = _as_matrix(parameter.grad)
        for optimiser in (self.muon, self.adam):
            for group in optimiser.param_groups:
                group["lr"] = group["full_rate"] * factor
            optimiser.step()

    def state_dict(self) -> dict:
        return {"muon": self.muon.state_dict(), "adam": self.adam.state_dict()}

    def load_state_dict(self, state: dict) -> None:
        self.muon.load_state_dict(state["muon"])
        self.adam.load_state_dict(state["adam"])


def _as_matrix(gradient: Tensor | None) -> Tensor | None:
    return None if gradient is None else gradient.view(gradient.shape[0], -1)


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
