"""Where the command line reads and writes."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from fewbits.apps.cli import paths
from fewbits.codecs.suffixes import PICTURES
from fewbits.errors import InputError


def plan(source: Path | str, output: Path | str | None = None) -> list[paths.Job]:
    return paths.plan(str(source), None if output is None else str(output), PICTURES, ".fwb", "-fwb")


def test_a_file_goes_beside_itself(tmp_path: Path) -> None:
    source = tmp_path / "photo.jpg"
    source.touch()
    assert plan(source) == [paths.Job(source, tmp_path / "photo.fwb")]
    assert plan(source, tmp_path / "other.fwb") == [paths.Job(source, tmp_path / "other.fwb")]


def test_pipes(tmp_path: Path) -> None:
    source = tmp_path / "photo.jpg"
    source.touch()
    assert plan("-") == [paths.Job(None, None)]
    assert plan("-", tmp_path / "a.fwb") == [paths.Job(None, tmp_path / "a.fwb")]
    assert plan(source, "-") == [paths.Job(source, None)]


def test_a_folder_keeps_its_tree(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    (folder / "sea").mkdir(parents=True)
    for name in ("a.PNG", "sea/b.jpg", "notes.txt"):
        (folder / name).touch()
    expected = [("a.PNG", "a.fwb"), ("sea/b.jpg", "sea/b.fwb")]
    beside, elsewhere = tmp_path / "photos-fwb", tmp_path / "out"
    assert plan(folder) == [paths.Job(folder / a, beside / b) for a, b in expected]
    assert plan(folder, elsewhere) == [paths.Job(folder / a, elsewhere / b) for a, b in expected]


def test_a_folder_in_which_two_files_would_become_one_is_refused(tmp_path: Path) -> None:
    for name in ("a.png", "a.jpg"):
        (tmp_path / name).touch()
    with pytest.raises(InputError, match=r"a\.jpg and .*a\.png would both become"):
        plan(tmp_path)


@pytest.mark.parametrize("kind", ["missing", "empty folder", "folder to pipe", "folder to file", "file to folder"])
def test_what_cannot_be_planned_is_refused(kind: str, tmp_path: Path) -> None:
    folder, file = tmp_path / "folder", tmp_path / "a.png"
    folder.mkdir()
    file.touch()
    source, output = {
        "missing": (tmp_path / "none.png", None),
        "empty folder": (folder, None),
        "folder to pipe": (tmp_path, "-"),
        "folder to file": (tmp_path, file),
        "file to folder": (file, folder),
    }[kind]
    with pytest.raises(InputError):
        plan(source, output)


def test_output_appears_whole_with_the_permissions_of_any_new_file(tmp_path: Path) -> None:
    output, ordinary = tmp_path / "new" / "a.fwb", tmp_path / "ordinary"
    ordinary.touch()
    with paths.whole_or_absent(output, overwrite=False) as temporary:
        assert temporary.name == "a.fwb"
        temporary.write_bytes(b"bytes")
        assert not output.exists()
    assert output.read_bytes() == b"bytes"
    assert output.stat().st_mode == ordinary.stat().st_mode
    assert os.listdir(output.parent) == ["a.fwb"]


def test_a_failure_leaves_nothing_behind_and_the_old_file_alone(tmp_path: Path) -> None:
    output = tmp_path / "a.fwb"
    output.write_bytes(b"old")
    with pytest.raises(RuntimeError), paths.whole_or_absent(output, overwrite=True) as temporary:
        temporary.write_bytes(b"half")
        raise RuntimeError
    assert output.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a.fwb"]


OPERATIONS = frozenset({"open", "os.mkdir", "os.rename", "os.rmdir", "os.remove"})


def killed_before(operation: int, output: Path) -> bool:
    """Writes `output` in a fork that is killed before an operation on files below its folder; whether it came to it."""
    process = os.fork()
    if not process:
        operations = iter(range(operation))

        def hear(event: str, arguments: tuple) -> None:
            if event in OPERATIONS and str(output.parent) in str(arguments[0]) and next(operations, None) is None:
                os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(hear)
        with paths.whole_or_absent(output, overwrite=True) as temporary:
            temporary.write_bytes(b"new")
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == -signal.SIGKILL


def test_killed_before_any_operation_a_file_is_old_or_new_and_leftovers_go(tmp_path: Path) -> None:
    output = tmp_path / "a.fwb"
    left = set()
    for operation in range(100):
        output.write_bytes(b"old")
        if not killed_before(operation, output):
            break
        left.add((output.read_bytes(), len(os.listdir(tmp_path)) - 1))
        paths.remove_leftovers(tmp_path)
        assert os.listdir(tmp_path) == ["a.fwb"]
    assert left == {(b"old", 0), (b"old", 1), (b"new", 1)} and output.read_bytes() == b"new"


def test_what_is_still_written_is_no_leftover(tmp_path: Path) -> None:
    with paths.whole_or_absent(tmp_path / "a.fwb", overwrite=False) as temporary:
        temporary.write_bytes(b"new")
        paths.remove_leftovers(tmp_path)
    assert (tmp_path / "a.fwb").read_bytes() == b"new"


def test_folders_that_were_made_for_nothing_go_again(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), paths.whole_or_absent(tmp_path / "b" / "c" / "a.fwb", overwrite=False):
        raise RuntimeError
    assert not os.listdir(tmp_path)


def test_existing_files_need_leave_to_be_overwritten(tmp_path: Path) -> None:
    output = tmp_path / "a.fwb"
    output.write_bytes(b"old")
    with pytest.raises(InputError, match="use -y"), paths.whole_or_absent(output, overwrite=False):
        pytest.fail("must not begin")
    with paths.whole_or_absent(output, overwrite=True) as temporary:
        temporary.write_bytes(b"new")
    assert output.read_bytes() == b"new"


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    real, link = tmp_path / "real.fwb", tmp_path / "link.fwb"
    real.write_bytes(b"old")
    link.symlink_to(real)
    with paths.whole_or_absent(link, overwrite=True) as temporary:
        temporary.write_bytes(b"new")
    assert link.is_symlink()
    assert real.read_bytes() == b"new"


def test_devices_are_never_replaced() -> None:
    with pytest.raises(InputError, match="not an ordinary file"), paths.whole_or_absent(Path(os.devnull), True):
        pytest.fail("must not begin")


def test_a_folder_that_cannot_be_written_is_an_input_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be written"), paths.whole_or_absent(tmp_path / "file" / "a", False):
        pytest.fail("must not begin")


SLOW_DECODE = """
import signal, time
from types import SimpleNamespace
from fewbits.apps.cli.main import main
from fewbits.codecs import files

signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever started the tests may have it ignored

def save_slowly(path):
    path.write_bytes(b"half of it")
    print("busy", flush=True)
    time.sleep(60)

files.decode = lambda *a, **k: files.Decoded(SimpleNamespace(save=save_slowly), [], 1)
main()
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["interrupted", "terminated"])
@pytest.mark.parametrize("existing", [True, False], ids=["existing", "new"])
def test_a_stopped_run_leaves_nothing_behind(number: int, existing: bool, root: Path, tmp_path: Path) -> None:
    stream, output = tmp_path / "a.fwb", tmp_path / "a.png"
    stream.write_bytes(b"not looked at")
    if existing:
        output.write_bytes(b"old")
    command = [sys.executable, "-c", SLOW_DECODE, "decode", str(stream), "-o", str(output), "-y"]
    environment = os.environ | {"PYTHONPATH": str(root)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline() == b"busy\n"
        process.send_signal(number)
        assert process.wait(timeout=30) == 128 + number
        assert process.stderr is not None and b"Traceback" not in process.stderr.read()
    assert sorted(os.listdir(tmp_path)) == (["a.fwb", "a.png"] if existing else ["a.fwb"])
    assert not existing or output.read_bytes() == b"old"
