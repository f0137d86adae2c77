"""Which entry of a codebook stands for each row: by squared distance and price, or none, where numbers by themselves
are cheaper. A compiled loop, and a plain version that says what it computes.

Both choose alike but where costs are equal to within the rounding of float32. Choices happen in encoders only, which
write them down.
"""

import numpy as np
from numba import njit, types

from fewbits.kernels.vq import LANES, first_at, lowest_of

_MATRIX = types.Array(types.float32, 2, "C", readonly=True)
_ROW = types.Array(types.float32, 1, "C", readonly=True)


class PricedCodebook:
    """A codebook and what its entries cost, prepared for the choice among them.

    Args:
        entries: (K, D) float32.
        prices: (K,) float32, of each entry.
        spelled: price of a row without an entry, beside those of its numbers.
        steps: (n,) float32, prices of the whole numbers `low`, `low + 1` and so on; the last one is for all others.
    """

    def __init__(self, entries: np.ndarray, prices: np.ndarray, spelled: float, steps: np.ndarray, low: int) -> None:
        padding, usual = -len(entries) % LANES, int(prices.argmin())
        offsets = np.pad(np.square(entries).sum(1) + prices, (0, padding), constant_values=np.inf)
        columns = np.ascontiguousarray(np.pad(-2 * entries, ((0, padding), (0, 0))).T)
        self._prepared = (columns, offsets.astype(np.float32), len(entries), np.float32(spelled),
                          np.ascontiguousarray(steps), low, usual, np.float32(_safe(entries, prices, usual, spelled)))

    def choose(self, rows: np.ndarray) -> np.ndarray:
        """The entry of least squared distance plus price for each row (R, D) float32, or K where rounding each number
        costs less: (R,) int64."""
        return _choose(np.ascontiguousarray(rows), *self._prepared)


def _safe(entries: np.ndarray, prices: np.ndarray, usual: int, spelled: float) -> float:
    """The squared distance from the usual entry within which nothing can be cheaper; most rows lie there.

    Another entry, `away` from it, is cheaper only for rows beyond `(away^2 + difference of prices) / (2 away)`.
    """
    away = np.sqrt(np.square(entries - entries[usual]).sum(1))
    reach = (np.square(away) + prices - prices[usual])[away > 0] / (2 * away[away > 0])
    return max(min(reach.min(initial=np.inf) ** 2, spelled - prices[usual]) * (1 - 1e-5), 0.0)


def choose_reference(rows: np.ndarray, entries: np.ndarray, prices: np.ndarray, spelled: float, steps: np.ndarray,
                     low: int) -> np.ndarray:
    """What `PricedCodebook.choose` computes, in plain NumPy; arguments as there."""
    costs = np.square(rows[:, None] - entries).sum(2) + prices
    whole = np.rint(rows)
    places = whole.astype(np.int64) - low
    covered = (places >= 0) & (places < len(steps) - 1)
    plain = spelled + (np.square(rows - whole) + steps[np.where(covered, places, -1)]).sum(1)
    return np.where(plain < costs.min(1), len(entries), costs.argmin(1))


@njit(inline="always")
def _plain(row, spelled, steps, low):  # type: ignore[no-untyped-def]
    """What a row costs when each of its numbers is rounded."""
    cost = spelled
    for number in row:
        whole = np.rint(number)
        place = np.int64(whole) - low
        if place < 0 or place >= steps.size - 1:
            place = np.int64(steps.size - 1)
        cost += (number - whole) * (number - whole) + steps[place]
    return cost


@njit(types.int64[::1](_MATRIX, _MATRIX, _ROW, types.int64, types.float32, _ROW, types.int64, types.int64,
                       types.float32), cache=True, nogil=True)
def _choose(rows, columns, offsets, count, spelled, steps, low, usual, safe):  # type: ignore[no-untyped-def]
    """`columns`: (D, K) entries times -2, K a multiple of the lanes; `offsets`: what an entry costs a row of zeros."""
    result = np.empty(rows.shape[0], np.int64)
    scores, least = np.empty(offsets.size, np.float32), np.empty(LANES, np.float32)
    for r in range(rows.shape[0]):
        away, power = np.float32(0.0), np.float32(0.0)
        for d in range(rows.shape[1]):
            distance = rows[r, d] + columns[d, usual] / 2
            away += distance * distance
            power += rows[r, d] * rows[r, d]
        if away < safe:
            result[r] = usual
            continue
        scores[:] = offsets
        for d in range(rows.shape[1]):
            for k in range(scores.size):
                scores[k] += rows[r, d] * columns[d, k]
        lowest = lowest_of(scores, least)
        if lowest + power > spelled and _plain(rows[r], spelled, steps, low) < lowest + power:
            result[r] = count
        else:
            result[r] = first_at(scores, lowest)
    return result
