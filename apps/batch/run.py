"""A batch of files: those that are not done yet go through an engine, and the manifest says what became of them."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from fewbits.apps.batch.engines import Engine
from fewbits.apps.batch.manifest import Item, Manifest
from fewbits.apps.cli.conversion import Conversion, Outcome
from fewbits.apps.cli.paths import Job, refuse_existing
from fewbits.codecs.codec import Progress, no_progress
from fewbits.errors import FewbitsError, InputError

Say = Callable[[Job, str], None]
"""Tells the user a sentence about a file."""


@dataclass
class Totals:
    """Sums over the files of a kind of media.

    Attributes:
        bytes_in, bytes_out: read and written.
        seconds: of coding, of all workers together.
        coded: bytes of the `.fwb` files, those read or those written.
        amounts: for each rate in `Outcome.rate`, `coded` divided by it.
    """

    files: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    seconds: float = 0.0
    coded: int = 0
    amounts: dict[str, float] = field(default_factory=lambda: defaultdict(float))

    def add(self, outcome: Outcome, bytes_in: int, bytes_out: int, seconds: float) -> None:
        self.files += 1
        self.bytes_in += bytes_in
        self.bytes_out += bytes_out
        self.seconds += seconds
        self.coded += outcome.size
        for name in {"bits_per_pixel", "kbps"} & outcome.rate.keys():
            self.amounts[name] += outcome.size / outcome.rate[name]

    @property
    def rate(self) -> dict[str, float]:
        """Of all files together, as in `Outcome.rate`."""
        return {name: self.coded / amount for name, amount in self.amounts.items()}


@dataclass
class Summary:
    """What a run came to: sums by kind of media, files done by earlier runs, failures, exit code of the first."""

    totals: dict[str, Totals] = field(default_factory=lambda: defaultdict(Totals))
    skipped: int = 0
    failures: int = 0
    exit_code: int = 0

    @property
    def done(self) -> int:
        return sum(totals.files for totals in self.totals.values())


@dataclass(frozen=True)
class Result:
    """What a worker gives back: what came of a file and the bytes of its target, or the error; and the seconds."""

    job: Job
    seconds: float
    outcome: Outcome | None = None
    size: int = 0
    error: FewbitsError | None = None


class Batch:
    """Files for one folder with one set of options.

    Args:
        overwrite: whether files that no batch made may be replaced.
        retry: whether files that failed with the same options are tried again.
    """

    def __init__(self, jobs: list[Job], manifest: Manifest, options: dict[str, Any], *, overwrite: bool, retry: bool,
                 say: Say, progress: Progress = no_progress) -> None:
        self.jobs = jobs
        self.manifest = manifest
        self.options = options
        self.overwrite = overwrite
        self.retry = retry
        self.say = say
        self.progress = progress
        self.summary = Summary()
        self._in_hand: dict[Job, Item] = {}

    def run(self, engine: Engine, convert: Conversion, workers: int | None) -> None:
        """Converts what is not done yet. What fails is recorded and does not stop the others.

        Raises:
            FewbitsError: if the engine loses a worker, or the manifest cannot be written.
        """
        with closing(engine(partial(convert_one, convert), self._begun(), workers)) as results:
            for result in results:
                self._end(result)

    def _begun(self) -> Iterator[Job]:
        """The jobs that are to be done, each entered in the manifest when it is taken."""
        for job in self.jobs:
            try:
                if not self._is_due(job):
                    continue
            except FewbitsError as error:
                self._fail(job, error)
                continue
            self.manifest.begin(self._in_hand[job])
            yield job

    def _is_due(self, job: Job) -> bool:
        """Raises `FewbitsError` for what cannot be done, or failed before."""
        assert job.output is not None
        item = Item.of(job, self.manifest.folder, self.options)
        known = self.manifest.known(item)
        if known is not None and known.state == "done" and job.output.exists():
            self.summary.skipped += 1
            self._show(job)
            return False
        if known is not None and known.error is not None and not self.retry:
            raise known.error
        refuse_existing(job.output, self.overwrite or self.manifest.owns(item))
        self._in_hand[job] = item
        return True

    def _end(self, result: Result) -> None:
        item = self._in_hand.pop(result.job)
        if result.outcome is None:
            assert result.error is not None
            self.manifest.failed(item, result.error)
            self._fail(result.job, result.error)
            return
        self.manifest.done(item, result.size, result.seconds)
        self.summary.totals[result.outcome.kind].add(result.outcome, item.size, result.size, result.seconds)
        for notice in result.outcome.notices:
            self.say(result.job, notice)
        self._show(result.job)

    def _fail(self, job: Job, error: FewbitsError) -> None:
        self.summary.failures += 1
        self.summary.exit_code = self.summary.exit_code or error.exit_code
        self.say(job, str(error))
        self._show(job)

    def _show(self, job: Job) -> None:
        ended = self.summary.done + self.summary.skipped + self.summary.failures
        self.progress(ended / len(self.jobs), f"{ended} of {len(self.jobs)}: {job.source_name}")


def convert_one(convert: Conversion, job: Job) -> Result:
    """The work of a worker. The target may be overwritten: whether it may was settled before. Raises nothing."""
    assert job.output is not None
    began = time.perf_counter()
    error: FewbitsError
    try:
        outcome = convert(job, True, no_progress)
        return Result(job, time.perf_counter() - began, outcome, _size(job.output))
    except FewbitsError as known:
        error = known
    except OSError as known:
        error = InputError(str(known))
    except Exception as fault:  # one file must not end a night's work; the manifest keeps the sentence
        error = FewbitsError(f"This is a fault of fewbits and worth a report: {type(fault).__name__}: {fault}")
    return Result(job, time.perf_counter() - began, error=error)


def _size(path: Path) -> int:
    """Bytes of a file, or of those in a folder."""
    return sum(p.stat().st_size for p in (path, *path.rglob("*")) if p.is_file())
