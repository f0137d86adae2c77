"""What became of each file of a batch: a line of JSON for every file begun, done or failed, in the output folder."""

import fcntl
import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from fewbits.apps.cli.paths import Job, remove_leftovers
from fewbits.errors import FewbitsError, InputError

NAME = "fewbits-batch.jsonl"

State = Literal["begun", "done", "failed"]


@dataclass(frozen=True)
class Item:
    """A file to convert, as the manifest knows it.

    Attributes:
        target: where it goes, below the output folder.
        size, mtime_ns: of the source; when they change, it is another source.
        options: what decides the result.
    """

    source: str
    target: str
    size: int
    mtime_ns: int
    options: dict[str, Any]

    @classmethod
    def of(cls, job: Job, folder: Path, options: dict[str, Any]) -> Self:
        """Raises `InputError` if there is no such source."""
        assert job.source is not None and job.output is not None  # a batch has no pipes
        try:
            status = job.source.stat()
        except OSError as error:
            raise InputError(f"{job.source} cannot be read: {error.strerror or error}.") from None
        target = job.output.relative_to(folder).as_posix()
        return cls(str(job.source), target, status.st_size, status.st_mtime_ns, options)


@dataclass(frozen=True, slots=True)
class Known:
    """The last that the manifest says of a target.

    Attributes:
        key: of the source and the options.
        error: of a file that failed.
    """

    state: State
    key: bytes
    error: FewbitsError | None = None


class Manifest:
    """The manifest of a folder, which belongs to one batch at a time. Lines are only ever appended.

    A process that is killed leaves at most a last line that is torn, which the next one takes away. In memory is the
    last state of each target alone.

    Raises:
        InputError: if another batch is at work in the folder, or the manifest is something else.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._known: dict[str, Known] = {}
        self._file = (folder / NAME).open("a+b")
        try:
            self._lock()
            self._read()
        except BaseException:
            self._file.close()
            raise
        for place in {(folder / target).parent for target, known in self._known.items() if known.state == "begun"}:
            remove_leftovers(place)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def known(self, item: Item) -> Known | None:
        """What happened to the same source with the same options."""
        known = self._known.get(item.target)
        return known if known is not None and known.key == _key(item.size, item.mtime_ns, item.options) else None

    def owns(self, item: Item) -> bool:
        """Whether what lies at the target, if anything, comes from a batch."""
        return item.target in self._known

    def begin(self, item: Item) -> None:
        """The target belongs to the batch from here on."""
        self._append(item, "begun")

    def done(self, item: Item, size: int, seconds: float) -> None:
        """With the bytes of the target and the seconds that it took."""
        self._append(item, "done", bytes=size, seconds=round(seconds, 3))

    def failed(self, item: Item, error: FewbitsError) -> None:
        self._append(item, "failed", error=str(error), exit_code=error.exit_code)

    def _append(self, item: Item, state: State, **more: Any) -> None:
        record = {"state": state, **vars(item), **more}
        self._file.write(json.dumps(record).encode() + b"\n")
        self._file.flush()
        self._remember(record)

    def _remember(self, record: dict[str, Any]) -> None:
        key = _key(record["size"], record["mtime_ns"], record["options"])
        error = None
        if record["state"] == "failed":
            error = FewbitsError(record["error"])
            error.exit_code = record["exit_code"]
        self._known[record["target"]] = Known(record["state"], key, error)

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # ends with the process, however that ends
        except BlockingIOError:
            raise InputError(f"Another batch is at work in {self.folder}: wait for it, or give another folder with "
                             "-o.") from None

    def _read(self) -> None:
        self._file.seek(0)
        whole = 0  # bytes
        for number, line in enumerate(self._file, 1):
            if not line.endswith(b"\n"):
                break
            try:
                self._remember(json.loads(line))
            except (ValueError, LookupError, TypeError):
                raise InputError(f"Line {number} of {self.folder / NAME} is no record of a batch: remove it.") from None
            whole += len(line)
        os.truncate(self._file.fileno(), whole)


def _key(size: int, mtime_ns: int, options: dict[str, Any]) -> bytes:
    text = json.dumps([size, mtime_ns, options], sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=16).digest()
