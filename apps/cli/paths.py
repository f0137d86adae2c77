"""Where commands read and write: files, pipes and folders, with output that is whole or absent."""

import os
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from fewbits.entropy.container import START_BYTES, kind_of_start
from fewbits.errors import InputError

try:
    from fcntl import LOCK_EX, LOCK_NB, flock
except ImportError:  # Windows has no such locks: there leftovers stay
    flock = None  # type: ignore[assignment]

PIPE = "-"
_TEMPORARY = ".fewbits-"  # how folders begin in which output is written
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


def plan_many(
    source: str, output: str | None, wanted: frozenset[str], suffix: str, ending: str
) -> tuple[Path, list[Job]]:
    """As `plan`, for a folder or a text file with a path in each line. Also gives the folder that all is written to.

    What a list names without a leading slash is looked for beside the list. Below the folder of the output, files keep
    the places that the list gives them: `a/b.png` becomes `OUT/a/b.fwb`, `/c/d.png` becomes `OUT/c/d.fwb`.
    """
    path = Path(source)
    if path.is_dir():
        return _root(path, output, ending), _plan_folder(path, output, wanted, suffix, ending)
    if path.suffix.lower() in wanted:
        raise InputError(f"{source} is one file: leave batch out.")
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise InputError(f"{source} cannot be read: {error.strerror or error}.") from None
    except UnicodeDecodeError:
        raise InputError(f"{source} is no text: give a folder, or a file with a path in each line.") from None
    root = _root(path.with_suffix(""), output, ending)
    places = [_place_in_list(line.strip(), path) for line in dict.fromkeys(lines) if line.strip()]
    if not places:
        raise InputError(f"There is nothing to do: {source} names no file.")
    return root, _jobs(places, root, suffix)


def _place_in_list(line: str, listing: Path) -> tuple[Path, Path]:
    """The file that a line of a list names, and its place below the folder of the output."""
    place = Path(os.path.normpath(line))
    if place.is_absolute():
        return place, place.relative_to(place.anchor)
    if place.parts[:1] == ("..",):
        raise InputError(f"{line} in {listing} lies outside the folder of the list: give its path from / on.")
    return listing.parent / place, place


def _plan_folder(folder: Path, output: str | None, wanted: frozenset[str], suffix: str, ending: str) -> list[Job]:
    root = _root(folder, output, ending)
    sources = sorted(p for p in folder.rglob("*") if p.suffix.lower() in wanted and p.is_file())
    if not sources:
        raise InputError(f"There is nothing to do in {folder}: no file ends in {', '.join(sorted(wanted))}.")
    return _jobs(((source, source.relative_to(folder)) for source in sources), root, suffix)


def _root(source: Path, output: str | None, ending: str) -> Path:
    """The folder for the files of a folder or a list."""
    if output == PIPE:
        raise InputError("A folder cannot be written to a pipe; give a folder with -o.")
    root = source.resolve().parent / (source.resolve().name + ending) if output is None else Path(output)
    if root.exists() and not root.is_dir():
        raise InputError(f"{root} is a file, but a folder is needed for the files of {source}.")
    return root


def _jobs(places: Iterable[tuple[Path, Path]], root: Path, suffix: str) -> list[Job]:
    """For each source and its place below the root. Raises `InputError` where two files would end in one."""
    jobs: dict[Path, Path] = {}  # output -> source
    for source, place in places:
        target = root / place.with_suffix(suffix)
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


def refuse_unwritable(output: Path, overwrite: bool) -> None:
    """As `refuse_existing`, and for places where nothing can be written: before the work, not only after it."""
    refuse_existing(output, overwrite)
    _try_folder(output.resolve().parent, output)


def refuse_unwritable_folder(folder: Path) -> None:
    """Raises `InputError`, before the work, where no file can be written into a folder, which need not be there yet."""
    _try_folder(folder.resolve(), folder)


def _try_folder(folder: Path, output: Path) -> None:
    try:
        with _temporary_folder(folder):
            pass
    except OSError as error:
        raise _unwritable(output, error) from None


def _unwritable(output: Path, error: OSError) -> InputError:
    return InputError(f"{output} cannot be written: {error.strerror or error}.")


@contextmanager
def whole_or_absent(output: Path, overwrite: bool) -> Iterator[Path]:
    """A temporary path with the same name, to be written in the block; moved to `output` if the block succeeds.

    The temporary lies beside `output`, so that the move is a rename and never a copy.

    Raises:
        InputError: if `output` exists and may not be replaced, or cannot be written.
    """
    refuse_existing(output, overwrite)
    final = output.resolve()  # a link stays a link
    temporary = final
    try:
        with _temporary_folder(final.parent) as folder:
            temporary = folder / final.name
            yield temporary
            temporary.replace(final)
    except OSError as error:
        raise _unwritable(output, error) from None
    except InputError as error:  # of libraries and codecs that know the temporary name alone
        raise InputError(str(error).replace(str(temporary), str(output))) from None


@contextmanager
def _temporary_folder(parent: Path) -> Iterator[Path]:
    """A new folder in `parent`, which is made too where it is missing and goes again if nothing has come into it."""
    made = [place for place in (parent, *parent.parents) if not place.exists()]
    try:
        parent.mkdir(parents=True, exist_ok=True)
        folder, lock = _locked_folder(parent)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            os.close(lock)
    finally:
        with suppress(OSError):  # not empty
            for place in made:
                place.rmdir()


def _locked_folder(parent: Path) -> tuple[Path, int]:
    """A new folder, and the descriptor that keeps `remove_leftovers` away from it as long as the process lives."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=_TEMPORARY, dir=parent))
        with suppress(FileNotFoundError):  # another process took it for a leftover before it was locked
            lock = os.open(os.devnull if flock is None else folder, os.O_RDONLY)
            with suppress(OSError):  # file systems without locks: there leftovers stay
                if flock is not None:
                    flock(lock, LOCK_EX)
            if folder.exists():
                return folder, lock
            os.close(lock)


def remove_leftovers(folder: Path) -> None:
    """Removes what `whole_or_absent` left in a folder when its process was killed; not what others still write."""
    for leftover in () if flock is None else folder.glob(f"{_TEMPORARY}*"):
        with suppress(OSError):
            lock = os.open(leftover, os.O_RDONLY)
            try:
                flock(lock, LOCK_EX | LOCK_NB)
                shutil.rmtree(leftover, ignore_errors=True)
            finally:
                os.close(lock)


def standard_input() -> IO[bytes]:
    """The standard input. Raises `InputError` where it is closed."""
    pipe: IO[bytes] | None = getattr(sys.stdin, "buffer", None)
    if pipe is None:
        raise InputError("The standard input is closed: give the name of a file.")
    return pipe


def standard_output() -> IO[bytes]:
    """The standard output. Raises `InputError` where it is closed."""
    pipe: IO[bytes] | None = getattr(sys.stdout, "buffer", None)
    if pipe is None:
        raise InputError("The standard output is closed: give a file with -o.")
    return pipe


def read_bytes(source: Path | None) -> bytes:
    """All of a file, or of the standard input. Raises `InputError` where it cannot be read."""
    if source is None:
        return standard_input().read()
    try:
        return source.read_bytes()
    except OSError as error:
        raise InputError(f"{source} cannot be read: {error.strerror or error}.") from None
