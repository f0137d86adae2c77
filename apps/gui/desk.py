"""Where the work of visitors is done: a folder for each and each tab, and a way to stop what runs there."""

import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from fewbits.codecs.codec import Progress
from fewbits.errors import InputError


class StoppedError(Exception):
    """The visitor does not want the result any more."""


class Desk:
    """The place of one visitor in one tab. It keeps the files of the latest result that was finished."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._shown: Path | None = None
        self._running: set[threading.Event] = set()

    @contextmanager
    def work(self, report: Progress, seconds: float) -> Iterator[tuple[Path, Progress]]:
        """A folder for the files of a result, and the progress callback that ends the work when that is wanted.

        The files stay until the next result is there; those of work that failed or was stopped go at once.

        Raises:
            StoppedError: from the callback, after `stop`.
            InputError: from the callback, when the seconds are over.
        """
        stop, ends = threading.Event(), time.monotonic() + seconds

        def watched(share: float, what: str) -> None:
            if stop.is_set():
                raise StoppedError
            if time.monotonic() > ends:
                raise InputError(f"This takes longer than {seconds / 60:g} minutes, the limit of this page: take a "
                                 "lower effort or a smaller file, or the command line.")
            report(share, what)

        self._running.add(stop)
        folder = Path(tempfile.mkdtemp(dir=self._root))
        try:
            yield folder, watched
            watched(1, "done")
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        finally:
            self._running.discard(stop)
        before, self._shown = self._shown, folder
        if before:
            shutil.rmtree(before, ignore_errors=True)

    def stop(self) -> None:
        """Ends what runs here, at its next step."""
        for stop in list(self._running):
            stop.set()

    def clear(self) -> None:
        """Ends what runs here and removes the files of the latest result."""
        self.stop()
        if self._shown:
            shutil.rmtree(self._shown, ignore_errors=True)


class Desks:
    """The desks of all visitors, by the name of their session and that of the tab.

    Args:
        root: a folder that is there; what a page shows lies in it.
        until_ready: waits for the warm-up of the page, beside which work would load the same once more.
    """

    def __init__(self, root: Path, until_ready: Callable[[], object] = lambda: None) -> None:
        self.root, self.until_ready = root, until_ready
        self._lock = threading.Lock()
        self._desks: dict[tuple[str, str], Desk] = {}

    def of(self, visitor: str, tab: str) -> Desk:
        """The desk of a visitor in a tab."""
        with self._lock:
            return self._desks.setdefault((visitor, tab), Desk(self.root))

    def leave(self, visitor: str) -> None:
        """Ends all work of a visitor and removes its files."""
        with self._lock:
            gone = [self._desks.pop(key) for key in list(self._desks) if key[0] == visitor]
        for desk in gone:
            desk.clear()

    def close(self) -> None:
        """Ends all work of all visitors."""
        for visitor in {key[0] for key in list(self._desks)}:
            self.leave(visitor)
