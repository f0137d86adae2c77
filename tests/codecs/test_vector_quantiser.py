"""Vector quantisation: decoding gives what was quantised, prefixes are lower rates, codebooks learn and stay alive."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from fewbits.codecs.audio.vector_quantiser import (
    DECAY,
    HIFI_CODEC,
    VectorQuantiser,
    VectorQuantiserConfig,
    tree_order,
)
from fewbits.entropy.index_coder import UNUSED

CONFIGS = {
    "projected": VectorQuantiserConfig(12, 1, 5, 20, 4),
    "plain": VectorQuantiserConfig(12, 1, 3, 16, None),
    "groups": VectorQuantiserConfig(12, 2, 2, 16, None),
    "projected groups": VectorQuantiserConfig(12, 3, 2, 8, 2),
}


@pytest.fixture(params=CONFIGS.values(), ids=CONFIGS.keys())
def quantiser(request: pytest.FixtureRequest) -> VectorQuantiser:
    """A quantiser that has seen some latents, evaluating."""
    torch.manual_seed(0)
    result = VectorQuantiser(request.param)
    result.initialise(sounds(8, 50))
    return result.eval()


def sounds(items: int, frames: int, seed: int = 0) -> Tensor:
    """Latents (items, 12, frames) of a few kinds of sounds, with some noise."""
    generator = torch.Generator().manual_seed(seed)
    kinds = 3 * torch.randn(10, 12, generator=torch.Generator().manual_seed(99)) + 1
    which = torch.randint(10, (items, frames), generator=generator)
    return (kinds[which] + 0.5 * torch.randn(items, frames, 12, generator=generator)).transpose(1, 2)


def mean_square(x: Tensor) -> float:
    return float(x.detach().square().mean())


def test_decoding_gives_what_was_quantised(quantiser):
    latents = sounds(2, 9)
    for stages in None, torch.tensor([2, 1]), torch.arange(18).view(2, 9) % (quantiser.config.stages + 1):
        quantised = quantiser(latents, stages)
        assert quantised.latents.shape == latents.shape
        assert quantised.indices.shape == (2, quantiser.config.codebooks, 9) and quantised.indices.dtype == torch.int64
        assert torch.equal(quantiser.indices(latents, stages), quantised.indices)
        torch.testing.assert_close(quantiser.decode(quantised.indices), quantised.latents)


def test_first_stages_are_a_lower_rate(quantiser):
    latents, groups = sounds(2, 50, 1), quantiser.config.groups
    indices = quantiser.indices(latents)
    errors = []
    for stages in range(quantiser.config.stages + 1):
        decoded = quantiser.decode(indices[:, : stages * groups])
        torch.testing.assert_close(decoded, quantiser(latents, torch.full((2,), stages)).latents)
        torch.testing.assert_close(decoded, quantiser.decode(indices, torch.full((2, 50), stages)))
        errors.append(mean_square(latents - decoded))
    assert errors == sorted(errors, reverse=True) and errors[-1] < 0.3 * errors[0]


def test_frames_without_stages_are_silent(quantiser):
    stages = torch.full((1, 6), quantiser.config.stages)
    stages[0, 2:4] = 0
    quantised = quantiser(sounds(1, 6), stages)
    assert (quantised.indices[..., 2:4] == UNUSED).all() and (quantised.indices[..., 4:] >= 0).all()
    assert not quantised.latents[..., 2:4].any()
    assert quantiser(sounds(1, 6), torch.tensor([0])).loss == 0


@pytest.mark.parametrize("shape", [(1, 12, 0), (0, 12, 5), (1, 12, 1)])
def test_odd_shapes(quantiser, shape):
    quantised = quantiser(torch.zeros(shape))
    assert quantised.latents.shape == shape and torch.isfinite(quantised.loss)
    assert quantiser.decode(quantised.indices).shape == shape


def test_gradients_go_straight_through(quantiser):
    latents = sounds(2, 9).requires_grad_()
    gradient = torch.randn(2, 12, 9)
    (quantiser(latents).latents * gradient).sum().backward()
    if quantiser.config.code_dimension is None:
        torch.testing.assert_close(latents.grad, gradient)
    else:
        assert (latents.grad * gradient).sum() > 0 and quantiser.inward.grad.any() and quantiser.outward.grad.any()


def test_the_loss_pulls_latents_to_their_entries(quantiser):
    latents = sounds(2, 9).requires_grad_()
    before = quantiser(latents)
    before.loss.backward()
    after = quantiser(latents - 0.1 * latents.grad / latents.grad.abs().max())
    assert after.loss < before.loss


def test_codebooks_follow_running_means():
    """Entries and usage are what running sums in float64, divided, come to."""
    torch.manual_seed(0)
    quantiser = VectorQuantiser(VectorQuantiserConfig(12, 1, 1, 8, None))
    quantiser.initialise(sounds(4, 100))
    entries, usage = quantiser.entries[0].double(), quantiser.usage[0].double()
    for seed in range(30):
        latents = sounds(2, 40, seed) + 1
        quantiser(latents)
        rows = latents.transpose(1, 2).flatten(0, 1).double()
        chosen = F.one_hot(torch.cdist(rows, entries).argmin(1), 8).double()
        sums = DECAY * entries * usage[:, None] + (1 - DECAY) * chosen.T @ rows / len(rows)
        usage = DECAY * usage + (1 - DECAY) * chosen.mean(0)
        entries = sums / usage[:, None]
    torch.testing.assert_close(quantiser.entries[0].double(), entries, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(quantiser.usage[0].double(), usage, rtol=1e-4, atol=1e-6)


def test_training_lowers_the_error_of_projected_stages():
    torch.manual_seed(0)
    quantiser = VectorQuantiser(CONFIGS["projected"])
    quantiser.initialise(sounds(8, 50))
    test = sounds(4, 50, 1)
    before = mean_square(quantiser.decode(quantiser.indices(test)) - test)
    for step in range(60):
        latents = sounds(4, 50, step + 2)
        quantised = quantiser(latents, quantiser.random_stages(4))
        loss = (quantised.latents - latents).square().mean() + 0.25 * quantised.loss
        parameters = list(quantiser.parameters())
        with torch.no_grad():  # plain descent: the optimisers of torch take seconds to import
            for parameter, gradient in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
                parameter -= 0.1 * gradient
    assert mean_square(quantiser.decode(quantiser.indices(test)) - test) < 0.95 * before


def test_entries_out_of_use_begin_again():
    torch.manual_seed(0)
    quantiser = VectorQuantiser(VectorQuantiserConfig(12, 1, 1, 8, None))
    quantiser.entries += 1000
    quantiser.entries[0, 0] = 0  # nearest to everything
    for _ in range(600):
        quantiser(sounds(4, 50))
    health = quantiser.health()
    assert health.used.shape == health.perplexity.shape == (1,)
    assert health.used > 0.7 and health.perplexity > 4 and quantiser.entries.abs().max() < 20


def test_health_of_a_codebook_with_one_live_entry():
    quantiser = VectorQuantiser(VectorQuantiserConfig(12, 1, 2, 8, None))
    assert quantiser.health().perplexity.tolist() == pytest.approx([8, 8])
    quantiser.usage[1] = torch.tensor([1.0, 0, 0, 0, 0, 0, 0, 0])
    assert quantiser.health().perplexity.tolist() == pytest.approx([8, 1])
    assert quantiser.health().used.tolist() == [1, 0.125]


def test_evaluation_and_unused_stages_teach_nothing(quantiser):
    before = quantiser.entries.clone()
    quantiser(sounds(1, 20) + 9)
    quantiser.train()
    quantiser.indices(sounds(1, 20) + 9)
    assert quantiser.training
    quantiser(sounds(1, 20) + 9, torch.tensor([1]))
    first = quantiser.config.groups
    assert torch.equal(quantiser.entries[first:], before[first:])
    assert not torch.equal(quantiser.entries[:first], before[:first])


def test_batches_get_every_number_of_stages():
    drawn = VectorQuantiser(CONFIGS["projected"]).random_stages(500)
    assert set(drawn.tolist()) == {1, 2, 3, 4, 5}


@pytest.mark.parametrize("name", CONFIGS)
def test_errors_are_those_of_what_decodes(name):
    quantiser, latents = VectorQuantiser(CONFIGS[name]).eval(), torch.randn(2, CONFIGS[name].latents, 7)
    indices = quantiser.indices(latents)
    errors = quantiser.errors(latents, indices)
    for stages in range(quantiser.config.stages + 1):
        decoded = quantiser.decode(indices[:, : stages * quantiser.config.groups])
        torch.testing.assert_close(errors[:, stages], (latents - decoded).square().mean(1))


def test_mixed_precision_does_not_reach_codebooks(quantiser):
    with torch.autocast("cpu", torch.bfloat16):
        quantised = quantiser(sounds(1, 9).bfloat16())
    assert quantised.latents.dtype == quantised.loss.dtype == torch.float32


def test_sorting_changes_numbers_only(quantiser):
    latents = sounds(2, 30)
    before = quantiser(latents)
    quantiser.sort_entries()
    after = quantiser(latents)
    torch.testing.assert_close(after.latents, before.latents)
    assert not torch.equal(after.indices, before.indices)


@pytest.mark.parametrize("count", [1, 2, 3, 5, 8, 50, 64])
def test_an_order_is_a_permutation_with_near_entries_side_by_side(count):
    entries = torch.randn(count, 3, generator=torch.Generator().manual_seed(0)) * torch.tensor([9.0, 0.1, 0.1])
    order = tree_order(entries)
    assert sorted(order.tolist()) == list(range(count))
    if count & count - 1 == 0:  # along one axis, every split is at the middle, in some direction
        halves = entries[order, 0].split(max(count // 2, 1))
        assert len(halves) == 1 or halves[0].max() < halves[1].min() or halves[1].max() < halves[0].min()


def test_few_frames_are_enough_to_begin():
    quantiser = VectorQuantiser(CONFIGS["projected"])
    quantiser.initialise(sounds(1, 1))
    assert torch.isfinite(quantiser(sounds(1, 1)).latents).all()


def test_hifi_codec_has_four_codebooks():
    assert HIFI_CODEC.codebooks == 4 and VectorQuantiser(HIFI_CODEC).indices(torch.zeros(1, 48, 2)).shape == (1, 4, 2)


@pytest.mark.parametrize("sizes", [(12, 5, 1, 8, None), (12, 1, 0, 8, None), (12, 1, 1, 1, None), (12, 2, 1, 8, 7)])
def test_sizes_that_make_no_quantiser_are_refused(sizes):
    with pytest.raises(ValueError):
        VectorQuantiserConfig(*sizes)


def test_arguments_that_do_not_fit_are_refused():
    quantiser = VectorQuantiser(CONFIGS["groups"])
    with pytest.raises(ValueError, match="latents"):
        quantiser(torch.zeros(1, 11, 3))
    with pytest.raises(ValueError, match="stages"):
        quantiser(torch.zeros(2, 12, 3), torch.tensor([1]))
    with pytest.raises(ValueError, match="codebooks"):
        quantiser.decode(torch.zeros(1, 3, 2, dtype=torch.int64))
    for index in -2, 16:
        with pytest.raises(ValueError, match="entries"):
            quantiser.decode(torch.full((1, 4, 2), index))
    with pytest.raises(ValueError, match="frames"):
        quantiser.initialise(torch.zeros(1, 12, 0))
