"""Muon, beside torch's."""

import copy

import pytest
import torch

pytest.importorskip("tensorboard", reason="training needs fewbits[train]")

from fewbits.apps.train.optimisation import Muon, MuonAndAdam


@pytest.mark.parametrize(("like_adam", "name"), [(True, "match_rms_adamw"), (False, "original")])
@pytest.mark.parametrize("shape", [(12, 30), (30, 12)])
def test_steps_are_those_of_torch_but_for_its_bfloat16(shape, like_adam, name):
    generator = torch.Generator().manual_seed(0)
    ours, theirs = (torch.nn.Parameter(torch.ones(shape)) for _ in range(2))
    muon = Muon([ours], 0.1, like_adam=like_adam)
    reference = torch.optim.Muon([theirs], 0.1, weight_decay=0, adjust_lr_fn=name)
    for _ in range(4):
        ours.grad = torch.randn(shape, generator=generator)
        theirs.grad = ours.grad.clone()
        muon.step()
        reference.step()
    assert (ours - theirs).norm() < 0.02 * (theirs - 1).norm()


def test_convolutions_are_matrices_with_a_row_for_each_output():
    flat, kernels = (torch.nn.Parameter(torch.zeros(shape)) for shape in ((20, 18), (20, 2, 3, 3)))
    gradient = torch.randn(20, 18, generator=torch.Generator().manual_seed(0))
    flat.grad, kernels.grad = gradient, gradient.reshape(20, 2, 3, 3).contiguous(memory_format=torch.channels_last)
    Muon([flat, kernels], 0.1).step()
    assert torch.equal(flat.detach().reshape(20, 2, 3, 3), kernels)


def test_a_state_goes_on_where_it_was():
    def begun() -> tuple[torch.nn.Parameter, torch.nn.Parameter, MuonAndAdam]:
        matrix, vector = torch.nn.Parameter(torch.eye(4)), torch.nn.Parameter(torch.ones(4))
        return matrix, vector, MuonAndAdam(Muon([matrix], 0.1), torch.optim.Adam([vector], 0.1))

    def step(matrix, vector, both, scale):
        matrix.grad, vector.grad = scale * torch.arange(16.0).reshape(4, 4), scale * torch.arange(4.0)
        both.step(0.5)

    first = begun()
    step(*first, 1.0)
    second = begun()
    with torch.no_grad():
        second[0].copy_(first[0]), second[1].copy_(first[1])
    second[2].load_state_dict(copy.deepcopy(first[2].state_dict()))
    for each in (first, second):
        step(*each, -2.0)
    assert torch.equal(first[0], second[0]) and torch.equal(first[1], second[1])
