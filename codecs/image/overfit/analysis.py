"""Proposes latents for a picture without any gradient: a 7x7 filter per grid, on the picture reduced to that grid.

The filters are fitted once, by least squares, to the latents of many pictures, and belong to a start. A fit that begins
with their proposal needs a third of the steps of one that begins with zeros.
"""

from collections.abc import Sequence

import numpy as np

from fewbits.codecs.image.overfit.architecture import GRIDS

REACH = 3
SIDE = 2 * REACH + 1
SHAPE = (GRIDS, 3 * SIDE * SIDE + 1)  # of the filters: red, green and blue taps, row by row, and a constant


def pyramid(target: np.ndarray) -> list[np.ndarray]:
    """The picture at the resolution of every grid, by means of four; (3, H, W) float32 to (3, ceil(H / 2**k), ...)."""
    levels = [target]
    while len(levels) < GRIDS:
        _, height, width = levels[-1].shape
        even = np.pad(levels[-1], ((0, 0), (0, height % 2), (0, width % 2)), mode="edge")
        levels.append(0.25 * (even[:, ::2, ::2] + even[:, 1::2, ::2] + even[:, ::2, 1::2] + even[:, 1::2, 1::2]))
    return levels


def windows(level: np.ndarray) -> list[np.ndarray]:
    """What each tap of a filter meets: (H, W) views of one padded array, in the order of the taps."""
    _, height, width = level.shape
    padded = np.pad(level, ((0, 0), (REACH, REACH), (REACH, REACH)), mode="edge")
    return [padded[colour, y : y + height, x : x + width]
            for colour in range(3) for y in range(SIDE) for x in range(SIDE)]


def propose(target: np.ndarray, filters: np.ndarray) -> list[np.ndarray]:
    """Latents of grids 0 to 6, float32.

    Args:
        target: (3, H, W) float32, samples minus 1/2.
        filters: of the start, `SHAPE`.
    """
    return [_filtered(level, taps) for level, taps in zip(pyramid(target), filters, strict=True)]


def _filtered(level: np.ndarray, taps: np.ndarray) -> np.ndarray:
    """One grid; tap by tap, so that no more than one product is in memory."""
    result = np.full(level.shape[1:], taps[-1], np.float32)
    for tap, window in zip(taps, windows(level), strict=False):
        result += np.float32(tap) * window
    return result


def fitted_filters(targets: Sequence[np.ndarray], latents: Sequence[Sequence[np.ndarray]]) -> np.ndarray:
    """The filters that propose given latents best, by least squares; `SHAPE` float32.

    Args:
        targets: pictures as in `propose`. latents: of each, grids 0 to 6.
    """
    filters = np.empty(SHAPE, np.float32)
    for k in range(GRIDS):
        products, answers = np.zeros((SHAPE[1], SHAPE[1])), np.zeros(SHAPE[1])
        for target, grids in zip(targets, latents, strict=True):
            level = pyramid(target)[k]
            rows = [window.reshape(-1) for window in windows(level)]
            inputs = np.stack([*rows, np.ones(rows[0].size, np.float32)]).astype(np.float64)
            products += inputs @ inputs.T
            answers += inputs @ grids[k].reshape(-1)
        ridge = 1e-4 * np.trace(products) / SHAPE[1] * np.eye(SHAPE[1])
        filters[k] = np.linalg.solve(products + ridge, answers)
    return filters
