"""The history of speeds: what becomes of measurements, on made ones."""

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest


@pytest.fixture
def history(root: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """docs/speed_history.py."""
    monkeypatch.syspath_prepend(root / "docs")
    monkeypatch.delitem(sys.modules, "speed_history", raising=False)
    import speed_history

    return speed_history


def results(history: ModuleType, encode_s: float = 0.3, cores: int = 2) -> dict[str, Any]:
    """What `fewbits bench --json` prints of a codec that takes so long where its rival takes 0.2 s."""
    packages = dict.fromkeys(history.PACKAGES, "1.0")
    return {
        "environment": {"date": "2026-11-23T10:00:00+00:00", "python": "3.11.7", "system": "Linux x86_64",
                        "processor": "one of many", "cores": cores, "packages": packages},
        "codecs": [{"codec": "ours", "encode_s": encode_s, "decode_s": 0.1},
                   {"codec": history.PHOTO_RIVAL, "encode_s": 0.2, "decode_s": 0.01}],
        "entropy": [{"name": "ours, compiled", "encode_per_s": 4e7, "decode_per_s": 1e7},
                    {"name": history.ENTROPY_RIVAL, "encode_per_s": 2e7, "decode_per_s": 1e7}],
    }


def test_ratios_are_times_over_those_of_the_rival(history: ModuleType) -> None:
    line = history.record("abc", results(history))
    assert line["commit"] == "abc" and line["date"] == "2026-11-23" and line["machine"].endswith(", 2")
    assert line["ratios"] == {"ours, encode": 1.5, "ours, decode": 10.0,
                              "ours, compiled, encode": 0.5, "ours, compiled, decode": 1.0}


def test_a_codec_that_got_slower_is_told_by_the_median_of_earlier_lines(history: ModuleType) -> None:
    earlier = [history.record("a", results(history, seconds)) for seconds in (0.2, 0.3, 9)]
    late = 0.3 * history.FACTOR
    assert history.slower(history.record("d", results(history, late * 0.99)), earlier) == {}
    now = history.record("d", results(history, late * 2))
    assert history.slower(now, earlier) == {"ours, encode": pytest.approx(2 * history.FACTOR)}
    told = [line for line in history.report(now, earlier).splitlines() if "times slower" in line]
    assert len(told) == 1 and told[0].startswith("ours, encode ") and " 1.5 " in told[0]


def test_other_machines_and_new_codecs_are_not_compared(history: ModuleType) -> None:
    earlier = [history.record("a", results(history, cores=64))]
    now = history.record("b", results(history, encode_s=100))
    assert history.slower(now, earlier) == {} and history.earlier_median("ours, encode", now, earlier) is None
    assert "-" in history.report(now, earlier).splitlines()[-1]

