"""The progress bar: only for people, and only for those who wait."""

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import sys, time
from fewbits.apps.cli import progress
progress.PATIENCE = float(sys.argv[1])
with progress.progress_bar() as report:
    for i in range(8):
        report(i / 8, "counting sheep")
        time.sleep(0.1)
    print("result")
print("done")
"""


def on_terminal(patience: float, root: Path) -> tuple[bytes, bytes]:
    """Standard output, and standard error as a terminal received it."""
    terminal, end = pty.openpty()
    environment = os.environ | {"PYTHONPATH": str(root), "TERM": "xterm"}
    command = [sys.executable, "-c", SCRIPT, str(patience)]
    try:
        result = subprocess.run(command, stdout=subprocess.PIPE, stderr=end, env=environment, timeout=60)
        os.write(end, b"END")  # so that there is something to read
        return result.stdout, os.read(terminal, 1 << 16)
    finally:
        os.close(terminal)
        os.close(end)


def test_a_long_run_on_a_terminal_shows_progress(root: Path) -> None:
    out, error = on_terminal(0.2, root)
    assert b"counting sheep" in error
    assert out == b"result\ndone\n"


def test_a_short_run_on_a_terminal_shows_nothing(root: Path) -> None:
    assert on_terminal(60, root) == (b"result\ndone\n", b"END")


@pytest.mark.parametrize("patience", ["0", "60"])
def test_elsewhere_nothing_is_shown(patience: str, root: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(root)}
    result = subprocess.run([sys.executable, "-c", SCRIPT, patience], capture_output=True, env=environment, timeout=60)
    assert (result.stdout, result.stderr) == (b"result\ndone\n", b"")
