"""Tiles of few colours: a palette, and the numbers of the colours through the palette circuit."""

import numpy as np

from fewbits.codecs.image.circuit.planes import Report
from fewbits.entropy.deflate import deflate, inflate
from fewbits.errors import DamagedError
from fewbits.kernels import adaptive_rans
from fewbits.kernels.palette_circuit import MARGIN, MAX_VALUES, code_row, fresh_state

REPORT_ROWS = 32


def palette_of(samples: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """The colours of (H, W, C) samples, ascending, (n, C), and their numbers (H, W) int32; None if too many."""
    height, width, channels = samples.shape
    keys = np.zeros((height, width), np.uint64)
    for channel in range(channels):
        keys = keys << np.uint64(16) | samples[..., channel]
    colours, numbers = np.unique(keys, return_inverse=True)
    if len(colours) > MAX_VALUES:
        return None
    shifts = np.arange(channels - 1, -1, -1, dtype=np.uint64) * np.uint64(16)
    palette = (colours[:, None] >> shifts & np.uint64(0xFFFF)).astype(samples.dtype)
    return palette, numbers.reshape(height, width).astype(np.int32)


def encode_palette(palette: np.ndarray) -> bytes:
    """Differences between neighbouring colours, channel by channel, deflated."""
    differences = np.diff(palette, axis=0, prepend=palette.dtype.type(0))
    return deflate(differences.T.astype(palette.dtype.newbyteorder("<")).tobytes())


def decode_palette(data: bytes, channels: int, dtype: np.dtype) -> np.ndarray:
    """Inverse of `encode_palette`. Raises `DamagedError` for anything but 1 to 256 colours."""
    packed = inflate(data, MAX_VALUES * channels * dtype.itemsize, "tile's palette")
    count, rest = divmod(len(packed), channels * dtype.itemsize)
    if rest or not count:
        raise DamagedError("The tile is damaged: its palette is wrong.")
    differences = np.frombuffer(packed, dtype.newbyteorder("<")).reshape(channels, count).T
    return np.cumsum(differences, axis=0, dtype=dtype)


def encode_numbers(numbers: np.ndarray, count: int, report: Report) -> tuple[np.ndarray, float]:
    """Words of the numbers (H, W) int32 of at least 2 colours, and the bits that the circuit estimates."""
    plane = np.pad(numbers, MARGIN)
    intervals = np.zeros(numbers.shape, np.uint64)
    state, coder, nothing = fresh_state(count), np.zeros(2, np.uint64), np.zeros(0, np.uint32)
    for row, room in enumerate(intervals):
        code_row(plane, row + MARGIN, False, state, nothing, coder, room)
        if row % REPORT_ROWS == 0:
            report(row / len(intervals))
    return adaptive_rans.encode_intervals(intervals.reshape(-1)), adaptive_rans.bits_of(intervals)


def decode_numbers(words: np.ndarray, count: int, height: int, width: int, report: Report) -> np.ndarray:
    """Inverse of `encode_numbers`. Raises `DamagedError` if the words do not end where the numbers end."""
    plane = np.zeros((height + 2 * MARGIN, width + 2 * MARGIN), np.int32)
    state, coder, room = fresh_state(count), adaptive_rans.open_words(words), np.zeros(width, np.uint64)
    for row in range(height):
        code_row(plane, row + MARGIN, True, state, words, coder, room)
        if adaptive_rans.ran_down(coder):
            raise DamagedError("The tile is damaged: it ends before its samples end.")
        if row % REPORT_ROWS == 0:
            report(row / height)
    adaptive_rans.check_end(coder)
    return plane[MARGIN:-MARGIN, MARGIN:-MARGIN]
