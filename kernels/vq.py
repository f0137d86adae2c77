"""Search for the nearest entry of a codebook: plain torch, a compiled loop for processors, Triton for CUDA.

All three minimise |entry|^2 / 2 - row . entry, which has the order of the distances; where every entry has length 1,
that is the largest dot product. Sums are of float32, in another order in each version, so they may differ where
entries are equally near to within rounding. Searches happen in encoders only, whose choice is what is written.
"""

from functools import cache
from typing import Any

import numpy as np
import torch
from numba import njit, types
from torch import Tensor

LANES = 16  # scores that a processor compares side by side
_ROWS = types.Array(types.float32, 2, "C", readonly=True)
_BLOCK_ROWS, _BLOCK_ENTRIES = 64, 64  # of a Triton program
_LEAST_DIMENSIONS = 16  # of a product of matrices in Triton


def nearest(rows: Tensor, codebook: Tensor) -> Tensor:
    """The number of the nearest entry for each row, of equally near ones the first.

    Args:
        rows: (R, D) float32.
        codebook: (K, D) float32 on the same device.

    Returns:
        (R,) int64. Rows that are not numbers get some entry.

    Raises:
        ValueError: if shapes or types do not fit, or there are no entries.
    """
    if rows.ndim != 2 or codebook.ndim != 2 or rows.shape[1] != codebook.shape[1] or not len(codebook):
        raise ValueError(f"rows of shape {tuple(rows.shape)} cannot be looked up among {tuple(codebook.shape)}")
    if rows.dtype != torch.float32 or codebook.dtype != torch.float32:
        raise ValueError(f"rows and codebook must be float32, not {rows.dtype} and {codebook.dtype}")
    rows, codebook = rows.detach(), codebook.detach()
    if rows.is_cuda:
        return _nearest_on_gpu(rows.contiguous(), codebook.contiguous())
    size = -len(codebook) % LANES
    entries = np.pad(codebook.numpy(), ((0, size), (0, 0)))
    offsets = np.pad(0.5 * codebook.square().sum(1).numpy(), (0, size), constant_values=np.inf)
    return torch.from_numpy(_nearest(rows.contiguous().numpy(), np.ascontiguousarray(entries.T), offsets))


def nearest_reference(rows: Tensor, codebook: Tensor) -> Tensor:
    """What `nearest` computes, in plain torch."""
    return (0.5 * codebook.square().sum(1) - rows @ codebook.T).argmin(1)


@njit(inline="always")
def _subtract_products(row, entries, scores):  # type: ignore[no-untyped-def]
    """scores -= row @ entries, four dimensions at a time, which saves memory traffic."""
    whole = row.size - row.size % 4
    for d in range(0, whole, 4):
        first, second, third, fourth = row[d], row[d + 1], row[d + 2], row[d + 3]
        for k in range(scores.size):
            scores[k] = (scores[k] - first * entries[d, k] - second * entries[d + 1, k] - third * entries[d + 2, k]
                         - fourth * entries[d + 3, k])
    for d in range(whole, row.size):
        for k in range(scores.size):
            scores[k] -= row[d] * entries[d, k]


@njit(inline="always")
def lowest_of(scores, least):  # type: ignore[no-untyped-def]
    """The lowest of scores, as many as a multiple of the lanes; `least` has room for the lowest of each lane."""
    least[:] = np.inf
    for begin in range(0, scores.size, LANES):
        for j in range(LANES):
            least[j] = min(least[j], scores[begin + j])
    lowest = least[0]
    for j in range(1, LANES):
        lowest = min(lowest, least[j])
    return lowest


@njit(inline="always")
def first_at(scores, lowest):  # type: ignore[no-untyped-def]
    """The place of the first score that is not above the lowest; 0 where scores are not numbers."""
    best = 0
    while scores[best] > lowest:
        best += 1
    return best


@njit(types.int64[::1](_ROWS, _ROWS, types.float32[::1]), cache=True, nogil=True)
def _nearest(rows, entries, offsets):  # type: ignore[no-untyped-def]
    """Entries are (D, K), K a multiple of the lanes."""
    result = np.empty(rows.shape[0], np.int64)
    scores, least = np.empty(offsets.size, np.float32), np.empty(LANES, np.float32)
    for r in range(rows.shape[0]):
        scores[:] = offsets
        _subtract_products(rows[r], entries, scores)
        result[r] = first_at(scores, lowest_of(scores, least))
    return result


@cache
def _kernel() -> Any:
    """The Triton program, made at its first use: Triton is slow to import and exists on some machines only."""
    import triton
    import triton.language as tl

    @triton.jit
    def search(rows, entries, offsets, result, count, size, dimensions, block_rows: tl.constexpr,  # type: ignore[no-untyped-def]
               block_entries: tl.constexpr, block_dimensions: tl.constexpr):
        at = tl.program_id(0) * block_rows + tl.arange(0, block_rows)
        d = tl.arange(0, block_dimensions)
        own = tl.load(rows + at[:, None] * dimensions + d[None, :],
                      mask=(at[:, None] < count) & (d[None, :] < dimensions), other=0.0)
        least = tl.full((block_rows,), float("inf"), tl.float32)
        where = tl.zeros((block_rows,), tl.int64)
        for begin in range(0, size, block_entries):
            k = begin + tl.arange(0, block_entries)
            block = tl.load(entries + k[None, :] * dimensions + d[:, None],
                            mask=(k[None, :] < size) & (d[:, None] < dimensions), other=0.0)
            offset = tl.load(offsets + k, mask=k < size, other=float("inf"))
            scores = offset[None, :] - tl.dot(own, block, input_precision="ieee")
            lowest, first = tl.min(scores, 1), tl.argmin(scores, 1, tie_break_left=True)
            where = tl.where(lowest < least, first.to(tl.int64) + begin, where)
            least = tl.minimum(lowest, least)
        tl.store(result + at, where, mask=at < count)

    return search


def _nearest_on_gpu(rows: Tensor, codebook: Tensor) -> Tensor:
    result = torch.empty(len(rows), dtype=torch.int64, device=rows.device)
    if len(rows):
        dimensions = max(_LEAST_DIMENSIONS, 1 << (rows.shape[1] - 1).bit_length())
        _kernel()[-(-len(rows) // _BLOCK_ROWS),](
            rows, codebook, 0.5 * codebook.square().sum(1), result, len(rows), len(codebook), rows.shape[1],
            _BLOCK_ROWS, _BLOCK_ENTRIES, dimensions)
    return result
