"""What `least_squares` computes, in plain NumPy: whole matrices instead of what is kept of them."""

from dataclasses import dataclass, field

import numpy as np


@dataclass
class Sums:
    """The sums of one expert in a plane.

    Attributes:
        inputs: how many there are.
        across, down, ridge: see `least_squares`.
        width: of the plane.
        above: (width, inputs, inputs + 1) float64, of the rows above. running: (inputs, inputs + 1), of the row so far.
        row: (width, inputs + 1), inputs and targets of the row so far.
    """

    inputs: int
    across: float
    down: float
    ridge: float
    width: int
    above: np.ndarray = field(init=False)
    running: np.ndarray = field(init=False)
    row: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self.above = np.zeros((self.width, self.inputs, self.inputs + 1))
        self.row = np.zeros((self.width, self.inputs + 1))
        self.begin_row()

    def begin_row(self) -> None:
        self.running = np.zeros((self.inputs, self.inputs + 1))

    def coefficients(self, column: int) -> np.ndarray:
        """Solves the normal equations: elimination, then substitution backwards."""
        matrix = self.above[column] + self.running
        matrix[np.diag_indices(self.inputs)] += self.ridge
        inverse = np.zeros(self.inputs)
        for k in range(self.inputs):
            inverse[k] = 1.0 / max(matrix[k, k], self.ridge)
            for i in range(k + 1, self.inputs):
                matrix[i] -= matrix[k, i] * inverse[k] * matrix[k]
        solution = matrix[:, -1].copy()
        for j in range(self.inputs - 1, -1, -1):
            solution[j] *= inverse[j]
            solution[:j] -= matrix[:j, j] * solution[j]
        return solution

    def learn(self, column: int, inputs: np.ndarray) -> None:
        """Takes a sample in, the target being the last of `inputs`."""
        self.row[column] = inputs
        total = self.running + inputs[:-1, None] * inputs
        self.above[column] = self.down * (self.above[column] + total)
        self.running = self.across * total

    def end_row(self) -> None:
        """The way back along the row."""
        self.begin_row()
        for column in range(self.width - 1, -1, -1):
            self.above[column] += self.down * self.running
            inputs = self.row[column]
            self.running = self.across * (self.running + inputs[:-1, None] * inputs)
