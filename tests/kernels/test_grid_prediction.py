"""Grids from what a linear prediction leaves of them."""

import numpy as np
import pytest

from fewbits.kernels.grid_prediction import LIMIT, predictions, residuals, restore


@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (5, 2, 4, 7), (1, 3, 9, 1), (6, 1, 1, 5)])
@pytest.mark.parametrize("spread", [1, 1000, LIMIT])
def test_the_kernel_undoes_the_reference(shape: tuple[int, ...], spread: int) -> None:
    generator = np.random.default_rng(spread)
    grid = generator.integers(-spread, spread + 1, shape)
    coefficients = generator.integers(-128, 128, (shape[1], 3))
    left = residuals(grid, coefficients)
    restore(left, coefficients)
    assert np.array_equal(left, grid)


def test_predictions_are_the_weighted_neighbours() -> None:
    grid = np.zeros((2, 1, 2, 3), np.int64)
    grid[0, 0, 1, 1] = 32
    found = predictions(grid, np.array([[32, 16, 8]]))
    expected = np.zeros_like(grid)
    expected[1, 0, 1, 1], expected[0, 0, 1, 2] = 32, 16
    assert np.array_equal(found, expected)
    assert predictions(np.swapaxes(grid, 2, 3).copy(), np.array([[0, 0, 8]]))[0, 0, 2, 1] == 8


def test_hostile_residuals_stay_within_the_limit() -> None:
    grid = np.full((30, 1, 30, 30), 2**31 - 1, np.int32)
    restore(grid, np.full((1, 3), 127))
    assert np.abs(grid.astype(np.int64)).max() <= LIMIT
