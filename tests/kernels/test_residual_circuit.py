"""Photo planes: the compiled loops compute what the plain reference says, bit for bit, and decoding inverts them."""

import numpy as np
import pytest

from fewbits.codecs.image.circuit.experts import SETS, windows
from fewbits.kernels import adaptive_rans
from fewbits.kernels.ans import TOTAL
from fewbits.kernels.least_squares import LANES, MARGIN, geometry
from fewbits.kernels.logistic import CENTRE, LOGISTIC, STEPS
from fewbits.kernels.residual_circuit import code_row, fresh_state
from fewbits.kernels.residual_reference import PlaneReference

NOTHING = np.zeros(0, np.uint32)
SHAPES = [(1, 1), (1, 13), (13, 1), (2, 2), (9, 21)]


def textured(height: int, width: int, planes: int, high: int) -> np.ndarray:
    """(planes, height, width) int32: waves with noise, correlated from plane to plane."""
    rng = np.random.default_rng(height + width)
    y, x = np.mgrid[:height, :width]
    first = high / 2 * (1 + 0.8 * np.sin(x / 5 + y / 3)) + rng.normal(0, high / 40, (height, width))
    rest = [first / (p + 2) - high / 5 + rng.normal(0, high / 60, (height, width)) for p in range(planes - 1)]
    return np.round(np.clip(np.stack([first, *rest]), -high, high)).astype(np.int32)


class Compiled:
    """Codes the planes of a picture one after another."""

    def __init__(self, planes: np.ndarray, experts: int, unit: float = 1.0) -> None:
        self.planes, self.unit, self.experts = planes, unit, SETS[experts]
        padded = (len(planes), planes.shape[1] + 2 * MARGIN, planes.shape[2] + 2 * MARGIN)
        self.samples, self.deviations = np.zeros(padded, np.int32), np.zeros(padded)
        self.samples[:, MARGIN:-MARGIN, MARGIN:-MARGIN] = planes

    def code(self, plane: int, words: np.ndarray | None = None) -> np.ndarray:
        """(H, W) intervals; or, from words, decodes the plane in place."""
        low, high = int(self.planes[plane].min()), int(self.planes[plane].max())
        self.samples[plane, :MARGIN] = (low + high) >> 1
        state = fresh_state(self.planes.shape[2], [e.places(plane, plane) for e in self.experts],
                            windows(self.experts, self.unit), 2.0 * self.unit, plane)
        intervals = np.zeros(self.planes.shape[1:], np.uint64)
        coder = np.zeros(2, np.uint64) if words is None else adaptive_rans.open_words(words)
        for row, room in enumerate(intervals):
            code_row(self.samples, plane, row, low, high, words is not None, self.deviations, state,
                     NOTHING if words is None else words, coder, room)
        if words is not None:
            adaptive_rans.check_end(coder)
        return intervals


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("experts", "high"), [(0, 255), (2, 60000), (3, 255)])
def test_equal_to_the_reference(shape, experts, high):
    planes = textured(*shape, 3, high)
    unit = max(high / 256, 1.0)
    compiled = Compiled(planes, experts, unit)
    deviations = np.zeros(planes.shape)
    for plane in range(len(planes)):
        if planes[plane].min() == planes[plane].max():
            continue
        intervals = compiled.code(plane).astype(np.int64)
        reference = PlaneReference(planes, plane, [e.places(plane, plane) for e in SETS[experts]],
                                   windows(SETS[experts], unit), 2.0 * unit, plane, deviations).intervals()
        assert np.array_equal(intervals >> 24, reference[..., 0])
        assert np.array_equal(intervals & TOTAL - 1, reference[..., 1])
        assert np.array_equal(compiled.deviations[plane, MARGIN:-MARGIN, MARGIN:-MARGIN], deviations[plane])


@pytest.mark.parametrize("shape", [(1, 40), (40, 1), (17, 31)])
@pytest.mark.parametrize("high", [1, 255, 65535])
def test_decoding_gives_the_samples_back(shape, high):
    planes = textured(*shape, 2, high)
    compiled, decoded = Compiled(planes, 1), Compiled(planes, 1)
    decoded.samples[:] = 0
    for plane in range(len(planes)):
        if planes[plane].min() == planes[plane].max():
            compiled.samples[plane] = decoded.samples[plane] = planes[plane, 0, 0]
            continue
        words = adaptive_rans.encode_intervals(compiled.code(plane).reshape(-1))
        decoded.code(plane, words)
    assert np.array_equal(decoded.samples[:, MARGIN:-MARGIN, MARGIN:-MARGIN], planes)


def test_extreme_samples_stay_within_the_coder():
    planes = np.where(np.random.default_rng(1).random((1, 24, 40)) < 0.5, 0, 65535).astype(np.int32)
    intervals = Compiled(planes, 3).code(0)
    assert (intervals & np.uint64(TOTAL - 1)).min() >= 1
    assert ((intervals >> np.uint64(24)) + (intervals & np.uint64(TOTAL - 1))).max() <= TOTAL


def test_the_logistic_table_is_exact():
    exact = 1 / (1 + np.exp(-(np.arange(len(LOGISTIC)) - CENTRE) / STEPS))
    assert np.abs(LOGISTIC - exact).max() <= 2.0**-33 * (1 + 1e-6)
    assert LOGISTIC[0] == 0 and LOGISTIC[-1] == 1 and (np.diff(LOGISTIC) >= 0).all()
    assert (LOGISTIC * 2.0**32 == np.round(LOGISTIC * 2.0**32)).all()


def test_geometry_keeps_every_cell_from_the_diagonal_on():
    shape = geometry([1, 7, 8, 50])
    for first, inputs, columns, cell, cells in shape.tolist():
        assert columns >= inputs + 1 and columns % LANES == 0
        assert cells >= inputs * (inputs + 1) // 2 + inputs
        assert (first, cell) >= (0, 0)
    assert shape[1, 0] == shape[0, 2] and shape[2, 3] == shape[1, 3] + shape[1, 4]
