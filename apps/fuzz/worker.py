"""Cases in a process of their own, so that a crash, a hang and a hunger for memory are seen and end nothing else."""

import faulthandler
import multiprocessing
import os
import resource
import signal
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from fewbits.apps.fuzz.cases import VALUE, Case, Seeds, decode, parse, samples_in

SECONDS = 10
"""The time that a case may take."""
MEMORY = 1 << 30
"""Bytes of address space that cases may take beyond what the process has after it decoded the seeds."""
PATIENCE = 300  # seconds until the seeds are decoded, in which weights load and kernels compile
GROWTH = 2  # how much larger than its seed a file that is decoded may say it is

_PROCESSES = multiprocessing.get_context("fork")  # codecs of one's own stay registered in it


@dataclass(frozen=True)
class Outcome:
    """What came of a case.

    Attributes:
        error: `fewbits.apps.fuzz.cases.VALUE`, the name of an error of `fewbits.errors`, or that of a failure.
        decoded: whether the codec's decoder was reached.
        failure: where it was and what it said, of failures.
    """

    error: str
    decoded: bool = False
    failure: str = ""


def compile_kernels(files: Sequence[bytes]) -> None:
    """Decodes files in a process, so that kernels are compiled, and kept on disk, before cases are timed."""
    process = _PROCESSES.Process(target=_decode, args=(files,))
    process.start()
    process.join()


def outcome_of(case: Case, seeds: Seeds, deep: bool) -> Outcome:
    """Runs a case in this process.

    Args:
        deep: decode what can be parsed; else parse alone.
    """
    data = case.data(seeds)
    honest = case.sealed or data in seeds.all
    decoded = False
    try:
        error = parse(data, honest)
        decoded = deep and error in (VALUE, "DamagedSectionsError")
        return Outcome(decode(data, honest, GROWTH * case.size(seeds)) if decoded else error, decoded)
    except BaseException as error:  # panics of constriction are no `Exception`
        return Outcome(type(error).__name__, decoded, _place(error))


def outcomes(cases: Sequence[Case], seeds: Seeds, deep: bool) -> Iterator[Outcome]:
    """Runs cases in a process and gives what came of each, in their order.

    A case that ends the process, or takes longer than `SECONDS`, is a failure, and the next one gets another process.
    """
    done = 0
    while done < len(cases):
        ours, theirs = _PROCESSES.Pipe(duplex=False)
        process = _PROCESSES.Process(target=_run, args=(theirs, cases[done:], seeds, deep), daemon=True)
        process.start()
        theirs.close()
        try:
            _receive(ours, process, PATIENCE)
            while done < len(cases):
                outcome = _receive(ours, process, SECONDS)
                done += 1
                yield outcome
                if outcome.error in ("Hang", "Crash"):
                    break
        finally:
            process.kill()
            process.join()
            ours.close()


def _receive(connection: Connection, process: multiprocessing.process.BaseProcess, seconds: float) -> Outcome:
    """The next outcome from a process; a failure where none comes."""
    if not connection.poll(seconds):
        return Outcome("Hang", True, f"more than {seconds:g} s")
    try:
        return connection.recv()
    except EOFError:
        process.join()
        return Outcome("Crash", True, f"exit code {process.exitcode}")


def _decode(files: Sequence[bytes]) -> None:
    for data in files:
        decode(data, True, samples_in(data))


def _run(connection: Connection, cases: Sequence[Case], seeds: Seeds, deep: bool) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    faulthandler.disable()  # a crash is an outcome, told by the other side
    for data in seeds.own:
        parse(data, True)
    if deep:
        _decode(seeds.own)
    connection.send(Outcome(VALUE))
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    for case in cases:
        connection.send(outcome_of(case, seeds, deep))


def _place(error: BaseException) -> str:
    """The last line of fewbits that an error came through, and its message."""
    root = str(Path(__file__).resolve().parents[2])
    frames = [frame for frame in traceback.extract_tb(error.__traceback__)
              if frame.filename.startswith(root) and "site-packages" not in frame.filename]
    where = f"{os.path.relpath(frames[-1].filename, root)}:{frames[-1].lineno}" if frames else "somewhere"
    return f"{where}: {error}"
