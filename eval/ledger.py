"""Records of an evaluation that outlive its interruption: a line of JSON for each, as soon as it is measured."""

import hashlib
import json
from collections.abc import Callable
from importlib import util
from pathlib import Path
from typing import Any, Self

from fewbits.errors import InputError
from fewbits.eval.environment import describe_environment

ENDING = ".unfinished"  # behind the name of the file that all records are for
_FLOORS = ("apps", "codecs", "entropy", "eval", "kernels")
_PASSING = ("date", "torch_threads")  # of the environment: what says nothing of the machine or the program

Record = dict[str, Any]


class Ledger:
    """Keeps what was measured, and gives it back in place of measuring it again.

    Records of another machine, other versions or other options are not mixed with those of this run: a file of such
    records is begun anew. So it is where fewbits itself has changed.

    Args:
        path: of the file; None to keep nothing.
        options: all that decides records beside the source and what they are named by.

    Raises:
        InputError: here and in `record`, where the file cannot be written.

    Attributes:
        kept: how many records the file has.
        taken: how many of them were given back.
    """

    def __init__(self, path: Path | None, options: Record | None = None) -> None:
        self.path, self.kept, self.taken = path, 0, 0
        self._records: dict[str, Record] = {}
        if path is not None:
            self._begin(path, json.dumps(_surroundings() | {"options": options}))

    def _begin(self, path: Path, first: str) -> None:
        lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
        whole = _whole(lines[1:]) if lines[:1] == [first] else []
        try:
            self._write("w", [first, *map(json.dumps, whole)])
        except InputError:
            path.unlink(missing_ok=True)
            raise
        self._records = dict(whole)
        self.kept = len(whole)

    def _write(self, mode: str, lines: list[str]) -> None:
        assert self.path is not None
        try:
            with self.path.open(mode, encoding="utf-8") as file:
                file.writelines(f"{line}\n" for line in lines)
        except OSError as error:
            raise InputError(f"{self.path} cannot be written: {error.strerror or error}.") from None

    def record(self, source: Path, named: Record, measure: Callable[[], Record]) -> Record:
        """The record of a source, `named` and what is measured: from the file, or else made and kept there.

        Args:
            source: a file or a folder.
            named: what tells the record from others: codec, setting.
        """
        if self.path is None:
            return named | measure()
        key = json.dumps([named, _state(source)])
        if key in self._records:
            self.taken += 1
        else:
            self._records[key] = named | measure()
            self._write("a", [json.dumps([key, self._records[key]])])
            self.kept += 1
        return self._records[key]

    def remove(self) -> None:
        """To be called when all records are where they belong."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self.path is not None and not self.kept:
            self.path.unlink(missing_ok=True)


NOTHING_KEPT = Ledger(None)


def _whole(lines: list[str]) -> list[tuple[str, Record]]:
    """Keys and records up to the first line that is torn."""
    whole = []
    for line in lines:
        try:
            key, record = json.loads(line)
        except ValueError:
            break
        whole.append((key, record))
    return whole


def _surroundings() -> Record:
    """What records hang on without being asked."""
    environment = {name: value for name, value in describe_environment().items() if name not in _PASSING}
    return {"environment": environment, "program": _program()}


def _program() -> str:
    """Changes with any file of fewbits, weights among them."""
    folders = [Path(place) for floor in _FLOORS if (spec := util.find_spec(f"fewbits.{floor}"))
               for place in spec.submodule_search_locations or ()]
    return hashlib.sha256(json.dumps([_state(folder) for folder in folders]).encode()).hexdigest()


def _state(path: Path) -> list[tuple[str, int, int]]:
    """Name, size and time of the last change of a file, or of all files below a folder but compiled ones."""
    files = [path] if path.is_file() else sorted(path.rglob("*"))
    return [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files
            if file.is_file() and "__pycache__" not in file.parts]
