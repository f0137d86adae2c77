"""Kills commands at random moments, runs them again and looks at what became of their files: `make faults`.

`kills.py encode=4 decode=4` kills so many of these alone. A command runs in a folder of its own, forked from this
process, which has loaded everything; every tenth time as users start it. It is killed by the clock, at a moment drawn
over the time that it takes, or, every second time, just before one of its operations on files. Then the same command
runs to its end, and all files must be those of a run that nobody killed.
"""

import contextlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
KILLS = {"encode": 60, "decode": 60, "batch encode": 15, "batch decode": 15, "train": 50}
AS_USERS_DO = 10  # every tenth kill
BY_OPERATION = 2  # every second of the others
OPERATIONS = ("open", "os.mkdir", "os.rename", "os.rmdir", "os.remove", "shutil.rmtree", "tempfile.mkdtemp")
FILES = 5  # of a batch
OLD = b"old"
MANIFEST, CHECKPOINT = "fewbits-batch.jsonl", "checkpoint.pt"

@dataclass(frozen=True)
class Command:
    """A command and the files that it makes in `out/`.

    Attributes:
        sources: a folder with what it reads.
        replaces: names in `out/` that are there before.
        forks: whether it does its work in processes of its own, whose operations on files cannot be counted here.
    """

    arguments: list[str]
    sources: Path
    replaces: tuple[str, ...] = ()
    forks: bool = False

    def folder(self, below: Path) -> Path:
        """A new folder with all that the command needs."""
        folder = Path(tempfile.mkdtemp(dir=below))
        (folder / "in").symlink_to(self.sources)
        for name in self.replaces:
            (folder / "out").mkdir(exist_ok=True)
            (folder / "out" / name).write_bytes(OLD)
        return folder


@dataclass
class Row:
    """What came of the kills of a command."""

    kills: int = 0
    as_users_do: int = 0
    phases: Counter[str] = field(default_factory=Counter)  # before, while and after its files were written
    half_files: int = 0
    with_leftovers: int = 0
    leftovers_in_the_end: int = 0
    resumed_equal: int = 0


def main(wanted: dict[str, int]) -> None:
    """Kills, prints a table, after an interrupt too, and ends with 1 where something was not as it should be."""
    os.environ |= {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
    sys.path.insert(0, str(ROOT))
    rows = {name: Row() for name in wanted}
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as place:
        commands = prepared(Path(place))
        try:
            for name, count in wanted.items():
                kill(rows[name], commands[name], count, Path(place), random.Random(name))
        finally:
            show(rows)
    sys.exit(any(row.half_files or row.leftovers_in_the_end or row.resumed_equal < row.kills for row in rows.values()))


def prepared(place: Path) -> dict[str, Command]:
    """Makes sources and loads what the commands need, so that forks of this process need not."""
    import numpy as np
    from PIL import Image as PillowImage
    from typer.testing import CliRunner

    from fewbits.apps.cli.main import app
    from fewbits.codecs.image_set import ImageSet

    random_state = np.random.default_rng(0)
    for name in ("photos", "images"):
        (place / name).mkdir()
    for number in range(FILES):
        pixels = np.cumsum(random_state.integers(-2, 3, (48, 64, 3)), axis=1).astype(np.uint8)
        PillowImage.fromarray(pixels).save(place / "photos" / f"{number}.png")
    shades = random_state.integers(0, 40, (90, 6, 6, 1)).cumsum(axis=2).astype(np.uint8)
    ImageSet(shades).save(place / "images" / "shades.idx")
    encoding, size = ["--codec", "circuit", "--effort", "1"], ["--states", "8", "--passes", "6"]
    for arguments in (["encode", "photos", "-o", "coded", *encoding], ["decode", "coded"],
                      ["train", "circuit-tree", "images/shades.idx", "-o", "trained", *size]):
        with contextlib.chdir(place):
            assert CliRunner().invoke(app, arguments).exit_code == 0
    return {
        "encode": Command(["encode", "in/0.png", "-o", "out/0.fwb", "-y", *encoding], place / "photos", ("0.fwb",)),
        "decode": Command(["decode", "in/0.fwb", "-o", "out/0.png", "-y"], place / "coded", ("0.png",)),
        "batch encode": Command(["batch", "encode", "in", "-o", "out", "--jobs", "2", *encoding], place / "photos",
                                forks=True),
        "batch decode": Command(["batch", "decode", "in", "-o", "out", "--jobs", "2"], place / "coded", forks=True),
        "train": Command(["train", "circuit-tree", "in/shades.idx", "-o", "out", *size], place / "images"),
    }


def kill(row: Row, command: Command, count: int, place: Path, random_state: random.Random) -> None:
    """Kills a command so often."""
    seconds = {}
    for as_users_do in {number % AS_USERS_DO == AS_USERS_DO - 1 for number in range(count)}:
        for _ in range(2):  # the first one has caches to fill
            whole, began = command.folder(place), time.monotonic()
            said = run(command, whole, as_users_do)
            seconds[as_users_do] = time.monotonic() - began
    operations = 0 if command.forks else said_operations(command, place)
    for number in range(count):
        as_users_do, folder = number % AS_USERS_DO == AS_USERS_DO - 1, command.folder(place)
        if not as_users_do and not command.forks and number % BY_OPERATION:
            before = run(command, folder, as_users_do, operation=random_state.randrange(operations))
        else:
            before = run(command, folder, as_users_do, after=random_state.uniform(0, seconds[as_users_do]))
        inspect(row, command, folder, whole)
        after = run(command, folder, False)
        row.leftovers_in_the_end += len(leftovers(folder))
        row.kills += 1
        row.as_users_do += as_users_do
        row.resumed_equal += content(folder) == content(whole) and done_once(folder) and (
            losses(before) | losses(after) <= losses(said))
        shutil.rmtree(folder)


def run(command: Command, folder: Path, as_users_do: bool, after: float | None = None,
        operation: int | None = None) -> str:
    """Runs a command, to its end or until it is killed `after` seconds or before an `operation`; what it says.

    Returns when all of its processes are gone: each has the pipe that this one reads.
    """
    reading, writing = os.pipe()
    process = os.fork()
    if not process:
        become(command, folder, as_users_do, writing, operation)
    os.close(writing)
    if after is not None:
        time.sleep(after)
        os.kill(process, signal.SIGKILL)
    with open(reading, "rb") as pipe:
        said = pipe.read().decode()
    code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    assert code in (0, -signal.SIGKILL), said
    return said


def become(command: Command, folder: Path, as_users_do: bool, writing: int, operation: int | None) -> None:
    """Makes this process, a fork, the command; does not return."""
    os.chdir(folder)
    for stream in (1, 2):
        os.dup2(writing, stream)
    os.close(writing)
    if as_users_do:
        os.execv(sys.executable, [sys.executable, "-m", "fewbits", *command.arguments])
    if operation is not None:
        count_operations(folder, operation)
    from fewbits.apps.cli.main import main

    sys.argv = ["fewbits", *command.arguments]
    code: object = 0
    try:
        main()
    except SystemExit as end:
        code = end.code
    sys.stdout.flush()
    os._exit(code if isinstance(code, int) else 0)


def count_operations(folder: Path, last: int) -> None:
    """Kills this process before an operation on files in `out/`, counted from 0; says each."""
    before = iter(range(last))

    def hear(event: str, arguments: tuple) -> None:
        if event in OPERATIONS and any("out" in str(part) for part in arguments[:2]):
            if next(before, None) is None:
                os.kill(os.getpid(), signal.SIGKILL)
            os.write(1, b"operation\n")

    sys.addaudithook(hear)


def said_operations(command: Command, place: Path) -> int:
    """How many operations on files a command makes."""
    return run(command, command.folder(place), False, operation=sys.maxsize).count("operation\n")


def inspect(row: Row, command: Command, folder: Path, whole: Path) -> None:
    """Enters what a kill has left."""
    made, wanted = content(folder), content(whole)
    old = {name for name in command.replaces if made.get(name) == OLD}
    row.half_files += sum(data != wanted.get(name) for name, data in made.items() if name not in old)
    left, touched = leftovers(folder), any((folder / "out" / name).exists() for name in (MANIFEST, CHECKPOINT))
    row.with_leftovers += bool(left)
    is_after, is_before = made == wanted, made.keys() == old and not left and not touched
    row.phases["after" if is_after else "before" if is_before else "while"] += 1


def content(folder: Path) -> dict[str, bytes]:
    """The files in `out/` that are results, and that checkpoints are whole."""
    import torch

    found = {}
    for path in (folder / "out").glob("*"):
        if path.name == CHECKPOINT:
            torch.load(path, weights_only=False)
        elif path.is_file() and path.name != MANIFEST:
            data = path.read_bytes()
            # safetensors puts what it says about itself, 8 bytes of length before it, in any order
            found[path.name] = data[8 + int.from_bytes(data[:8], "little"):] if path.suffix == ".safetensors" else data
    return found


def leftovers(folder: Path) -> list[Path]:
    return list((folder / "out").glob(".*"))


def done_once(folder: Path) -> bool:
    """Whether a manifest, where there is one, says of each file once that it is done."""
    manifest = folder / "out" / MANIFEST
    if not manifest.exists():
        return True
    records = map(json.loads, manifest.read_text().splitlines())
    return list(Counter(r["target"] for r in records if r["state"] == "done").values()) == [1] * FILES


def losses(said: str) -> set[str]:
    """What a training says of its passes."""
    return {line for line in said.splitlines() if line.startswith("pass ")}


def show(rows: dict[str, Row]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("command", title="Kills", collapse_padding=True)
    for heading in ("kills", "as by\nusers", "before", "while", "after", "half\nfiles", "left-\novers",
                    "after\nnext run", "resumed\nequal"):
        table.add_column(heading, justify="right")
    for name, row in rows.items():
        phases = (row.phases[phase] for phase in ("before", "while", "after"))
        table.add_row(name, *map(str, (row.kills, row.as_users_do, *phases, row.half_files, row.with_leftovers,
                                       row.leftovers_in_the_end, row.resumed_equal)))
    Console().print(table)


def wanted(arguments: list[str]) -> Iterator[tuple[str, int]]:
    for argument in arguments:
        name, _, count = argument.partition("=")
        yield name, int(count)


if __name__ == "__main__":
    main(dict(wanted(sys.argv[1:])) or KILLS)
