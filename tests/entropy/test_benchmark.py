"""The benchmark of the entropy layer."""

import dataclasses

import numpy as np
import pytest

from fewbits.entropy.benchmark import Contender, entropy_benchmark, make_load, measure


def test_every_coder_gives_the_symbols_back_and_has_its_figures() -> None:
    records = {record.name: dataclasses.asdict(record) for record in entropy_benchmark(20_000)}
    assert len(records) >= 3  # two of ours, one of constriction
    for record in records.values():
        assert record["encode_per_s"] > 0
        assert record["decode_per_s"] > 0
        assert 0 < record["overhead_percent"] < 0.5


def test_ideal_is_the_entropy_of_the_source() -> None:
    """Within the spread of a sample: half log2 of 2 pi e variance per symbol, where the steps are small."""
    load = make_load(50_000)
    variance = np.square(np.geomspace(0.11, 64, 64)[load.index])
    wide = 0.5 * np.log2(2 * np.pi * np.e * variance)
    assert load.ideal_bits == pytest.approx(np.maximum(wide, 0).sum(), rel=0.05)


def test_a_coder_that_fails_is_not_reported() -> None:
    load = make_load(100)
    broken = Contender("broken", lambda: b"x", lambda data: np.zeros(100, np.int32))
    with pytest.raises(RuntimeError, match="broken"):
        measure(broken, load)
