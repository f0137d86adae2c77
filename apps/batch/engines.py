"""Where files are converted: in processes of this machine, or on a Ray cluster.

An engine takes jobs as it needs them, never many at once, and gives results as they come, in any order.
"""

import logging
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from types import FrameType
from typing import Any, Protocol, TypeVar

from fewbits.errors import FewbitsError, InputError
from fewbits.eval.environment import cores

Job = TypeVar("Job")
Result = TypeVar("Result")
Handle = TypeVar("Handle")

IN_HAND = 2  # jobs of each worker: one that it does, one that waits for it
_leaving = threading.Event()  # in a process of the pool that was told to end
GO_ON = "The same command again goes on from what is done."


class Engine(Protocol):
    """Does `work` for each job, with so many workers; None for all cores.

    Raises:
        FewbitsError: when a worker is lost, and what it had in hand with it.
    """

    def __call__(
        self, work: Callable[[Job], Result], jobs: Iterable[Job], workers: int | None
    ) -> Generator[Result, None, None]: ...


def in_processes(
    work: Callable[[Job], Result], jobs: Iterable[Job], workers: int | None
) -> Generator[Result, None, None]:
    """The engine for one machine: each process has one thread for networks, so that cores are not shared."""
    workers = workers or cores()
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _prepare_process) as pool:
        def submit(job: Job) -> Future[Result]:
            return pool.submit(_in_process, work, job)

        try:
            for future in _window(jobs, IN_HAND * workers, submit, _first_futures):
                yield future.result()
        except BrokenProcessPool:
            raise FewbitsError("A process of the batch was killed, perhaps because memory ran out: fewer --jobs need "
                               f"less. {GO_ON}") from None
        except BaseException:  # an interrupt, or nobody wants the results any more
            for process in multiprocessing.active_children():
                process.terminate()
            pool.shutdown(cancel_futures=True)
            raise


def on_ray(
    work: Callable[[Job], Result], jobs: Iterable[Job], workers: int | None
) -> Generator[Result, None, None]:
    """The engine for a Ray cluster, whose machines see the same files under the same names.

    The cluster is that of RAY_ADDRESS, or the one that runs on this machine, or else one that is started for the batch.
    What a lost worker had in hand is given to another.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nobody is told what runs here
    try:
        import ray
    except ImportError:
        raise InputError("The engine ray needs Ray, which is not installed: pip install 'fewbits[ray]'.") from None

    def submit(job: Job) -> Any:
        return remote.remote(work, here, job)

    def first(handles: set[Any]) -> tuple[Iterable[Any], set[Any]]:
        ready, others = ray.wait(list(handles), num_returns=1)
        return ready, set(others)

    remote: Any = ray.remote(_on_ray)
    here = os.getcwd()
    ray.init(log_to_driver=False, logging_level=logging.WARNING)
    try:
        workers = workers or max(1, int(ray.cluster_resources().get("CPU", 1)))
        for handle in _window(jobs, IN_HAND * workers, submit, first):
            yield ray.get(handle)
    except ray.exceptions.RayError as error:
        raise FewbitsError(f"The Ray cluster lost a file: {str(error).splitlines()[0]} {GO_ON}") from None
    finally:
        ray.shutdown()


def _window(
    jobs: Iterable[Job], size: int, submit: Callable[[Job], Handle],
    first: Callable[[set[Handle]], tuple[Iterable[Handle], set[Handle]]],
) -> Generator[Handle, None, None]:
    """Submits jobs, at most `size` at a time, and gives those that are finished, which `first` waits for."""
    pending: set[Handle] = set()
    for job in jobs:
        pending.add(submit(job))
        if len(pending) == size:
            finished, pending = first(pending)
            yield from finished
    while pending:
        finished, pending = first(pending)
        yield from finished


def _first_futures(futures: set[Future[Result]]) -> tuple[set[Future[Result]], set[Future[Result]]]:
    finished, others = wait(futures, return_when=FIRST_COMPLETED)
    return finished, others


def _one_thread() -> None:
    """For torch and numba, which are not imported yet in a new process."""
    os.environ.update(OMP_NUM_THREADS="1", NUMBA_NUM_THREADS="1")


def _on_ray(work: Callable[[Job], Result], folder: str, job: Job) -> Result:
    """`folder`: the one that relative paths begin in."""
    _one_thread()
    os.chdir(folder)
    return work(job)


def _prepare_process() -> None:
    """A process of the pool leaves interrupts to its parent, removes what is half-written when told to end, and ends
    with its parent."""
    _one_thread()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _leave)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _leave(number: int, frame: FrameType | None) -> None:
    signal.signal(number, signal.SIG_IGN)  # the pool tells it twice, the second time amid the clearing up
    _leaving.set()
    sys.exit(128 + number)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _in_process(work: Callable[[Job], Result], job: Job) -> Result:
    # the pool takes SystemExit for a result, wherever in the call it is raised, and goes on with the next job
    try:
        if not _leaving.is_set():
            return work(job)
    except SystemExit:
        pass
    os._exit(1)
