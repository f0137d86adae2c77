"""Changed files for every codec, and the bench that makes more of them."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fewbits.apps.fuzz import bench, cases, worker
from fewbits.apps.fuzz.cases import Case, Seeds
from fewbits.apps.fuzz.mutations import mutated, sealed
from fewbits.codecs import files, registry
from fewbits.codecs.codec import Codec, Progress, Stream, Target, no_progress
from fewbits.codecs.media import Image

TESTS = Path(__file__).resolve().parents[1]
CORPUS = sorted((TESTS / "corpus").glob("*.fwb"))


@pytest.fixture(scope="module")
def seeds() -> dict[str, Seeds]:
    return bench.seeds_in([TESTS / "golden", TESTS / "corpus"])


@pytest.mark.parametrize("name", registry.names())
def test_changed_files_end_in_values_or_errors_of_ours(seeds: dict[str, Seeds], name: str) -> None:
    for number in range(152):
        case = Case.of_number(number)
        outcome = worker.outcome_of(case, seeds[name], deep=number >= 148)
        assert not outcome.failure, f"case {number}: {outcome}"


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.stem)
def test_files_that_once_failed_end_in_values_or_errors_of_ours(path: Path) -> None:
    data = path.read_bytes()
    cases.parse(data, honest=True)
    cases.decode(data, honest=True, size=1 << 18)


def test_the_same_case_is_the_same_file_and_its_twin_has_the_right_checksums(seeds: dict[str, Seeds]) -> None:
    for number in range(0, 200, 2):
        wrong, right = Case.of_number(number), Case.of_number(number + 1)
        assert wrong.data(seeds["hyperprior"]) == Case.of_number(number).data(seeds["hyperprior"])
        assert right.data(seeds["hyperprior"]) == sealed(wrong.data(seeds["hyperprior"]))
        assert wrong.steps == right.steps


def test_every_mutation_changes_a_file_of_several_sections() -> None:
    data = (TESTS / "golden" / "hyperprior-4.fwb").read_bytes()
    changed = [mutated(data, [data], step) for step in range(300)]
    assert sum(other != data for other in changed) > 250


class Broken(Codec[Image]):
    """Decodes once, as the bench does before it begins; after that it does what `deeds` say, one after the other."""

    name, kind, family, lossless, weights_id = "broken", "image", "circuit", False, b""

    def __init__(self, deeds: list[Callable[[], object]]) -> None:
        self._deeds = iter([lambda: None, *deeds])

    def encode(self, media: Image, target: Target, progress: Progress = no_progress) -> Stream:
        return Stream({}, [b"hello"])

    def decode(self, stream: Stream, shape: dict[str, int], progress: Progress = no_progress) -> Image:
        height = next(self._deeds)() or shape["height"]
        return Image(np.zeros((height, shape["width"], 3), np.uint8))


@pytest.fixture
def outcomes_of(monkeypatch: pytest.MonkeyPatch):
    """The names of what comes of whole files, decoded by a codec that does this and that."""
    def run(*deeds: Callable[[], object]) -> list[str]:
        for known in ("_BY_NAME", "_BY_NUMBER"):
            monkeypatch.setattr(registry, known, dict(getattr(registry, known)))
        registry.register(registry.Entry("broken", 200, "image", "circuit", False, "", (), "nowhere:none"))
        monkeypatch.setattr(registry, "create", lambda *arguments: broken)
        broken = Broken(list(deeds))
        data = files.encode(Image(np.zeros((4, 4, 3), np.uint8)), "broken").data
        monkeypatch.setattr(worker, "SECONDS", 1)
        whole = [Case(0, (), sealed=True)] * len(deeds)
        return [outcome.error for outcome in worker.outcomes(whole, Seeds((data,), (data,)), deep=True)]

    return run


def fail() -> None:
    raise TypeError("not one of ours")


def test_wrong_errors_shapes_and_hunger_for_memory_are_seen(outcomes_of) -> None:
    huge = 2 * worker.MEMORY
    assert outcomes_of(fail, lambda: 5, lambda: bytearray(huge), lambda: None) == [
        "TypeError", "SilentlyWrongError", "MemoryError", cases.VALUE]


def test_crashes_and_hangs_are_seen_and_the_next_case_has_its_turn(outcomes_of) -> None:
    assert outcomes_of(os.abort, lambda: None) == ["Crash", "Crash"]  # in a new process, the first deed comes again
    assert outcomes_of(lambda: time.sleep(60), lambda: None) == ["Hang", "Hang"]


def test_damage_that_nobody_notices_is_a_failure(seeds: dict[str, Seeds], monkeypatch: pytest.MonkeyPatch) -> None:
    data = seeds["hyperprior"].own[0]
    monkeypatch.setattr(files, "parse", lambda data, **options: None)
    with pytest.raises(cases.SilentlyWrongError):
        cases.parse(data[:-1], honest=False)


def test_failures_are_counted_and_made_smaller(seeds: dict[str, Seeds], monkeypatch: pytest.MonkeyPatch) -> None:
    def only_the_second(cases_, seeds, deep):
        return [worker.Outcome("TypeError", True, "codec.py:7: no") if 2 in case.steps else worker.Outcome("value")
                for case in cases_]

    monkeypatch.setattr(bench, "outcomes", only_the_second)
    case = Case(0, (1, 2, 3), sealed=True)
    assert bench.shrunk(case, "TypeError codec.py:7", seeds["mcq"]).steps == (2,)
    tally = bench.Tally()
    for outcome in only_the_second([case, Case(0, (1,), False)], seeds, True):
        tally.note(outcome, case)
    assert bench.row("mcq", tally) == "| mcq | 2 | 1 | 1 |  | 1 | 0 |"
