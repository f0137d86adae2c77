"""Cases for every codec of the registry, in a budget of time, and a table of what came of them."""

import re
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from fewbits.apps.fuzz.cases import VALUE, Case, Seeds
from fewbits.apps.fuzz.worker import Outcome, outcomes
from fewbits.codecs import registry
from fewbits.entropy import container
from fewbits.errors import InputError

PARSES, DECODES = 100_000, 2_000
"""The most cases of a codec that are parsed, and that reach its decoder."""
SHARE_OF_PARSES = 0.3  # of the time of a codec
BATCH = 50_000  # cases that a process is given
SHRINKS = 3  # failures of a codec that are made smaller, of those that differ


@dataclass
class Tally:
    """What came of the cases of a codec.

    Attributes:
        parsed, decoded: cases that were taken apart, and that reached the codec's decoder.
        errors: how often each error of `fewbits.errors` came, and `VALUE` where none did.
        failures: what else came, by name and place, with how often and a case.
        seconds: that it took, once weights were loaded.
    """

    parsed: int = 0
    decoded: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    failures: dict[str, tuple[int, Case]] = field(default_factory=dict)
    seconds: float = 0.0

    def note(self, outcome: Outcome, case: Case) -> None:
        """Counts a case."""
        self.parsed += 1
        self.decoded += outcome.decoded
        if not outcome.failure:
            self.errors[outcome.error] += 1
            return
        sign = _sign(outcome)
        count, first = self.failures.get(sign, (0, case))
        self.failures[sign] = count + 1, first


def seeds_in(folders: Sequence[Path]) -> dict[str, Seeds]:
    """The `.fwb` files of folders, by codec; all codecs that work as they are installed must have some.

    Raises:
        InputError: if a codec has none.
        StreamError: if a file is none.
    """
    found: dict[str, list[bytes]] = {name: [] for name in registry.names()}
    for path in sorted(path for folder in folders for path in folder.glob("*.fwb")):
        data = path.read_bytes()
        header, _ = container.read_header(data, registry.settings_of_number)
        found.setdefault(registry.entry_of_number(header.codec).name, []).append(data)
    missing = [name for name, own in found.items() if not own]
    if missing:
        raise InputError(f"No file of {', '.join(missing)} to change: put one into {folders[-1]}.")
    everything = tuple(data for own in found.values() for data in own)
    return {name: Seeds(tuple(own), everything) for name, own in found.items()}


def fuzz(seeds: Seeds, seconds: float, first: int) -> Tally:
    """Tries a codec: cases that are parsed alone, then cases that are decoded too.

    Args:
        first: number of the first case; other numbers are other cases.
    """
    tally = Tally()
    for deep, share in ((False, SHARE_OF_PARSES), (True, 1 - SHARE_OF_PARSES)):
        began = 0.0
        for case, outcome in _endless(seeds, deep, first):
            tally.note(outcome, case)
            began = began or time.monotonic()  # before, the process loaded weights
            enough = tally.decoded >= DECODES if deep else tally.parsed >= PARSES
            if enough or time.monotonic() - began > share * seconds:
                break
        tally.seconds += time.monotonic() - began
    return tally


def _endless(seeds: Seeds, deep: bool, first: int) -> Iterator[tuple[Case, Outcome]]:
    while True:
        cases = [Case.of_number(number) for number in range(first, first + BATCH)]
        yield from zip(cases, outcomes(cases, seeds, deep), strict=True)
        first += BATCH


def shrunk(case: Case, sign: str, seeds: Seeds) -> Case:
    """The case with as few of its steps as the same failure takes, left out one by one."""
    for step in case.steps:
        fewer = replace(case, steps=tuple(other for other in case.steps if other != step))
        (outcome,) = outcomes([fewer], seeds, deep=True)
        if outcome.failure and _sign(outcome) == sign:
            case = fewer
    return case


def keep(tally: Tally, codec: str, seeds: Seeds, folder: Path) -> list[Path]:
    """Writes the changed files of the failures that differ, the first ones of them made smaller."""
    paths = []
    for number, (sign, (_, case)) in enumerate(tally.failures.items()):
        least = shrunk(case, sign, seeds) if number < SHRINKS else case
        paths.append(folder / f"{codec}-{re.sub('[^A-Za-z0-9.]+', '-', sign)[:80]}.fwb")
        folder.mkdir(parents=True, exist_ok=True)
        paths[-1].write_bytes(least.data(seeds))
    return paths


def _sign(outcome: Outcome) -> str:
    """What makes two failures the same: the name, and the place."""
    return f"{outcome.error} {':'.join(outcome.failure.split(':')[:2])}"


HEAD = """| codec | files changed | reached the decoder | values | errors | failures | s |
| --- | --- | --- | --- | --- | --- | --- |"""
"""The beginning of the table, in Markdown."""


def row(name: str, tally: Tally) -> str:
    """The line of a codec in the table."""
    errors = ", ".join(f"{error.removesuffix('Error')} {count:,}" for error, count in tally.errors.most_common()
                       if error != VALUE)
    failed = sum(count for count, _ in tally.failures.values())
    cells = (name, f"{tally.parsed:,}", f"{tally.decoded:,}", f"{tally.errors[VALUE]:,}", errors, str(failed),
             f"{tally.seconds:.0f}")
    return f"| {' | '.join(cells)} |"
