"""A progress bar for those who wait: on a terminal, once two seconds have passed."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from fewbits.codecs.codec import Progress

if TYPE_CHECKING:
    import rich.progress

PATIENCE = 2.0  # seconds


class _LateBar:
    """Called like every progress callback; shows nothing until patience is over."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        self.bar: rich.progress.Progress | None = None

    def __call__(self, share: float, what: str) -> None:
        if self.bar is None and time.monotonic() - self.began > PATIENCE:
            self.bar = _bar_on_stderr()
            self.bar.start()
            self.bar.add_task(what, total=1.0)
        if self.bar is not None:
            self.bar.update(self.bar.task_ids[0], completed=share, description=what)

    def close(self) -> None:
        if self.bar is not None:
            self.bar.stop()


def _bar_on_stderr() -> "rich.progress.Progress":
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    # what is printed meanwhile goes above the bar, but never from a redirected standard output to the terminal
    return Progress(*columns, console=Console(stderr=True), transient=True, redirect_stdout=sys.stdout.isatty())


@contextmanager
def progress_bar() -> Iterator[Progress]:
    """A progress callback for one command; it stays silent where standard error is not a terminal."""
    if not sys.stderr.isatty():
        yield lambda share, what: None
        return
    bar = _LateBar()
    try:
        yield bar
    finally:
        bar.close()
