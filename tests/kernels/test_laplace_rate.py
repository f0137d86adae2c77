"""Bits of numbers under Laplacians, and their slopes."""

import numpy as np
import pytest

from fewbits.kernels.laplace_rate import laplace_rate, reference


def case(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    scales = 0.04 * 2 ** generator.uniform(0, 14, 20)
    index = generator.integers(0, 20, 500)
    numbers = generator.laplace(size=500) * scales[index] * generator.choice([0.1, 1, 2], 500)
    numbers[:4] = 0, 0.5, -0.5, 0.25
    return numbers.astype(np.float32), scales, index


def rate(numbers: np.ndarray, scales: np.ndarray, index: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    slopes, scale_slopes = np.empty(len(numbers), np.float32), np.zeros(len(scales))
    return laplace_rate(numbers, scales, index, slopes, scale_slopes), slopes, scale_slopes


@pytest.mark.parametrize("seed", range(3))
def test_bits_are_those_of_the_reference(seed: int) -> None:
    assert rate(*case(seed))[0] == pytest.approx(reference(*case(seed)), rel=1e-9)


def test_slopes_are_those_of_small_differences() -> None:
    numbers, scales, index = case(7)
    _, slopes, scale_slopes = rate(numbers, scales, index)
    for place in range(4, 60):
        change = 1e-3 * max(abs(float(numbers[place])), 0.01)
        up, down = numbers[place : place + 1] + change, numbers[place : place + 1] - change
        own = index[place : place + 1]
        measured = (reference(up, scales, own) - reference(down, scales, own)) / float(up[0].astype(float) - down[0])
        assert slopes[place] == pytest.approx(measured, rel=0.02, abs=0.02)
    for number in range(20):
        more, less = scales.copy(), scales.copy()
        more[number] *= np.exp(1e-4)
        less[number] *= np.exp(-1e-4)
        measured = (reference(numbers, more, index) - reference(numbers, less, index)) / 2e-4
        assert scale_slopes[number] == pytest.approx(measured, rel=1e-3, abs=1e-3)


def test_far_numbers_still_have_a_slope() -> None:
    bits, slopes, _ = rate(np.array([5000.0], np.float32), np.array([0.04]), np.zeros(1, np.int64))
    assert np.isfinite(bits) and slopes[0] == pytest.approx(25 / np.log(2))
