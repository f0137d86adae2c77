"""Probabilities for the indices of codebooks, by mixing of contexts, on integers alone.

An index is coded as the bits of its number, the highest first, each a binary decision; the bits before it are its
`node` in a binary tree. Each of several models looks at other indices that are known (this codebook in the last two
frames, the codebooks before it in this frame, the first ones) and has an adaptive counter for every context and node:
how probable a 1 is there. The counters' log odds (`STRETCH`) are weighted and summed, `SQUASH` makes a probability of
the sum, and weights move by gradient descent on code length. (The scheme is that of M. Mahoney's PAQ compressors:
"Adaptive Weighing of Context Models for Lossless Data Compression", Florida Tech CS-2005-16.)

Row 0 of `symbols` is how many indices each frame has, coded in the same way before them.

Everything is integers and shifts that round down, so every machine finds the same probabilities;
`index_mixing_reference` says the same in plain Python. Entropy coding is that of `adaptive_rans`.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numba import njit, types

from fewbits.kernels import adaptive_rans
from fewbits.kernels.adaptive_rans import WORDS, advance, pack, quantile_of
from fewbits.kernels.ans import PRECISION, START, TOTAL
from fewbits.kernels.logistic import CENTRE, LOGISTIC, STEPS

MAX_ENTRIES = 4096  # of a codebook
MODELS = 11
FINE_BITS, COARSE_BITS = 6, 3  # of an index as a context of its own, and of one of two that make a context together
COARSE_VALUES = (1 << COARSE_BITS) + 1  # 0 is for an index that is not there
CONTEXTS = COARSE_VALUES**2  # of a model: more than there are fine ones

PROBABILITY_BITS = 16  # of predictions
ODDS_BITS = 8  # after the point of log odds
ODDS_LIMIT = (1 << 11) - 1
STRETCH_BITS = 12  # of a probability whose log odds are looked up
COUNTER_BITS = 22  # of a counter's probability, which stands above its count
COUNT_BITS = 8
COUNT_LIMIT = (1 << COUNT_BITS) - 1
WEIGHT_BITS = 16  # after the point
WEIGHT_LIMIT = (1 << WEIGHT_BITS + 1) - 1
FIRST_WEIGHT = 1 << WEIGHT_BITS - 3  # more would learn sooner, and cost more where there is nothing to learn
LEARNING_RATE, LEARNING_SHIFT = 6, 18

STORED_BITS = 12  # of a counter's probability in a prior
STORED_COUNT_BITS = 4  # counters with low counts adapt fast to a new speaker
STORED_WEIGHT_BITS = 14


def _squash() -> np.ndarray:
    """Probabilities for log odds -ODDS_LIMIT..ODDS_LIMIT, from the table of the logistic function by straight lines."""
    table = (LOGISTIC * 2.0**32).astype(np.int64)  # whole numbers: exact
    unit = (1 << ODDS_BITS) // STEPS
    place = np.arange(-ODDS_LIMIT, ODDS_LIMIT + 1) + CENTRE * unit
    entry, part = place // unit, place % unit
    return (table[entry] * (unit - part) + table[entry + 1] * part) // unit >> 32 - PROBABILITY_BITS


SQUASH = _squash()
"""(2 ODDS_LIMIT + 1,) int64: the probability of a 1 for each log odds, in 2**-16, none of them 0 or 1."""
_MIDDLES = 2 * np.arange(1 << STRETCH_BITS) + 1 << PROBABILITY_BITS - STRETCH_BITS - 1
STRETCH = np.searchsorted(SQUASH, _MIDDLES).clip(0, 2 * ODDS_LIMIT) - ODDS_LIMIT
"""(4096,) int64: log odds of a probability of 12 bits, the inverse of `SQUASH`."""
_COUNTS = np.arange(COUNT_LIMIT + 1)
STEP = (1 << 17) // (2 * _COUNTS + 3)
"""(256,) int64, in 2**-16: how far a counter that was right or wrong this often goes towards the next bit."""
CONFIDENCE = (_COUNTS << 8) // (_COUNTS + 4)
"""(256,) int64, in 2**-8: what a counter's log odds are worth; nothing before it has seen a bit."""

_START = np.uint64(START)
_TO_FREQUENCY = PRECISION - PROBABILITY_BITS
_COUNTERS = types.int32[:, :, :, ::1]
_WEIGHTS = types.int32[:, :, ::1]


def shape_of_counters(stages: int, entries: int) -> tuple[int, int, int, int]:
    """Rows, models, contexts and nodes for this many codebooks of this many entries.

    Raises:
        ValueError: if there cannot be as many.
    """
    if stages < 0 or not 1 <= entries <= MAX_ENTRIES:
        raise ValueError(f"there cannot be {stages} codebooks of {entries} entries: 1 to {MAX_ENTRIES} are possible")
    return stages + 1, MODELS, CONTEXTS, 1 << max((entries - 1).bit_length(), stages.bit_length())


@dataclass(frozen=True, eq=False)
class IndexPrior:
    """What is known about the indices of a quantiser before the first frame; travels with its weights.

    Attributes:
        counters: (rows, MODELS, CONTEXTS, nodes) int16: probability less a half in 12 bits, above its count in 4.
        weights: (rows, nodes, MODELS) int16, in 2**-14.
    """

    counters: np.ndarray
    weights: np.ndarray

    @classmethod
    def cold(cls, stages: int, entries: int) -> "IndexPrior":
        """Nothing is known; raises as `shape_of_counters`."""
        rows, models, contexts, nodes = shape_of_counters(stages, entries)
        weights = np.full((rows, nodes, models), FIRST_WEIGHT >> WEIGHT_BITS - STORED_WEIGHT_BITS, np.int16)
        return cls(np.zeros((rows, models, contexts, nodes), np.int16), weights)

    @classmethod
    def learned(cls, sequences: Iterable[np.ndarray], entries: int, start: "IndexPrior") -> "IndexPrior":
        """What coding `symbols` (rows, T), one after another, has taught after all of them."""
        counters, weights = start.state()
        for symbols in sequences:
            _code(symbols, entries, counters, weights)
        count = np.minimum(counters & COUNT_LIMIT, (1 << STORED_COUNT_BITS) - 1)
        centred = (counters >> COUNT_BITS + COUNTER_BITS - STORED_BITS) - (1 << STORED_BITS - 1)
        return cls((centred << STORED_COUNT_BITS | count).astype(np.int16),
                   (weights >> WEIGHT_BITS - STORED_WEIGHT_BITS).astype(np.int16))

    @cached_property
    def _state(self) -> tuple[np.ndarray, np.ndarray]:
        stored = self.counters.astype(np.int32)
        centred = 2 * ((stored >> STORED_COUNT_BITS) + (1 << STORED_BITS - 1)) + 1
        probability = centred << COUNTER_BITS - STORED_BITS - 1  # the middle of what was rounded to it
        counters = probability << COUNT_BITS | stored & (1 << STORED_COUNT_BITS) - 1
        return counters, self.weights.astype(np.int32) << WEIGHT_BITS - STORED_WEIGHT_BITS

    def state(self) -> tuple[np.ndarray, np.ndarray]:
        """Counters and weights, int32, as the loops change them: a new copy."""
        counters, weights = self._state
        return counters.copy(), weights.copy()

    def check(self, stages: int, entries: int) -> None:
        """Raises `ValueError` unless this is a prior for so many codebooks and entries."""
        rows, models, contexts, nodes = shape_of_counters(stages, entries)
        if (self.counters.shape, self.weights.shape) != ((rows, models, contexts, nodes), (rows, nodes, models)):
            raise ValueError(f"the prior is not for {stages} codebooks of {entries} entries")


@njit(inline="always")
def _place_counters(fine, coarse, row, t, places):  # type: ignore[no-untyped-def]
    """The context of each model, from planes of what is known: padded by two above and on the left, 0 where unknown."""
    y, x = row + 2, t + 2
    last, first = coarse[y, x - 1], coarse[3, x]  # lines 3 and 4 are the first two codebooks
    places[0] = 0
    places[1] = fine[y, x - 1]
    places[2] = fine[y, x - 2]
    places[3] = fine[y - 1, x]
    places[4] = fine[y - 2, x]
    places[5] = fine[3, x]
    places[6] = last * COARSE_VALUES + coarse[y, x - 2]
    places[7] = coarse[y - 1, x] * COARSE_VALUES + coarse[y - 2, x]
    places[8] = last * COARSE_VALUES + coarse[y - 1, x]
    places[9] = first * COARSE_VALUES + coarse[4, x]
    places[10] = first * COARSE_VALUES + coarse[3, x - 1]


@njit(inline="always")
def _predict(counters, weights, node, places, stretch, confidence, squash, inputs):  # type: ignore[no-untyped-def]
    """The probability of a 1 at a node; fills the models' log odds."""
    total = 1 << WEIGHT_BITS - 1
    for m in range(MODELS):
        counter = counters[m, places[m], node]
        odds = stretch[counter >> COUNT_BITS + COUNTER_BITS - STRETCH_BITS]
        inputs[m] = odds * confidence[counter & COUNT_LIMIT] >> 8
        total += inputs[m] * weights[node, m]
    return squash[min(max(total >> WEIGHT_BITS, -ODDS_LIMIT), ODDS_LIMIT) + ODDS_LIMIT]


@njit(inline="always")
def _update(counters, weights, node, places, inputs, step, bit, probability):  # type: ignore[no-untyped-def]
    """Moves the weights and the counters that made a prediction towards the bit."""
    error = ((bit << PROBABILITY_BITS) - probability) * LEARNING_RATE
    target = bit * ((1 << COUNTER_BITS) - 1)
    for m in range(MODELS):
        weight = weights[node, m] + (inputs[m] * error + (1 << LEARNING_SHIFT - 1) >> LEARNING_SHIFT)
        weights[node, m] = min(max(weight, -WEIGHT_LIMIT), WEIGHT_LIMIT)
        counter = np.int64(counters[m, places[m], node])
        count, old = counter & COUNT_LIMIT, counter >> COUNT_BITS
        new = old + ((target - old) * step[count] >> 16)
        counters[m, places[m], node] = new << COUNT_BITS | min(count + 1, COUNT_LIMIT)


@njit(types.int64(types.int32[:, ::1], types.int64, types.uint64[::1], WORDS, types.uint64[::1], types.boolean,
                  _COUNTERS, _WEIGHTS, *[types.Array(types.int64, 1, "C", readonly=True)] * 4), cache=True, nogil=True)
def _sweep(symbols, entries, intervals, words, coder, decoding, counters, weights, squash, stretch, step, confidence):  # type: ignore[no-untyped-def]
    """Fills `symbols` from `words`, until these run down, or `intervals` from `symbols`; how many of them."""
    rows, frames = symbols.shape
    fine, coarse = np.zeros((rows + 4, frames + 2), np.uint8), np.zeros((rows + 4, frames + 2), np.uint8)
    places, inputs = np.zeros(MODELS, np.int64), np.zeros(MODELS, np.int64)
    used = 0
    for t in range(frames):
        if decoding and coder[0] < _START:  # no encoder goes below
            break
        row, end = 0, 1
        while row < end:
            size = entries if row else rows
            bits = 0
            while 1 << bits < size:
                bits += 1
            _place_counters(fine, coarse, row, t, places)
            node = 1
            for rest in range(bits - 1, -1, -1):
                bit = 0
                if (2 * node + 1 << rest) - (1 << bits) < size:  # otherwise, there is no symbol with a 1 here
                    one = _predict(counters[row], weights[row], node, places, stretch, confidence, squash, inputs)
                    middle = TOTAL - (one << _TO_FREQUENCY)
                    if decoding:
                        bit = 1 if quantile_of(coder) >= middle else 0
                        advance(coder, words, bit * middle, TOTAL - middle if bit else middle)
                    else:
                        bit = symbols[row, t] >> rest & 1
                        intervals[used] = pack(bit * middle, TOTAL - middle if bit else middle)
                        used += 1
                    _update(counters[row], weights[row], node, places, inputs, step, bit, one)
                node = 2 * node + bit
            symbol = node - (1 << bits)
            symbols[row, t] = symbol
            fine[row + 2, t + 2] = 1 + (symbol >> max(bits - FINE_BITS, 0))
            coarse[row + 2, t + 2] = 1 + (symbol >> max(bits - COARSE_BITS, 0))
            end = end if row else 1 + symbol
            row += 1
    return used


def _code(symbols: np.ndarray, entries: int, counters: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Intervals of symbols, while counters and weights adapt."""
    known = np.array(symbols, np.int32, order="C")
    result = np.empty(known.size * max((entries - 1).bit_length(), (len(known) - 1).bit_length()), np.uint64)
    used = _sweep(known, entries, result, np.empty(0, np.uint32), np.zeros(2, np.uint64), False, counters, weights,
                  SQUASH, STRETCH, STEP, CONFIDENCE)
    return result[:used]


def intervals(symbols: np.ndarray, entries: int, prior: IndexPrior) -> np.ndarray:
    """The interval of each decision, (n,) uint64 as `adaptive_rans.pack` has them, in the order of coding.

    Args:
        symbols: (1 + stages, T): how many indices a frame has, then its indices; what is below them has no meaning.

    Raises:
        ValueError: if a number is out of range or the prior is for another quantiser.
    """
    rows = len(symbols)
    prior.check(rows - 1, entries)
    wrong = (symbols[1:] < 0) | (symbols[1:] >= entries)
    wrong &= np.arange(rows - 1)[:, None] < symbols[0]
    if wrong.any() or np.any((symbols[0] < 0) | (symbols[0] >= rows)):
        raise ValueError(f"frames have up to {rows - 1} indices below {entries}")
    return _code(symbols, entries, *prior.state())


def decode(words: np.ndarray, stages: int, frames: int, entries: int, prior: IndexPrior) -> np.ndarray:
    """Symbols (1 + stages, T) int32 from uint32 words; 0 where a frame has no index.

    Raises:
        DamagedError: if the words do not end where the symbols end.
        ValueError: if the prior is for another quantiser.
    """
    prior.check(stages, entries)
    coder, symbols = adaptive_rans.open_words(words), np.zeros((stages + 1, frames), np.int32)
    _sweep(symbols, entries, np.empty(0, np.uint64), words, coder, True, *prior.state(), SQUASH, STRETCH, STEP,
           CONFIDENCE)
    adaptive_rans.check_end(coder)
    return symbols
