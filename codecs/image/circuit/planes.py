"""The planes of a tile through the kernels, side by side: a plane is two rows behind those that it looks at.

A plane looks at neighbours of earlier planes on all sides. So planes need not wait for each other to end, only to be
`LAG` rows ahead, and run in threads of their own. What they compute does not depend on the threads.
"""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass

import numpy as np

from fewbits.codecs.image.circuit.experts import CALM, Expert, windows
from fewbits.errors import DamagedError
from fewbits.kernels import adaptive_rans
from fewbits.kernels.least_squares import MARGIN
from fewbits.kernels.residual_circuit import code_row, fresh_state

LAG = 2
THREADS = 3
POLL_SECONDS = 0.1

Report = Callable[[float], None]
"""Called with the share done. May raise to interrupt the work."""


@dataclass(frozen=True)
class PlaneRange:
    """What is known about a plane before it is coded.

    Attributes:
        low, high: its smallest and largest sample.
        sources: how many of the planes before it it looks at.
    """

    low: int
    high: int
    sources: int


class _Rows:
    """How far the planes are."""

    def __init__(self, planes: int) -> None:
        self._done, self._stopped, self._changed = [0] * planes, False, threading.Condition()

    def report(self, plane: int, rows: int) -> None:
        with self._changed:
            self._done[plane] = rows
            self._changed.notify_all()

    def wait(self, planes: int, rows: int) -> bool:
        """Until the first planes have so many rows; whether the work shall go on."""
        with self._changed:
            self._changed.wait_for(lambda: self._stopped or all(done >= rows for done in self._done[:planes]))
            return not self._stopped

    def stop(self) -> None:
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def total(self) -> int:
        return sum(self._done)


class PlaneCoder:
    """Codes the planes of a tile.

    Args:
        ranges: of the planes.
        experts: that predict them.
        unit: what a step of 8 bits is in the samples at hand.
    """

    def __init__(self, ranges: list[PlaneRange], experts: tuple[Expert, ...], unit: float) -> None:
        self._ranges, self._experts, self._unit = ranges, experts, unit

    def encode(self, planes: np.ndarray, report: Report) -> tuple[list[np.ndarray], float]:
        """Words of each plane that is not of one value, and the bits that the circuits estimate; planes (P, H, W)."""
        samples = np.zeros((len(planes), planes.shape[1] + 2 * MARGIN, planes.shape[2] + 2 * MARGIN), np.int32)
        samples[:, MARGIN:-MARGIN, MARGIN:-MARGIN] = planes
        intervals = [np.zeros(planes.shape[1:] if r.low < r.high else (0, 0), np.uint64) for r in self._ranges]
        nothing = np.zeros(0, np.uint32)
        coder = np.zeros(2, np.uint64)

        def code(plane: int, row: int, arguments: tuple) -> None:
            code_row(samples, plane, row, *arguments, nothing, coder, intervals[plane][row])

        self._run(samples, False, code, report)
        used = [i.reshape(-1) for i in intervals if i.size]
        return [adaptive_rans.encode_intervals(i) for i in used], sum(adaptive_rans.bits_of(i) for i in used)

    def decode(self, words: list[np.ndarray], height: int, width: int, report: Report) -> np.ndarray:
        """Inverse of `encode`: (P, H, W) int32. Raises `DamagedError` where that is certain."""
        samples = np.zeros((len(self._ranges), height + 2 * MARGIN, width + 2 * MARGIN), np.int32)
        given = iter(words)
        streams = [next(given) if r.low < r.high else np.zeros(0, np.uint32) for r in self._ranges]
        coders = [adaptive_rans.open_words(w) if w.size or r.low < r.high else np.zeros(2, np.uint64)
                  for w, r in zip(streams, self._ranges, strict=True)]
        room = np.zeros((len(self._ranges), width), np.uint64)

        def code(plane: int, row: int, arguments: tuple) -> None:
            code_row(samples, plane, row, *arguments, streams[plane], coders[plane], room[plane])
            if adaptive_rans.ran_down(coders[plane]):
                raise DamagedError("The tile is damaged: a plane ends before its samples end.")

        self._run(samples, True, code, report)
        for plane, coder in enumerate(coders):
            if streams[plane].size:
                adaptive_rans.check_end(coder)
        return samples[:, MARGIN:-MARGIN, MARGIN:-MARGIN]

    def _run(self, samples: np.ndarray, decoding: bool, code: Callable[[int, int, tuple], None],
             report: Report) -> None:
        """Calls `code` for every row of every plane that is not of one value, in an order that the planes allow."""
        height, width = samples.shape[1] - 2 * MARGIN, samples.shape[2] - 2 * MARGIN
        deviations = np.zeros(samples.shape)
        rows = _Rows(len(samples))

        def one(plane: int) -> None:
            ends = self._ranges[plane]
            if ends.low == ends.high:
                samples[plane] = ends.low
                rows.report(plane, height)
                return
            samples[plane, :MARGIN] = (ends.low + ends.high) >> 1
            state = fresh_state(width, [e.places(plane, ends.sources) for e in self._experts],
                                windows(self._experts, self._unit), CALM * self._unit, ends.sources)
            for row in range(height):
                if not rows.wait(ends.sources, min(row + 1 + LAG, height)):
                    return
                code(plane, row, (ends.low, ends.high, decoding, deviations, state))
                rows.report(plane, row + 1)

        with ThreadPoolExecutor(THREADS) as pool:
            tasks = [pool.submit(one, plane) for plane in range(len(samples))]
            try:
                while wait(tasks, POLL_SECONDS, "FIRST_EXCEPTION").not_done and not any(
                        task.done() and task.exception() for task in tasks):
                    report(rows.total() / (len(samples) * height))
            finally:
                rows.stop()
            for task in tasks:
                task.result()
