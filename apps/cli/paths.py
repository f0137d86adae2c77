"""Where commands read and write: files, pipes and folders, with output that is whole or absent."""

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fewbits.entropy.container import START_BYTES, kind_of_start
from fewbits.errors import InputError

PIPE = "-"
STREAMS = frozenset({".fwb"})


@dataclass(frozen=True)
class Job:
    """One file to convert. None stands for the standard input or output."""

    source: Path | None
    output: Path | None

    @property
    def source_name(self) -> str:
        return "standard input" if self.source is None else str(self.source)

    @property
    def output_name(self) -> str:
        return "standard output" if self.output is None else str(self.output)


def plan(source: str, output: str | None, wanted: frozenset[str], suffix: str, folder_ending: str) -> list[Job]:
    """What to read and where to write it.

    Args:
        source: a file, a folder (searched with the folders in it) or "-".
        output: where the user wants it; None for the default: the same name with another suffix, for a folder
            the folder's name with `folder_ending`, and the standard output for the standard input.
        wanted: suffixes to look for in folders.
        suffix: suffix of the files that come out.

    Raises:
        InputError: if there is nothing to read, or two files of a folder would end in one.
    """
    if source == PIPE:
        return [Job(None, None if output in (None, PIPE) else _file_path(output))]
    path = Path(source)
    if path.is_dir():
        return _plan_folder(path, output, wanted, suffix, folder_ending)
    if not path.exists():
        raise InputError(f"There is no file or folder {source}.")
    if output == PIPE:
        return [Job(path, None)]
    return [Job(path, path.with_suffix(suffix) if output is None else _file_path(output))]


def plan_set(source: str, output: str | None, suffix: str) -> Job:
    """As `plan`, for what makes one file of a whole folder."""
    path = Path(source)
    if source == PIPE or not path.is_dir():
        return plan(source, output, frozenset(), suffix, "")[0]
    if output == PIPE:
        return Job(path, None)
    folder = path.resolve()
    return Job(path, folder.with_name(folder.name + suffix) if output is None else _file_path(output))


def kind_in(stream: Path | None) -> str | None:
    """The kind of media that a .fwb file says it holds; None for pipes, and for what cannot be read."""
    if stream is None:
        return None
    try:
        with stream.open("rb") as file:
            return kind_of_start(file.read(START_BYTES))
    except OSError:
        return None


def _file_path(output: str | None) -> Path:
    path = Path(output or "")
    if path.is_dir():
        raise InputError(f"{output} is a folder; give the name of a file with -o.")
    return path


def _plan_folder(folder: Path, output: str | None, wanted: frozenset[str], suffix: str, ending: str) -> list[Job]:
    if output == PIPE:
        raise InputError("A folder cannot be written to a pipe; give a folder with -o.")
    root = folder.resolve().parent / (folder.resolve().name + ending) if output is None else Path(output)
    if root.exists() and not root.is_dir():
        raise InputError(f"{root} is a file, but a folder is needed for the files of {folder}.")
    sources = sorted(p for p in folder.rglob("*") if p.suffix.lower() in wanted and p.is_file())
    if not sources:
        raise InputError(f"There is nothing to do in {folder}: no file ends in {', '.join(sorted(wanted))}.")
    jobs: dict[Path, Path] = {}  # output -> source
    for source in sources:
        target = root / source.relative_to(folder).with_suffix(suffix)
        if target in jobs:
            raise InputError(f"{jobs[target]} and {source} would both become {target}; rename one of them.")
        jobs[target] = source
    return [Job(source, target) for target, source in jobs.items()]


def refuse_existing(output: Path, overwrite: bool) -> None:
    """Raises `InputError` if something is there that must not, or cannot, be replaced."""
    if output.exists() and not output.is_file():
        raise InputError(f"{output} is not an ordinary file and is left alone.")
    if output.exists() and not overwrite:
        raise InputError(f"{output} exists; use -y to overwrite it, or give another name with -o.")


@contextmanager
def whole_or_absent(output: Path, overwrite: bool) -> Iterator[Path]:
    """A temporary path with the same name, to be written in the block; moved to `output` if the block succeeds.

    The temporary lies beside `output`, so that the move is a rename and never a copy.

    Raises:
        InputError: if `output` exists and may not be replaced, or cannot be written.
    """
    refuse_existing(output, overwrite)
    final = output.resolve()  # a link stays a link
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".fewbits-", dir=final.parent) as folder:
            temporary = Path(folder) / final.name
            yield temporary
            temporary.replace(final)
    except OSError as error:
        raise InputError(f"{output} cannot be written: {error.strerror or error}.") from None


def read_bytes(source: Path | None) -> bytes:
    """All of a file, or of the standard input. Raises `InputError` where it cannot be read."""
    if source is None:
        return sys.stdin.buffer.read()
    try:
        return source.read_bytes()
    except OSError as error:
        raise InputError(f"{source} cannot be read: {error.strerror or error}.") from None
