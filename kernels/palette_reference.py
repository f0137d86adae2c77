"""What `palette_circuit` computes, in plain Python: the intervals of numbers that are all known."""

import numpy as np

from fewbits.kernels import palette_circuit as kernel
from fewbits.kernels.ans import TOTAL


class PaletteReference:
    """A plane of numbers (H, W) below `values`."""

    def __init__(self, numbers: np.ndarray, values: int) -> None:
        self.numbers, self.values = numbers, values
        self.contexts = kernel.fresh_state(values).counts.shape[1]
        self.counts: list[dict[int, list[int]]] = [{} for _ in kernel.USED]
        classes = kernel.SEEN_CLASSES * kernel.KINDS_CLASSES
        self.weights = [[kernel.FIRST_WEIGHT] * classes for _ in kernel.USED]
        self.updates = [[1.0] * classes for _ in kernel.USED]

    def intervals(self) -> np.ndarray:
        """(H, W, 2) int64: left end and frequency of each number."""
        height, width = self.numbers.shape
        return np.array([[self._sample(y, x) for x in range(width)] for y in range(height)], np.int64)

    def _slot(self, used: int, y: int, x: int) -> int:
        width = self.numbers.shape[1]
        mixed = 1
        for down, right in kernel.NEIGHBOURS[:used]:
            inside = 0 <= y + down and 0 <= x + right < width
            value = int(self.numbers[y + down, x + right]) if inside else 0
            mixed = (mixed + value + 1) * 0x9E3779B97F4A7C15 % 2**64
            mixed ^= mixed >> 29
        return mixed % self.contexts if used else 0

    def _sample(self, y: int, x: int) -> tuple[int, int]:
        value = int(self.numbers[y, x])
        distribution = [1.0 / self.values] * self.values
        chosen, chances, nodes = [], [], []
        for node, used in enumerate(kernel.USED):
            counts = self.counts[node].setdefault(self._slot(used, y, x), [0] * self.values)
            nodes.append(counts)
            chances.append(distribution[value])
            chosen.append(_class(counts))
            if chosen[-1] is not None:
                weight = self.weights[node][chosen[-1]]
                scale, rest = weight / sum(counts), 1.0 - weight
                distribution = [scale * count + rest * chance
                                for count, chance in zip(counts, distribution, strict=True)]
        frequencies = [1 + int(chance * (TOTAL - 2 * self.values)) for chance in distribution[:-1]]
        frequencies.append(TOTAL - sum(frequencies))
        self._learn(value, nodes, chosen, [*chances, distribution[value]])
        return sum(frequencies[:value]), frequencies[value]

    def _learn(self, value: int, nodes: list[list[int]], chosen: list[int | None], chances: list[float]) -> None:
        reached = 1.0
        for node in range(len(nodes) - 1, -1, -1):
            counts, number = nodes[node], chosen[node]
            if number is not None:
                weights, updates = self.weights[node], self.updates[node]
                below = (1.0 - weights[number]) * chances[node] / chances[node + 1]
                updates[number] += reached
                rate = max(1.0 / updates[number], kernel.MIN_RATE) * reached
                weights[number] = min(max(weights[number] + rate * (1.0 - below - weights[number]), 0.001), 0.9999)
                reached *= below
            counts[value] += 1
            if sum(counts) > kernel.MAX_SEEN:
                counts[:] = [count + 1 >> 1 for count in counts]


def _class(counts: list[int]) -> int | None:
    """The class of weights of a context; None for one that was not seen."""
    seen = sum(counts)
    if not seen:
        return None
    seen_class = min((seen - 1).bit_length(), kernel.SEEN_CLASSES - 1)
    kinds_class = min(sum(count > 0 for count in counts), kernel.KINDS_CLASSES) - 1
    return seen_class * kernel.KINDS_CLASSES + kinds_class
