"""The integer networks of `hyperprior` against their trainable twin, and the transforms they work between."""

import copy

import numpy as np
import pytest
import torch

from fewbits.codecs.image.hyperprior.config import HyperpriorConfig
from fewbits.codecs.image.hyperprior.entropy_model import EntropyModel
from fewbits.codecs.image.hyperprior.exact_networks import ExactNetworks
from fewbits.codecs.image.hyperprior.lapped import ORDER, lapped_basis
from fewbits.codecs.image.hyperprior.model import EVERY_SIDE, HyperpriorModel
from fewbits.codecs.image.hyperprior.passes import HYPER_LIMIT, HYPER_PASSES, passes_of
from fewbits.codecs.latents import MEAN_FRACTION, as_context
from fewbits.codecs.levels import LEVEL_FRACTION, level_integers, level_weights
from fewbits.codecs.quantisation import QuantisableLayer


@pytest.fixture(scope="module", params=[4095, 511])
def model(request) -> HyperpriorModel:
    """A small untrained model whose integer formats are calibrated on noise."""
    limit = request.param
    torch.manual_seed(0)
    config = HyperpriorConfig(transform_hidden=32, analysis_blocks=1, synthesis_blocks=1, hyper_channels=16,
                              hyper_latents=8, hyper_hidden=16, low_hidden=24, high_hidden=24, high_limit=limit)
    model = HyperpriorModel(config).train()
    for name, parameter in model.entropy_model.named_parameters():
        if name.endswith("operation.weight"):
            torch.nn.init.normal_(parameter, std=parameter[0].numel() ** -0.5)
    for _ in range(3):
        model(torch.rand(2, 3, 64, 64), torch.tensor([20.0, 90.0]))
    for module in model.modules():
        if isinstance(module, QuantisableLayer):
            module.calibrate()
    model.entropy_model.simulated = True
    return model.eval()


def test_lapped_basis_is_orthonormal_under_shifts():
    basis = lapped_basis()
    assert np.allclose(basis @ basis.T, np.eye(8), atol=1e-12)
    assert np.allclose(basis[:, :8] @ basis[:, 8:].T, 0, atol=1e-12)


def test_coefficients_are_in_order_of_energy_in_which_roundings_decide_nothing():
    basis = lapped_basis()
    lags = np.abs(np.subtract.outer(np.arange(16), np.arange(16)))
    variance = np.diag(basis @ 0.95**lags @ basis.T)
    energy = np.einsum("o,u,v->ouv", (1.0, 0.05, 0.01), variance, variance).ravel()
    assert sorted(ORDER) == list(range(192))
    assert (np.diff(energy[list(ORDER)]) < 1e-9 * energy[list(ORDER)][1:]).all()


def test_untrained_transforms_reconstruct_the_picture(model):
    image = torch.rand(1, 3, 64, 96)
    fresh = HyperpriorModel(HyperpriorConfig(transform_hidden=8, analysis_blocks=1, synthesis_blocks=1))
    one, weights = torch.ones(1, 1, 1, 1), level_weights(torch.tensor([50.0]), 8)
    with torch.no_grad():
        coefficients = fresh.analysis.coefficients(image, EVERY_SIDE)
        back = fresh.synthesis(coefficients, one, one, weights, EVERY_SIDE)
    assert coefficients.shape == (1, 192, 8, 12)
    assert torch.allclose(back, image, atol=1e-5)


def test_integer_networks_equal_their_simulation(model):
    """Not close: equal. What training optimised is what the codec runs."""
    twin = copy.deepcopy(model.entropy_model).double()  # in float32 the simulation itself would round
    exact = ExactNetworks.from_trained(twin)
    exact = ExactNetworks.from_tensors(exact.to_tensors(), model.config)  # through the form that is stored
    generator = torch.Generator().manual_seed(1)
    hyper_latents = torch.randint(-640, 640, (1, 8, 4, 6), generator=generator).float()  # in 1/16 step
    latents = torch.randint(-3000, 3000, (1, 192, 16, 24), generator=generator).float()
    levels = level_integers(3 * 2**LEVEL_FRACTION + 10, 8)
    weights = levels.double() / 2**LEVEL_FRACTION
    with torch.no_grad():
        features = twin.hyper_features(hyper_latents.double() / 2**MEAN_FRACTION, weights)
        integer_features = exact.features(as_context(hyper_latents, HYPER_LIMIT), levels)
        feature_format = twin.hyper_decoder.output_format
        assert torch.equal(features * 2.0 ** feature_format.fraction.view(1, -1, 1, 1), integer_features.double())
        assert integer_features.std() > 1
        for network, integer_pass in zip((*twin.hyper_passes, *twin.passes), (*exact.hyper_passes, *exact.passes),
                                         strict=True):
            step = network.step
            known = (hyper_latents if step.hyper else latents)[:, : network.known]
            seen = twin._seen(known.double() / 2**MEAN_FRACTION, step.known_limit)
            mean, scale = network(seen, None if step.hyper else features, weights, feature_format)
            integer_mean, integer_scale = integer_pass(as_context(known, step.known_limit),
                                                       None if step.hyper else integer_features, levels)
            assert torch.equal(mean * 2**MEAN_FRACTION, integer_mean.double())
            assert torch.equal(scale, integer_scale.double())
            assert integer_mean.std() > 0.5


def test_integer_networks_become_trainable_again(model):
    """What is trained from there begins with the same integers."""
    exact = ExactNetworks.from_trained(model.entropy_model)
    again = EntropyModel(model.config)
    exact.into_trainable(again)
    assert again.simulated
    levels = level_integers(2**LEVEL_FRACTION + 50, 8)
    hyper_latents = torch.randint(-320, 320, (1, 8, 4, 6), generator=torch.Generator().manual_seed(2)).float()
    latents = torch.randint(-1500, 1500, (1, 192, 16, 24), generator=torch.Generator().manual_seed(3)).float()
    back = ExactNetworks.from_trained(again)
    features = exact.features(hyper_latents, levels)
    assert torch.equal(back.features(hyper_latents, levels), features)
    for old, new in zip((*exact.hyper_passes, *exact.passes), (*back.hyper_passes, *back.passes), strict=True):
        known = (hyper_latents if old.step.hyper else latents)[:, : old.step.known]
        own = None if old.step.hyper else features
        for expected, value in zip(old(known, own, levels), new(known, own, levels), strict=True):
            assert (value - expected).abs().max() <= 1  # weights may be halved, and rounded for it
            assert (value == expected).float().mean() > 0.99


def test_level_weights_interpolate_between_two_levels():
    for position in range(0, 7 * 64 + 1, 13):
        integers = level_integers(position, 8)[0]
        assert integers.sum() == 64
        assert (integers > 0).sum() <= 2
        assert float(integers @ torch.arange(8.0)) == position


def test_every_latent_is_coded_once():
    """Each pass has its own channels and positions, whatever the size of the picture."""
    orders = [passes_of(HyperpriorConfig(low_by_bands=by_bands)) for by_bands in (True, False)]
    for steps, channels in ((HYPER_PASSES, 8), *((order, 192) for order in orders)):
        for height, width in ((1, 1), (1, 9), (16, 24), (7, 5)):
            times = torch.zeros(1, channels, height, width)
            for step in steps:
                for place, (rows, columns) in zip(step.places(), step.extents(height, width), strict=True):
                    part = times[(slice(None), step.channels, *place)]
                    assert part.shape[2:] == (rows, columns)
                    part += 1
            assert (times == 1).all()
