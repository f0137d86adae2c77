"""Upsampling and synthesis: the compiled loops give the bits of plain NumPy."""

import numpy as np
import pytest

from fewbits.kernels import synthesis, upsampling
from fewbits.kernels.synthesis import COLOURS, PLANES, SynthesisNetwork

UNIT = 1024


def random_network(rng: np.random.Generator, hidden: int, layers: int, spread: int = 700) -> SynthesisNetwork:
    shapes = {"first.weight": (hidden + COLOURS, PLANES), "first.bias": (hidden + COLOURS,),
              "last.weight": (COLOURS, hidden)}
    for i in range(layers):
        shapes |= {f"residual.{i}.weight": (COLOURS, COLOURS, 3, 3), f"residual.{i}.bias": (COLOURS,)}
    return SynthesisNetwork.from_parameters(
        {name: rng.integers(-spread, spread, shape).astype(np.int32) for name, shape in shapes.items()}, UNIT)


def synthesised(planes: np.ndarray, network: SynthesisNetwork, colours: int) -> np.ndarray:
    """Samples of a whole picture from the compiled loops."""
    values = np.empty((COLOURS, *planes.shape[1:]), np.float32)
    synthesis.single_pixels(planes, network.first, network.first_bias, network.last, values)
    for number, (weight, bias) in enumerate(network.residual):
        result = np.empty_like(values)
        synthesis.residual_layer(values, weight, bias, number < len(network.residual) - 1, 0, result)
        values = result
    samples = np.empty((*planes.shape[1:], colours), np.uint8)
    synthesis.to_samples(values, samples)
    return samples


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (2, 300), (31, 17)])
@pytest.mark.parametrize(("hidden", "layers"), [(12, 1), (32, 2)])
@pytest.mark.parametrize("colours", [1, 3])
def test_synthesis_gives_the_bits_of_the_reference(shape, hidden, layers, colours):
    rng = np.random.default_rng(hidden + shape[1])
    planes = rng.laplace(0, 0.3, (PLANES, *shape)).astype(np.float32)
    network = random_network(rng, hidden, layers, 200)
    assert np.array_equal(synthesised(planes, network, colours), synthesis.reference(planes, network, colours))


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_values_beyond_floats_give_samples():
    planes = np.full((PLANES, 4, 5), 1e38, np.float32) * np.array([1, -1] * 10, np.float32).reshape(1, 4, 5)
    network = random_network(np.random.default_rng(0), 12, 2, 32767)
    assert np.array_equal(synthesised(planes, network, 3), synthesis.reference(planes, network, 3))


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 2), (2, 1), (9, 1), (8, 30), (17, 31)])
def test_upsampling_gives_the_bits_of_the_reference_however_it_is_cut(height, width):
    rng = np.random.default_rng(height)
    plane = rng.normal(size=(-(-height // 2), -(-width // 2))).astype(np.float32)
    taps = rng.normal(size=4).astype(np.float32)
    expected = upsampling.reference(plane, taps, height, width)
    for band in (1, 2, 3, 8, 99):
        parts = []
        for start in range(0, height, band):
            part = np.empty((min(band, height - start), width), np.float32)
            first, end = upsampling.source_rows(start, start + len(part), len(plane))
            upsampling.upsample_rows(plane[first:end], first, len(plane), taps, start, part)
            parts.append(part)
        assert np.array_equal(np.concatenate(parts), expected)


def test_linear_taps_interpolate():
    """A ramp stays a ramp away from the borders, its values at the centres of halved pixels."""
    ramp = np.arange(12, dtype=np.float32)[:, None] * np.ones(6, np.float32)
    doubled = upsampling.reference(ramp, np.array([0, 0.25, 0.75, 0], np.float32), 24, 12)
    assert np.allclose(doubled[2:-2, 0], (np.arange(24)[2:-2] - 0.5) / 2)


def test_the_middle_of_the_range_is_grey():
    samples = np.empty((1, 4, 3), np.uint8)
    values = np.array([-0.6, -0.5, 0, 0.5], np.float32)
    synthesis.to_samples(np.broadcast_to(values, (3, 1, 4)).copy(), samples)
    assert samples[0, :, 1].tolist() == [0, 0, 128, 255]
