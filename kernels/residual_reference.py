"""What `residual_circuit` computes, in plain Python: the intervals of a plane's samples, all of which are known."""

import math

import numpy as np

from fewbits.kernels import residual_circuit as kernel
from fewbits.kernels.ans import TOTAL
from fewbits.kernels.least_squares_reference import Sums
from fewbits.kernels.logistic import CENTRE, LAST, LOGISTIC, STEPS

BOUNDS = kernel.half_octaves(kernel.FIRST_BOUND, 2 * kernel.CLASSES)[2::2]
LADDER = kernel.half_octaves(kernel.LADDER_UNIT * 2.0**-4, kernel.RUNGS + 1)[1:]

# Errors around a sample by which experts are judged: rows down, columns right, weight. Sums go line by line.
JUDGED = ((((0, -1), (-1, 0)), 2.0), (((-1, -1),), 1.0), (((-1, 1),), 1.0),
          (((0, -2), (-2, 0), (-1, -2), (-1, 2), (-2, -1), (-2, 1)), 0.5))


class PlaneReference:
    """A plane of a picture.

    Args:
        planes: (planes, H, W) integers; those before `plane` have been coded.
        places, windows, calm, earlier: as for `residual_circuit.fresh_state`.
        deviations: (planes, H, W) float64, of the earlier planes; those of this one are filled in.
    """

    def __init__(self, planes: np.ndarray, plane: int, places: list[np.ndarray], windows: np.ndarray, calm: float,
                 earlier: int, deviations: np.ndarray) -> None:
        self.planes, self.plane, self.places, self.earlier = planes, plane, places, earlier
        self.calm, self.deviations = calm, deviations
        self.height, self.width = planes.shape[1:]
        self.low, self.high = int(planes[plane].min()), int(planes[plane].max())
        counts = [*map(len, places), len(places)]
        self.sums = [Sums(n, *map(float, w), self.width) for n, w in zip(counts, windows, strict=True)]
        experts = len(places)
        self.errors = np.zeros((self.height, self.width, experts))
        self.ladder = np.tile(kernel.FIRST_LADDER, (kernel.CLASSES, 1))
        self.trust = np.full((kernel.CLASSES, experts + 1), 1.0 / (experts + 1))
        size = kernel.SCALE_INPUTS + kernel.EARLIER_INPUTS * earlier
        self.scale_sums, self.scale = np.zeros((size, size + 1)), np.zeros(size)

    def intervals(self) -> np.ndarray:
        """(H, W, 2) int64: left end and frequency of each sample."""
        result = np.zeros((self.height, self.width, 2), np.int64)
        for y in range(self.height):
            for sums in self.sums:
                sums.begin_row()
            for x in range(self.width):
                result[y, x] = self._sample(y, x)
            for sums in self.sums:
                sums.end_row()
        return result

    def _at(self, plane: int, row: int, column: int, y: int, x: int) -> int:
        """The sample at (row, column) as it is known when that at (y, x) is coded: outside, the nearest one inside."""
        samples = self.planes[plane]
        if plane == self.plane and row < 0 and y == 0:
            # as the first row goes along, what lies above is the sample to the left
            row, column = 0, min(x, column) - 1
        elif plane == self.plane and column < 0 and row == y:
            row, column = row - 1, 0
        if (row < 0 or column < 0) and plane == self.plane and y == 0:
            return (self.low + self.high) >> 1
        return int(samples[min(max(row, 0), self.height - 1), min(max(column, 0), self.width - 1)])

    def _error(self, values: np.ndarray, row: int, column: int, y: int, x: int) -> float:
        """An error in this plane as it is known at (y, x): outside, the nearest one inside; at first, 0."""
        if row < 0 and y == 0:
            row, column = 0, min(x, column) - 1
        elif column < 0 and row == y:
            row, column = row - 1, 0
        if (row < 0 or column < 0) and y == 0:
            return 0.0
        return float(values[max(row, 0), min(max(column, 0), self.width - 1)])

    def _inputs(self, places: np.ndarray, y: int, x: int) -> tuple[list[float], float]:
        def centre(plane: int) -> float:
            return 0.5 * (self._at(plane, y, x - 1, y, x) + self._at(plane, y - 1, x, y, x))

        inputs = [self._at(p, y + down, x + right, y, x) - centre(p) for p, down, right in places.tolist()]
        return inputs, centre(self.plane)

    def _sample(self, y: int, x: int) -> tuple[int, int]:
        value = int(self.planes[self.plane, y, x])
        inputs, means = [], []
        centre = 0.0
        for sums, places in zip(self.sums, self.places, strict=False):
            own, centre = self._inputs(places, y, x)
            inputs.append(own)
            means.append(self._clipped(_predicted(centre, sums.coefficients(x), own)))
        shares, attention = self._judge(y, x)
        start = 0.0
        for share, mean in zip(shares, means, strict=True):
            start += share * mean
        inputs.append([mean - start for mean in means])
        means.append(self._clipped(_predicted(start, self.sums[-1].coefficients(x), inputs[-1])))
        features = self._features(y, x, means)
        if x % (kernel.SCALE_EVERY if y else kernel.SCALE_FIRST) == 0:
            self._fit_scale()
        expected = max(_predicted(0.0, self.scale, features), kernel.MIN_SCALE)
        chosen = int((expected >= BOUNDS).sum())
        shares = [share * trust for share, trust in zip([*shares, 1.0], self.trust[chosen].tolist(), strict=True)]
        total = _sum(shares)
        shares = [share / total for share in shares]
        rungs = [STEPS / (expected * rung) for rung in LADDER.tolist()]
        lower, left = self._edge(value, means, shares, rungs, self.ladder[chosen])
        upper, right = self._edge(value + 1, means, shares, rungs, self.ladder[chosen])
        self._learn_circuit(upper - lower, shares, chosen)
        deviation = abs(value - means[-1])
        self.deviations[self.plane, y, x] = deviation
        self.errors[y, x] = [abs(value - mean) for mean in means[:-1]]
        weight = 1.0 / math.sqrt(expected * expected + 0.1)
        targets = [value - centre] * len(self.places) + [value - start]
        for sums, own, target, factor in zip(self.sums, inputs, targets, [*attention, weight], strict=True):
            sums.learn(x, np.array([*own, target]) * factor)
        factors = weight * weight * np.array(features)
        self.scale_sums += np.triu(factors[:, None] * np.array([*features, deviation]))
        return left, right - left

    def _clipped(self, mean: float) -> float:
        return min(max(mean, float(self.low)), float(self.high))

    def _judge(self, y: int, x: int) -> tuple[list[float], list[float]]:
        """Shares of the experts, and how much attention their sums pay to the sample."""
        shares, attention = [], []
        calm = kernel.NEARBY * self.calm
        for e in range(len(self.places)):
            error = 0.0
            for places, weight in JUDGED:
                error += weight * _sum([self._error(self.errors[..., e], y + down, x + right, y, x)
                                        for down, right in places])
            square = error * error + 5.0
            shares.append(1.0 / (square * math.sqrt(square)))
            attention.append(calm / math.sqrt(error * error + calm * calm))
        total = _sum(shares)
        return [share / total for share in shares], attention

    def _features(self, y: int, x: int, means: list[float]) -> list[float]:
        """What the scale is a linear function of."""
        own = self.deviations[self.plane]
        near = [self._error(own, y + down, x + right, y, x)
                for down, right in ((0, -1), (-1, 0), (-1, -1), (-1, 1), (0, -2), (-2, 0))]
        far = _sum([self._error(own, y + down, x + right, y, x)
                    for down, right in ((-2, -1), (-2, 1), (-1, -2), (-1, 2))])
        features = [1.0, *near, far, _sum([abs(mean - means[-1]) for mean in means[:-1]])]
        for plane in range(self.earlier):
            for group in (((0, 0),), ((0, -1), (0, 1), (-1, 0), (1, 0)), ((-1, -1), (-1, 1), (1, -1), (1, 1))):
                features.append(_sum([self._other_error(plane, y + down, x + right) for down, right in group]))
        return features

    def _other_error(self, plane: int, row: int, column: int) -> float:
        row, column = min(max(row, 0), self.height - 1), min(max(column, 0), self.width - 1)
        return float(self.deviations[plane, row, column])

    def _fit_scale(self) -> None:
        self.scale_sums *= kernel.FORGET
        matrix = self.scale_sums.copy()
        count = len(self.scale)
        matrix[np.diag_indices(count)] += kernel.SCALE_RIDGE
        matrix[0, count] += kernel.SCALE_RIDGE * kernel.CONSTANT_PRIOR
        matrix[1:5, count] += kernel.SCALE_RIDGE * kernel.SCALE_PRIOR
        for k in range(count):
            for i in range(k + 1, count):
                matrix[i] -= matrix[k, i] / max(matrix[k, k], kernel.SCALE_RIDGE) * matrix[k]
        for i in range(count - 1, -1, -1):
            total = matrix[i, count]
            for j in range(i + 1, count):
                total -= matrix[i, j] * self.scale[j]
            self.scale[i] = total / max(matrix[i, i], kernel.SCALE_RIDGE)

    def _edge(self, value: int, means: list[float], shares: list[float], rungs: list[float],
              ladder: np.ndarray) -> tuple[np.ndarray, int]:
        """The leaves' cumulative functions at the lower end of a value, and the left end of its interval."""
        if value <= self.low:
            return np.zeros((len(means), kernel.RUNGS)), 0
        if value > self.high:
            return np.ones((len(means), kernel.RUNGS)), TOTAL
        leaves = np.array([[_logistic((value - 0.5 - mean) * rung) for rung in rungs] for mean in means])
        total = 0.0
        for share, row in zip(shares, leaves.tolist(), strict=True):
            total += share * _sum([weight * leaf for weight, leaf in zip(ladder.tolist(), row, strict=True)])
        free = TOTAL - (self.high - self.low + 1)
        return leaves, min(int(total * free), free) + value - self.low

    def _learn_circuit(self, leaves: np.ndarray, shares: list[float], chosen: int) -> None:
        ladder, trust = self.ladder[chosen], self.trust[chosen]
        parts = [_sum([weight * leaf for weight, leaf in zip(ladder.tolist(), row, strict=True)])
                 for row in leaves.tolist()]
        whole = _sum([share * part for share, part in zip(shares, parts, strict=True)])
        if whole < kernel.NOT_SEEN:
            return
        for r in range(kernel.RUNGS):
            part = _sum([share * leaf for share, leaf in zip(shares, leaves[:, r].tolist(), strict=True)])
            ladder[r] += kernel.LADDER_RATE * ladder[r] * (part / whole - 1.0)
        for e, (share, part) in enumerate(zip(shares, parts, strict=True)):
            trust[e] = max(trust[e] + kernel.TRUST_RATE * share * (part / whole - 1.0), kernel.MIN_TRUST)


def _sum(values: list[float]) -> float:
    """From the left to the right; from Python 3.12 on, `sum` does it otherwise."""
    total = 0.0
    for value in values:
        total += value
    return total


def _predicted(start: float, coefficients: np.ndarray, inputs: list[float]) -> float:
    for coefficient, value in zip(coefficients.tolist(), inputs, strict=True):
        start += coefficient * value
    return start


def _logistic(argument: float) -> float:
    place = min(max(argument + CENTRE, 0.0), LAST - 1e-9)
    entry = int(place)
    return float(LOGISTIC[entry] + (place - entry) * (LOGISTIC[entry + 1] - LOGISTIC[entry]))
