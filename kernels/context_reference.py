"""What `context` computes, in plain NumPy, all positions of a grid at once."""

from collections.abc import Mapping

import numpy as np

from fewbits.kernels.context import (
    CENTRE_LEVEL,
    CONTEXT_LIMIT,
    FRACTION,
    HIDDEN_LIMIT,
    LEVELS,
    MARGIN,
    MEAN_BITS,
    MEAN_LIMIT,
    SCALE_BITS,
    SHIFTS,
)


def predict(latents: np.ndarray, coarse: np.ndarray | None, neighbours: np.ndarray,
            parameters: Mapping[str, np.ndarray], prefix: str = "") -> tuple[np.ndarray, np.ndarray]:
    """Symbols and tables (h * w,) of a grid.

    Args:
        latents: (h, w) integers.
        coarse: those of the next coarser grid, (ceil(h / 2), ceil(w / 2)), or None.
        neighbours: (n, 2), rows down and columns right.
        parameters: as in `ContextNetwork.from_parameters`.
    """
    first, first_bias, second, second_bias, last = (
        parameters[prefix + name].astype(np.int64)
        for name in ("first.weight", "first.bias", "second.weight", "second.bias", "last.weight"))
    inputs = _inputs(latents, coarse, neighbours)
    sums = first @ inputs + first_bias[:, None]
    hidden = np.clip(sums[:-2], 0, HIDDEN_LIMIT)
    half = 1 << FRACTION - 1
    hidden = np.clip((second @ hidden + (second_bias[:, None] << FRACTION) + half) >> FRACTION, 0, HIDDEN_LIMIT)
    out = sums[-2:] + ((last @ hidden + half) >> FRACTION)
    fine_mean, fine_scale = ((row + (1 << FRACTION - bits - 1)) >> FRACTION - bits
                             for row, bits in zip(out, (MEAN_BITS, SCALE_BITS), strict=True))
    mean = np.clip(fine_mean, -MEAN_LIMIT * SHIFTS, MEAN_LIMIT * SHIFTS)
    level = np.clip(fine_scale + CENTRE_LEVEL, 0, LEVELS - 1)
    symbols = latents.reshape(-1).astype(np.int64) - (mean >> MEAN_BITS)
    return symbols.astype(np.int32), (level * SHIFTS + mean % SHIFTS).astype(np.uint16)


def _inputs(latents: np.ndarray, coarse: np.ndarray | None, neighbours: np.ndarray) -> np.ndarray:
    """(inputs, h * w) int64."""
    height, width = latents.shape
    y, x = np.mgrid[:height, :width]
    if coarse is None:
        coarse = np.zeros((-(-height // 2), -(-width // 2)), np.int32)
    plane, coarse_plane = (np.pad(np.clip(values.astype(np.int64), -CONTEXT_LIMIT, CONTEXT_LIMIT), MARGIN)
                           for values in (latents, coarse))
    rows = [plane[y + down + MARGIN, x + right + MARGIN] for down, right in np.asarray(neighbours).tolist()]
    near_y, near_x = y // 2 + MARGIN, x // 2 + MARGIN
    far_y, far_x = np.where(y % 2, near_y + 1, near_y - 1), np.where(x % 2, near_x + 1, near_x - 1)
    rows += [coarse_plane[v, h] for v in (near_y, far_y) for h in (near_x, far_x)]
    return np.stack([row.reshape(-1) for row in rows])
