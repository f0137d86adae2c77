"""Chow-Liu trees over the pixels of images: which pixels depend on each other directly.

(C. Chow, C. Liu, "Approximating Discrete Probability Distributions with Dependence Trees", 1968: of all trees, the one
whose edges have the largest sum of mutual information is the most likely.)
"""

from collections import deque
from dataclasses import dataclass

import numpy as np

BINS = 4  # of values, where pairs of pixels are counted
CHUNK = 1000  # images that are counted at once


@dataclass(frozen=True, eq=False)
class Tree:
    """A rooted tree over D pixels, its nodes in depth-first pre-order: the order in which pixels are coded.

    A node's parent is the last node before it that is one less deep, so that depths say everything.

    Attributes:
        pixels: (D,) int64, the pixel of each node; every number below D once.
        depths: (D,) int64, 0 for the root alone.
    """

    pixels: np.ndarray
    depths: np.ndarray

    def __post_init__(self) -> None:
        pixels, depths = self.pixels, self.depths
        if pixels.ndim != 1 or pixels.shape != depths.shape or not pixels.size:
            raise ValueError(f"a tree needs a pixel and a depth for each node, not {pixels.shape} and {depths.shape}")
        if pixels.dtype != np.int64 or depths.dtype != np.int64:
            raise ValueError(f"pixels and depths must be int64, not {pixels.dtype} and {depths.dtype}")
        if not np.array_equal(np.sort(pixels), np.arange(pixels.size)):
            raise ValueError("a tree must have every pixel once")
        if depths[0] != 0 or np.any(depths[1:] < 1) or np.any(np.diff(depths) > 1):
            raise ValueError("the depths are not those of a tree in pre-order")

    def __len__(self) -> int:
        return self.pixels.size

    def parents(self) -> np.ndarray:
        """(D,) int64: the node above each node, -1 for the root."""
        result = np.empty(len(self), np.int64)
        path = np.empty(len(self), np.int64)
        for node, depth in enumerate(self.depths.tolist()):
            result[node] = path[depth - 1] if depth else -1
            path[depth] = node
        return result


def mutual_information(images: np.ndarray, bins: int = BINS) -> np.ndarray:
    """Mutual information of all pairs of pixels, values in equal bins.

    Args:
        images: (N, D) uint8.

    Returns:
        (D, D) float64 in nats, symmetric.
    """
    count, size = images.shape
    joint = np.zeros((size * bins, size * bins), np.float32)  # counts, exact below 2**24
    for begin in range(0, count, CHUNK):
        binned = images[begin : begin + CHUNK].astype(np.int64) * bins >> 8
        hot = (binned[..., None] == np.arange(bins)).reshape(len(binned), -1).astype(np.float32)
        joint += hot.T @ hot
    single = joint.diagonal().reshape(size, bins) / count
    result = np.zeros((size, size))
    for first in range(bins):
        for second in range(bins):
            both = joint[first::bins, second::bins] / count
            alone = np.outer(single[:, first], single[:, second])
            with np.errstate(divide="ignore", invalid="ignore"):
                result += np.where(both > 0, both * np.log(both / alone), 0)
    return result


def maximum_spanning_tree(weights: np.ndarray) -> np.ndarray:
    """Edges of the tree with the largest sum of weights (Prim's algorithm).

    Args:
        weights: (D, D), symmetric.

    Returns:
        (D - 1, 2) int64.
    """
    size = len(weights)
    outside = np.ones(size, bool)
    best, nearest = np.full(size, -np.inf), np.zeros(size, np.int64)
    edges, newest = np.empty((size - 1, 2), np.int64), 0
    for number in range(size - 1):
        outside[newest] = False
        closer = weights[newest] > best
        best[closer], nearest[closer] = weights[newest, closer], newest
        newest = int(np.where(outside, best, -np.inf).argmax())
        edges[number] = nearest[newest], newest
    return edges


def rooted_at_centre(edges: np.ndarray) -> Tree:
    """The tree of some edges (D - 1, 2) with the root in the middle of its longest path, so that it is least deep."""
    neighbours: list[list[int]] = [[] for _ in range(len(edges) + 1)]
    for first, second in edges.tolist():
        neighbours[first].append(second)
        neighbours[second].append(first)
    path = _longest_path_from(neighbours, _longest_path_from(neighbours, 0)[-1])
    pixels, depths = [], []
    stack = [(path[len(path) // 2], -1, 0)]
    while stack:
        pixel, parent, depth = stack.pop()
        pixels.append(pixel)
        depths.append(depth)
        stack += [(n, pixel, depth + 1) for n in sorted(neighbours[pixel], reverse=True) if n != parent]
    return Tree(np.array(pixels, np.int64), np.array(depths, np.int64))


def _longest_path_from(neighbours: list[list[int]], start: int) -> list[int]:
    """Pixels from `start` to one of those that are farthest from it."""
    before, queue, last = {start: -1}, deque([start]), start
    while queue:
        last = queue.popleft()
        for pixel in neighbours[last]:
            if pixel not in before:
                before[pixel] = last
                queue.append(pixel)
    path = [last]
    while before[path[-1]] >= 0:
        path.append(before[path[-1]])
    return path[::-1]


def chow_liu_tree(images: np.ndarray) -> Tree:
    """The Chow-Liu tree of images (N, D) uint8, rooted at its centre."""
    return rooted_at_centre(maximum_spanning_tree(mutual_information(images)))
