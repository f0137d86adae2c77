"""The direction that Muon takes: a matrix without its singular values."""

from torch import Tensor

FACTORS = (3.4445, -4.775, 2.0315)  # of a quintic that grows small singular values fastest


def orthogonal(matrix: Tensor, iterations: int) -> Tensor:
    """About the nearest matrix (rows, columns) with orthonormal rows or columns, by Newton-Schulz iteration.

    K. Jordan et al., "Muon: An optimizer for hidden layers in neural networks" (2024).
    """
    first, third, fifth = FACTORS
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if tall else matrix
    x = x / (x.norm() + 1e-12)
    for _ in range(iterations):
        square = x @ x.T
        x = first * x + (third * square + fifth * square @ square) @ x
    return x.T if tall else x
