"""What a fit of `overfit` minimises: the compiled objective against torch's, and the small kernels under it."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from numba import njit

from fewbits.codecs.image.overfit import perceptual
from fewbits.codecs.image.overfit.architecture import GRIDS, SIZES, DecoderSize
from fewbits.codecs.image.overfit.objective import ADAM, FLOOR, Cost, Objective
from fewbits.codecs.image.overfit.parameters import Parameters
from fewbits.codecs.image.overfit.torch_objective import TorchObjective
from fewbits.kernels import dense, elementary
from fewbits.kernels.context import MARGIN

SHAPES = [(75, 141), (1, 1), (9, 200)]
TRADE = 0.01

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no CUDA device")
DEVICES = ["cpu", pytest.param("cuda", marks=needs_cuda)]


def noise_picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def random_parameters(size: DecoderSize, spread: float = 0.2) -> Parameters:
    count = Parameters(size).flat.size
    return Parameters(size, np.random.default_rng(1).normal(0, spread, count).astype(np.float32))


def fill(objective: Objective | TorchObjective, spread: float = 1.0) -> None:
    """Gives an objective latents that depend on the shapes of its grids alone."""
    rng = np.random.default_rng(2)
    for grid in objective.grids:
        grid.latents[:] = rng.laplace(0, spread, grid.latents.shape)


def passed(objective: Objective | TorchObjective, temperature: float = 0.3, noise: float = 0.0,
           spread: float = 1.0) -> tuple[Cost, Parameters]:
    """Cost and gradient of the parameters after a pass over random latents."""
    gradient = Parameters(objective.size)
    fill(objective, spread)
    objective.relax(temperature, noise, 5)
    return objective.cost(random_parameters(objective.size), TRADE, gradient), gradient


def latent_gradients(objective: Objective | TorchObjective) -> list[np.ndarray]:
    if isinstance(objective, TorchObjective):
        return objective.gradients
    return [grid.rate_gradients.sum(0)[MARGIN:-MARGIN, MARGIN:-MARGIN] + grid.distortion_gradient
            for grid in objective.grids]


def assert_close(found: np.ndarray, expected: np.ndarray, tolerance: float = 1e-4) -> None:
    """Within a share of the largest expected value."""
    assert np.abs(found - expected).max() <= tolerance * np.abs(expected).max()


# The compiled objective and torch's


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("finest", [0, 1])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("size", SIZES, ids=lambda size: size.name)
def test_the_gradients_are_those_of_torch(size, shape, finest, device):
    rgb = noise_picture(*shape)
    compiled, reference = Objective(rgb, size, finest), TorchObjective(rgb, size, finest, device)
    cost, gradient = passed(compiled)
    expected, expected_gradient = passed(reference)
    assert cost.bits == pytest.approx(expected.bits, rel=1e-5)
    assert cost.squared_error == pytest.approx(expected.squared_error, rel=1e-5)
    for found, wanted in zip(latent_gradients(compiled), latent_gradients(reference), strict=True):
        assert_close(found, wanted)
    for name, wanted in expected_gradient.views.items():
        assert_close(gradient[name], wanted)
    assert_close(compiled.picture, reference.picture, 1e-5)


@pytest.mark.parametrize("make", [Objective, lambda *args: TorchObjective(*args, "cpu")], ids=["compiled", "torch"])
@pytest.mark.parametrize("tensor", ["context.0.first.bias", "context.3.last.weight", "upsampling",
                                    "synthesis.residual.1.weight"])
def test_a_share_changes_by_what_the_cost_changes(make, tensor):
    objective, parameters = make(noise_picture(75, 141), SIZES[1], 0), random_parameters(SIZES[1])
    fill(objective)
    costs, shares = [], []
    for change in (0.0, 0.1):
        parameters[tensor][...] += np.float32(change)
        objective.relax(0.0, 0.0, 0)
        cost = objective.cost(parameters, TRADE, Parameters(SIZES[1]))
        costs.append(cost.bits + cost.squared_error / (3 * TRADE))
        shares.append(objective.share(parameters, TRADE, tensor))
    assert costs[1] != costs[0]
    assert shares[1] - shares[0] == pytest.approx(costs[1] - costs[0], rel=1e-2, abs=1e-5 * costs[0])


@pytest.mark.parametrize("device", DEVICES)
def test_far_latents_keep_everything_finite(device):
    """Where a latent lies hundreds of scales from its mean, and the scales are at their limits."""
    size = SIZES[0]
    compiled = Objective(noise_picture(40, 30), size, 0)
    reference = TorchObjective(noise_picture(40, 30), size, 0, device)
    cost, gradient = passed(compiled, 0.0, spread=100.0)
    expected, expected_gradient = passed(reference, 0.0, spread=100.0)
    assert cost.bits == pytest.approx(expected.bits, rel=1e-5)
    assert np.isfinite(expected_gradient.flat).all()
    assert_close(gradient.flat, expected_gradient.flat)


@pytest.mark.parametrize("device", DEVICES)
def test_steps_stay_together(device):
    """Ten steps of Adam: latents, and the cost that they lead to."""
    objectives = [Objective(noise_picture(33, 50), SIZES[1], 0), TorchObjective(noise_picture(33, 50), SIZES[1], 0,
                                                                               device)]
    parameters, costs = random_parameters(SIZES[1]), []
    for objective in objectives:
        fill(objective)
        for count in range(1, 11):
            objective.relax(0.3, 0.0, count)
            cost = objective.cost(parameters, TRADE, Parameters(SIZES[1]))
            objective.descend(0.01, count)
        costs.append(cost.bits + cost.squared_error / (3 * TRADE))
    assert costs[0] == pytest.approx(costs[1], rel=1e-4)
    for first, second in zip(objectives[0].grids, objectives[1].grids, strict=True):
        # Where a gradient is next to nothing Adam makes a whole step of its rounding errors.
        assert np.quantile(np.abs(first.latents - second.latents), 0.99) < 1e-3


@pytest.mark.parametrize("device", DEVICES)
def test_grids_on_a_device_are_read_and_written_like_arrays(device):
    objective = TorchObjective(noise_picture(20, 31), SIZES[0], 0, device)
    grid = objective.grids[0]
    assert grid.latents.shape == (grid.height, grid.width) == (20, 31)
    grid.latents[:] = 1.6
    kept = grid.latents.copy()
    grid.latents[2:4, 5] = 0
    assert np.asarray(grid.latents).dtype == np.float32
    assert np.count_nonzero(grid.latents) == 20 * 31 - 2 and (kept == np.float32(1.6)).all()
    assert np.floor(grid.latents + np.float32(0.5))[0, 0] == 2
    grid.first[:] = grid.latents
    assert np.array_equal(grid.first, grid.latents) and grid.first[2, 5] == 0
    with pytest.raises(AttributeError):
        grid.latents = kept


@pytest.mark.parametrize("device", DEVICES)
def test_noise_on_a_device_follows_the_seed(device):
    objective = TorchObjective(noise_picture(200, 300), SIZES[0], 0, device)
    relaxed = []
    for seed in (1, 1, 2):
        objective.relax(1e3, 0.25, seed)  # at a high temperature soft rounding leaves values as they are
        relaxed.append(objective.relaxed[0])
    assert np.array_equal(relaxed[0], relaxed[1]) and not np.array_equal(relaxed[0], relaxed[2])
    assert relaxed[0].std() == pytest.approx(0.25, rel=0.02)


# MS-SSIM


def test_ms_ssim_enters_the_cost_with_its_gradient():
    rgb = noise_picture(161, 170)
    objective = TorchObjective(rgb, SIZES[0], 0, "cpu", perceptual=True)
    cost, gradient = passed(objective)
    value, slopes = perceptual.ms_ssim_gradient(objective.picture, objective.target + np.float32(0.5))
    assert 0 <= value < 0.9
    assert cost.squared_error == pytest.approx((1 - value) * 3 * perceptual.MSSSIM_WEIGHT * 161 * 170, rel=1e-4)
    # The bias of the last layer moves every sample of a colour; one residual layer follows none.
    expected = -slopes.sum((1, 2)) * perceptual.MSSSIM_WEIGHT * 161 * 170 / TRADE
    assert_close(gradient["synthesis.residual.0.bias"], expected, 1e-3)
    compiled = Objective(rgb, SIZES[0], 0, perceptual=True)
    same_cost, same_gradient = passed(compiled)
    assert same_cost.squared_error == pytest.approx(cost.squared_error, rel=1e-4)
    assert_close(same_gradient.flat, gradient.flat)
    for found, wanted in zip(latent_gradients(compiled), latent_gradients(objective), strict=True):
        assert_close(found, wanted)


def test_the_gradient_of_ms_ssim_leads_uphill():
    rng = np.random.default_rng(3)
    target = rng.random((3, 170, 200), np.float32)
    picture = (0.7 * target + 0.3 * rng.random(target.shape, np.float32)).astype(np.float32)
    value, gradient = perceptual.ms_ssim_gradient(picture, target)
    step = np.float32(1e-2 / np.abs(gradient).max()) * gradient
    higher, _ = perceptual.ms_ssim_gradient(picture + step, target)
    assert gradient.dtype == np.float32 and gradient.shape == picture.shape
    assert higher - value == pytest.approx(float((gradient * step).sum()), rel=0.1)
    assert perceptual.ms_ssim_gradient(target, target)[0] == pytest.approx(1)


def test_small_pictures_keep_the_squared_error():
    assert not TorchObjective(noise_picture(160, 300), SIZES[0], 0, "cpu", perceptual=True).perceptual
    assert TorchObjective(noise_picture(161, 161), SIZES[0], 0, "cpu", perceptual=True).perceptual


# Threads, relaxation, the optimiser


@pytest.mark.parametrize("finest", [0, 1])
def test_a_second_pass_gives_what_the_first_gave(finest):
    """Gradients are written over values; none may stay behind."""
    objective = Objective(noise_picture(75, 141), SIZES[0], finest)
    (first, first_gradient), first_latents = passed(objective), latent_gradients(objective)
    first_latents = [gradient.copy() for gradient in first_latents]
    second, second_gradient = passed(objective)
    assert second == first
    assert (second_gradient.flat == first_gradient.flat).all()
    assert all((a == b).all() for a, b in zip(latent_gradients(objective), first_latents, strict=True))


@pytest.mark.parametrize("finest", [0, 1])
@pytest.mark.parametrize("shape", [(1, 1), (9, 200), (150, 141)])
def test_threads_change_no_bit(shape, finest):
    results = []
    with ThreadPoolExecutor(2) as pool:
        for threads in (None, pool):
            objective = Objective(noise_picture(*shape), SIZES[1], finest, threads)
            cost, gradient = passed(objective, noise=0.2)
            objective.descend(0.01, 1)
            results.append((cost, gradient.flat, [grid.latents for grid in objective.grids]))
    (cost, flat, latents), (cost_again, flat_again, latents_again) = results
    assert cost == cost_again
    assert np.array_equal(flat, flat_again)
    assert all(np.array_equal(a, b) for a, b in zip(latents, latents_again, strict=True))


def relaxed(latents: np.ndarray, temperature: float, noise: float, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """What the finest grid of an objective makes of latents: relaxed ones and their slopes."""
    objective = Objective(np.zeros((*latents.shape, 3), np.uint8), SIZES[0], 0)
    grid = objective.grids[0]
    grid.latents[:] = latents
    objective.relax(temperature, noise, seed)
    return grid.inside.copy(), grid.slope


def test_soft_rounding_approaches_rounding():
    latents = np.random.default_rng(4).uniform(-3, 3, (40, 50)).astype(np.float32)
    clear = np.abs(latents - np.floor(latents) - 0.5) > 0.05  # not at the edge between two integers
    distances = []
    for temperature in (1.0, 0.3, 0.1, 0.03, 0.01):
        distances.append(np.abs(relaxed(latents, temperature, 0.0)[0] - np.floor(latents + 0.5))[clear].max())
    assert distances == sorted(distances, reverse=True) and distances[-1] < 1e-6
    integers, slope = relaxed(latents, 0.0, 0.0)
    assert np.array_equal(integers, np.floor(latents + np.float32(0.5))) and (slope == 1).all()


def test_slopes_are_those_of_soft_rounding():
    latents = np.random.default_rng(5).uniform(-3, 3, (40, 50)).astype(np.float32)
    step = np.float32(1e-3)
    away = np.abs(latents - np.rint(latents)) > 0.01  # slopes jump at integers
    (low, _), (_, slope), (high, _) = (relaxed(latents + d, 0.3, 0.0) for d in (-step, 0, step))
    assert np.abs((high - low) / (2 * step) - slope)[away].max() < 1e-2


def test_noise_is_triangular_and_follows_the_seed():
    flat = np.zeros((200, 300), np.float32)
    first, again, other = (relaxed(flat, 1e3, 0.25, seed)[0] for seed in (1, 1, 2))
    assert np.array_equal(first, again) and not np.array_equal(first, other)
    assert first.std() == pytest.approx(0.25, rel=0.02) and abs(first.mean()) < 0.005
    assert np.abs(first).max() <= 0.25 * np.sqrt(6) + 1e-3
    rows = first - first.mean()
    assert abs((rows[:, 1:] * rows[:, :-1]).mean()) < 0.02 * first.var()
    assert abs((rows[1:] * rows[:-1]).mean()) < 0.02 * first.var()


def test_a_step_is_that_of_adam():
    objective = Objective(noise_picture(75, 50), SIZES[0], 0)
    moments = [[np.zeros_like(grid.latents, np.float64) for grid in objective.grids] for _ in range(2)]
    fill(objective)
    expected = [grid.latents.astype(np.float64) for grid in objective.grids]
    for count in (1, 2, 3):
        objective.relax(0.3, 0.1, count)
        objective.cost(random_parameters(SIZES[0]), TRADE, Parameters(SIZES[0]))
        gradients = latent_gradients(objective)
        objective.descend(0.01, count)
        for k, grid in enumerate(objective.grids):
            gradient = gradients[k] * grid.slope.astype(np.float64)
            floor = FLOOR * moments[1][k].mean() / (1 - ADAM[1]**count)
            for moment, decay, part in zip(moments, ADAM, (gradient, gradient**2), strict=True):
                moment[k] = decay * moment[k] + (1 - decay) * part
            first, second = (moment[k] / (1 - decay**count) for moment, decay in zip(moments, ADAM, strict=True))
            expected[k] -= 0.01 * first / (np.sqrt(second + floor) + 1e-12)
    assert len(objective.grids) == GRIDS
    for grid, latents in zip(objective.grids, expected, strict=True):
        assert np.abs(grid.latents - latents).max() < 1e-5


# The kernels beneath


@njit
def both_functions(x, powers, logarithms):  # type: ignore[no-untyped-def]
    for i in range(x.size):
        powers[i] = elementary.exp2(x[i])
        logarithms[i] = elementary.log2(powers[i])


@njit
def dense_passes(weight, bias, x, y, y_gradient, weight_sum, bias_sum):  # type: ignore[no-untyped-def]
    dense.forward(weight, bias, x, y)
    dense.weight_gradient(y_gradient, x, weight_sum, bias_sum)


def test_powers_and_logarithms():
    x = np.concatenate([np.linspace(-126, 126, 100_001), np.linspace(-1, 1, 10_001), [-1e9, 1e9]]).astype(np.float32)
    powers, logarithms = np.empty_like(x), np.empty_like(x)
    both_functions(x, powers, logarithms)
    exact = np.exp2(np.clip(x, -126, 126).astype(np.float64))
    assert np.abs(powers / exact - 1).max() < 3e-7
    exact = np.log2(powers.astype(np.float64))
    assert (np.abs(logarithms - exact) <= 2e-7 * np.maximum(np.abs(exact), 1)).all()


@pytest.mark.parametrize(("outputs", "inputs"), [(2, 4), (10, 12), (26, 20)])
def test_dense_layers_are_products(outputs, inputs):
    rng = np.random.default_rng(6)
    weight, bias, x, y_gradient, weight_sum, bias_sum = (
        rng.normal(size=shape).astype(np.float32)
        for shape in ((outputs, inputs), outputs, (inputs, dense.BLOCK), (outputs, dense.BLOCK), (outputs, inputs),
                      outputs))
    y, weight_before, bias_before = np.empty_like(y_gradient), weight_sum.copy(), bias_sum.copy()
    dense_passes(weight, bias, x, y, y_gradient, weight_sum, bias_sum)
    assert_close(y, weight @ x + bias[:, None], 1e-5)
    assert_close(weight_sum - weight_before, y_gradient @ x.T, 1e-5)
    assert_close(bias_sum - bias_before, y_gradient.sum(1), 1e-5)
