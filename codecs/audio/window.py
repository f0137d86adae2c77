"""The part of a long axis that is needed at a time."""

from collections.abc import Iterator

import torch
from torch import Tensor


class Window:
    """Tensors (..., n) that come one after the other, joined along the last axis as far as they are looked at.

    What is looked at moves forwards: everything before it is let go.
    """

    def __init__(self, parts: Iterator[Tensor]) -> None:
        self._parts = parts
        self._held: list[Tensor] = []
        self._start = self._stop = 0  # of what is held

    def reach(self, stop: int) -> int:
        """Takes parts until the axis is known up to `stop`; gives how far it is, less only where the axis ends."""
        while self._stop < stop and (part := next(self._parts, None)) is not None:
            self._held.append(part)
            self._stop += part.shape[-1]
        return self._stop

    def part(self, start: int, stop: int) -> Tensor:
        """`start..stop`, or as much of it as there is; what lies before `start` cannot be had again."""
        self.reach(stop)
        joined = torch.cat(self._held, -1)[..., start - self._start :]
        self._held, self._start = [joined], start
        return joined[..., : stop - start]
