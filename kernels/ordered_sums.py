"""Sums in a fixed order, in plain NumPy: for references of loops whose results must be equal bit for bit."""

import numpy as np


def added(numbers: np.ndarray) -> np.float64:
    """Their sum, from left to right."""
    total = np.float64(0)
    for number in numbers:
        total = total + number
    return total


def added_rows(factors: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """factors @ rows, summed in the order of the rows."""
    total = np.zeros(rows.shape[1])
    for factor, row in zip(factors, rows, strict=True):
        total = total + factor * row
    return total
