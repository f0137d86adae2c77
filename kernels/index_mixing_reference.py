"""What `index_mixing` computes, in plain Python: the intervals of symbols, all of which are known."""

from collections.abc import Iterator

import numpy as np

from fewbits.kernels import index_mixing as kernel
from fewbits.kernels.ans import PRECISION, TOTAL
from fewbits.kernels.index_mixing import IndexPrior

Place = tuple[int, int, int, int]  # row, model, context and node of a counter


class IndexReference:
    """The models of a string of indices.

    Args:
        symbols, entries, prior: as for `index_mixing.intervals`.
    """

    def __init__(self, symbols: np.ndarray, entries: int, prior: IndexPrior) -> None:
        self.symbols = symbols.tolist()
        self.sizes = [len(symbols)] + [entries] * (len(symbols) - 1)
        self.prior = prior
        self.counters: dict[Place, tuple[int, int]] = {}  # those that were used: probability and count
        self.weights = prior.weights.astype(int) << kernel.WEIGHT_BITS - kernel.STORED_WEIGHT_BITS

    def intervals(self) -> np.ndarray:
        """What `index_mixing.intervals` gives."""
        result = [interval for t, count in enumerate(self.symbols[0]) for row in range(count + 1)
                  for interval in self._symbol(row, t)]
        return np.array(result, np.uint64)

    def _symbol(self, row: int, t: int) -> Iterator[int]:
        size, symbol = self.sizes[row], self.symbols[row][t]
        bits = (size - 1).bit_length()
        contexts = self._contexts(row, t)
        node = 1
        for rest in reversed(range(bits)):
            bit = symbol >> rest & 1
            if (2 * node + 1) << rest < (1 << bits) + size:
                one = self._learn(row, contexts, node, bit)
                middle = TOTAL - (one << PRECISION - kernel.PROBABILITY_BITS)
                yield (TOTAL - middle) | middle << PRECISION if bit else middle
            node = 2 * node + bit

    def _learn(self, row: int, contexts: list[int], node: int, bit: int) -> int:
        """The probability of a 1; then what made it adapts to the bit."""
        places = [(row, model, context, node) for model, context in enumerate(contexts)]
        inputs = [self._odds(*self._counter(place)) for place in places]
        weights = [int(weight) for weight in self.weights[row, node]]
        total = sum(x * weight for x, weight in zip(inputs, weights, strict=True))
        odds = _rounded(total, kernel.WEIGHT_BITS)
        one = int(kernel.SQUASH[min(max(odds, -kernel.ODDS_LIMIT), kernel.ODDS_LIMIT) + kernel.ODDS_LIMIT])
        error = kernel.LEARNING_RATE * (bit * 2**kernel.PROBABILITY_BITS - one)
        for model, (place, x) in enumerate(zip(places, inputs, strict=True)):
            weight = weights[model] + _rounded(x * error, kernel.LEARNING_SHIFT)
            self.weights[row, node, model] = min(max(weight, -kernel.WEIGHT_LIMIT), kernel.WEIGHT_LIMIT)
            probability, count = self._counter(place)
            target = 2**kernel.COUNTER_BITS - 1 if bit else 0
            probability += (target - probability) * (2**17 // (2 * count + 3)) // 2**16
            self.counters[place] = probability, min(count + 1, kernel.COUNT_LIMIT)
        return one

    def _counter(self, place: Place) -> tuple[int, int]:
        """Probability and count."""
        if place not in self.counters:
            centred, count = divmod(int(self.prior.counters[place]), 2**kernel.STORED_COUNT_BITS)
            step = 2 ** (kernel.COUNTER_BITS - kernel.STORED_BITS)
            self.counters[place] = (centred + 2 ** (kernel.STORED_BITS - 1)) * step + step // 2, count
        return self.counters[place]

    def _odds(self, probability: int, count: int) -> int:
        odds = int(kernel.STRETCH[probability >> kernel.COUNTER_BITS - kernel.STRETCH_BITS])
        return odds * (2**8 * count // (count + 4)) // 2**8

    def _contexts(self, row: int, t: int) -> list[int]:
        """Of each model."""
        def fine(other: int, frame: int) -> int:
            return self._context(other, frame, row, t, kernel.FINE_BITS)

        def coarse(other: int, frame: int) -> int:
            return self._context(other, frame, row, t, kernel.COARSE_BITS)

        pairs = [((row, t - 1), (row, t - 2)), ((row - 1, t), (row - 2, t)), ((row, t - 1), (row - 1, t)),
                 ((1, t), (2, t)), ((1, t), (1, t - 1))]
        return [0, fine(row, t - 1), fine(row, t - 2), fine(row - 1, t), fine(row - 2, t), fine(1, t),
                *(coarse(*one) * kernel.COARSE_VALUES + coarse(*other) for one, other in pairs)]

    def _context(self, other: int, frame: int, row: int, t: int, bits: int) -> int:
        """The first bits of an index that is coded before (row, t), plus 1; 0 if there is none."""
        if other < 0 or frame < 0 or (frame == t and other >= row) or other > self.symbols[0][frame]:
            return 0
        dropped = max((self.sizes[other] - 1).bit_length() - bits, 0)
        return 1 + (self.symbols[other][frame] >> dropped)


def _rounded(value: int, bits: int) -> int:
    """value / 2**bits, half up."""
    return (value + 2 ** (bits - 1)) // 2**bits
