"""Doubling the resolution of a plane with learned filters, some rows at a time.

Row 2i of the result is `f0 in[i-2] + f1 in[i-1] + f2 in[i] + f3 in[i+1]`, row 2i + 1 is `f3 in[i-1] + f2 in[i] +
f1 in[i+1] + f0 in[i+2]`, its mirror image; then columns likewise. Beyond its borders the plane goes on with its border
values. All is float32, summed from left to right, so that results are the same bit for bit on every machine and however
the rows are cut.
"""

import numpy as np
from numba import njit, types

REACH = 2  # how far from i the filters look

_PLANE = types.Array(types.float32, 2, "C", readonly=True)
_TAPS = types.Array(types.float32, 1, "C", readonly=True)


def source_rows(start: int, stop: int, rows: int) -> tuple[int, int]:
    """First and one past the last of the `rows` rows of a plane that rows `start` to `stop` of the result need."""
    return max(start // 2 - REACH, 0), min((stop - 1) // 2 + REACH + 1, rows)


@njit(types.void(_PLANE, types.int64, types.int64, _TAPS, types.int64, types.float32[:, ::1]), cache=True, nogil=True)
def upsample_rows(source, source_start, rows, taps, start, result):  # type: ignore[no-untyped-def]
    """Some rows of the doubled plane.

    Args:
        source: (n, w) float32, the rows from `source_start` on of a plane of `rows` rows; as `source_rows` says.
        taps: (4,) float32.
        result: (m, 2 w or 2 w - 1) float32, filled with the rows from `start` on.
    """
    f0, f1, f2, f3 = taps[0], taps[1], taps[2], taps[3]
    last = source.shape[1] - 1
    line = np.empty(source.shape[1] + 2 * REACH, np.float32)
    for number in range(result.shape[0]):
        row = start + number
        near = row >> 1
        step = 2 * (row & 1) - 1  # f0 stands farthest on the other side of odd rows
        a = source[min(max(near + 2 * step, 0), rows - 1) - source_start]
        b = source[min(max(near + step, 0), rows - 1) - source_start]
        c = source[near - source_start]
        d = source[min(max(near - step, 0), rows - 1) - source_start]
        if row & 1:
            for x in range(source.shape[1]):
                line[x + REACH] = f3 * d[x] + f2 * c[x] + f1 * b[x] + f0 * a[x]
        else:
            for x in range(source.shape[1]):
                line[x + REACH] = f0 * a[x] + f1 * b[x] + f2 * c[x] + f3 * d[x]
        for x in range(REACH):
            line[x] = line[REACH]
            line[last + REACH + 1 + x] = line[last + REACH]
        target = result[number]
        for x in range(target.size >> 1):
            target[2 * x] = f0 * line[x] + f1 * line[x + 1] + f2 * line[x + 2] + f3 * line[x + 3]
            target[2 * x + 1] = f3 * line[x + 1] + f2 * line[x + 2] + f1 * line[x + 3] + f0 * line[x + 4]
        if target.size & 1:
            target[2 * last] = f0 * line[last] + f1 * line[last + 1] + f2 * line[last + 2] + f3 * line[last + 3]


def reference(plane: np.ndarray, taps: np.ndarray, height: int, width: int) -> np.ndarray:
    """The whole plane doubled, (height, width) float32, in plain NumPy: 2 h or 2 h - 1 rows, and columns likewise."""
    rows = _doubled(plane.astype(np.float32), taps.astype(np.float32))[:height]
    return np.ascontiguousarray(_doubled(np.ascontiguousarray(rows.T), taps.astype(np.float32))[:width].T)


def _doubled(plane: np.ndarray, taps: np.ndarray) -> np.ndarray:
    """Twice as many rows."""
    f0, f1, f2, f3 = taps
    padded = np.pad(plane, ((REACH, REACH), (0, 0)), mode="edge")
    far, before, here, after, beyond = (padded[i : i + len(plane)] for i in range(2 * REACH + 1))
    doubled = np.empty((2 * len(plane), plane.shape[1]), np.float32)
    doubled[0::2] = f0 * far + f1 * before + f2 * here + f3 * after
    doubled[1::2] = f3 * before + f2 * here + f1 * after + f0 * beyond
    return doubled
