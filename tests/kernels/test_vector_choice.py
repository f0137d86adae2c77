"""The choice of entries by distance and price: the compiled loop chooses as the plain version does."""

import numpy as np
import pytest

from fewbits.kernels.vector_choice import PricedCodebook, choose_reference


def case(rows: int, dimension: int, entries: int) -> tuple[np.ndarray, ...]:
    """Rows, entries, and prices of entries and of whole numbers."""
    generator = np.random.default_rng(rows + entries)
    book = generator.standard_normal((entries, dimension), np.float32)
    far = generator.random((rows, 1), np.float32) * 3 * generator.standard_normal((rows, dimension), np.float32)
    return (book[generator.integers(0, entries, rows)] + far, book,
            generator.random(entries, np.float32), generator.random(6, np.float32))


@pytest.mark.parametrize(("rows", "dimension", "entries"), [(0, 2, 3), (1, 1, 1), (300, 2, 17), (200, 16, 64)])
@pytest.mark.parametrize("spelled", [0.0, 0.5, 1e9])
def test_it_chooses_as_the_plain_version_does(rows, dimension, entries, spelled):
    values, book, prices, steps = case(rows, dimension, entries)
    chosen = PricedCodebook(book, prices, spelled, steps, -2).choose(values)
    assert np.array_equal(chosen, choose_reference(values, book, prices, spelled, steps, -2))
    assert chosen.dtype == np.int64 and chosen.shape == (rows,)
    if rows >= 200 and spelled < 1:
        assert (chosen == entries).any() and (chosen < entries).any()


def test_prices_turn_the_choice():
    rows, book = np.zeros((1, 2), np.float32), np.array([[0, 0], [0.1, 0]], np.float32)
    steps = np.full(3, 9, np.float32)
    assert PricedCodebook(book, np.array([0, 0], np.float32), 1.0, steps, -1).choose(rows).tolist() == [0]
    assert PricedCodebook(book, np.array([1, 0], np.float32), 1.0, steps, -1).choose(rows).tolist() == [1]
    assert PricedCodebook(book, np.array([99, 99], np.float32), 1.0, steps, -1).choose(rows).tolist() == [2]


def test_rows_that_are_not_numbers_get_some_choice():
    rows = np.array([[np.nan, 0], [np.inf, 1]], np.float32)
    book = PricedCodebook(np.zeros((3, 2), np.float32), np.zeros(3, np.float32), 1.0, np.zeros(4, np.float32), 0)
    chosen = book.choose(rows)
    assert ((chosen >= 0) & (chosen <= 3)).all()
