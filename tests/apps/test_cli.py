"""The command line as users meet it: commands, exit codes, sentences."""

import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = ("torch", "numba", "numpy", "PIL", "gradio", "matplotlib", "scipy", "constriction", "soundfile", "soxr", "av")


@pytest.fixture
def fewbits(root: Path, tmp_path: Path):
    """Runs the command line as a process in an empty folder."""

    def run(*arguments: object, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        command = [sys.executable, "-m", "fewbits", *map(str, arguments)]
        environment = os.environ | {"PYTHONPATH": str(root)}
        return subprocess.run(command, input=stdin, capture_output=True, cwd=tmp_path, env=environment, timeout=300)

    return run


def one_sentence(result: subprocess.CompletedProcess[bytes]) -> str:
    """The only line of standard error."""
    lines = result.stderr.decode().splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith("fewbits: ")
    return lines[0]


def test_help_is_quick(fewbits) -> None:
    """In seconds of the processor, which other work on the machine disturbs less than seconds of the clock."""

    def seconds_of_children() -> float:
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime

    fewbits("--help")  # compiles the modules
    before = seconds_of_children()
    assert fewbits("--help").returncode == 0
    assert seconds_of_children() - before < 0.5


def test_help_names_every_command(fewbits) -> None:
    text = fewbits("--help").stdout.decode()
    commands = {line.split()[0] for line in text.partition("Commands:")[2].splitlines() if line.strip()}
    assert commands == {"encode", "decode", "batch", "info", "verify", "codecs", "eval", "bench", "demo", "app",
                        "train"}


@pytest.mark.parametrize("arguments", [["--help"], ["encode", "--help"], ["train", "--help"], ["codecs", "--json"]])
def test_light_commands_import_nothing_heavy(arguments: list[str], root: Path) -> None:
    script = (
        "import sys\n"
        "from fewbits.apps.cli.main import main\n"
        "try: main()\n"
        f"finally: print([m for m in {HEAVY} if m in sys.modules], file=sys.stderr)\n"
    )
    environment = os.environ | {"PYTHONPATH": str(root)}
    result = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, env=environment)
    assert result.returncode == 0
    assert result.stderr.decode().strip() == "[]"


@pytest.mark.parametrize("door", ["import runpy; runpy.run_module('fewbits', run_name='__main__')",
                                  "from fewbits.__main__ import main; main()"])
def test_ctrl_c_while_commands_are_imported_leaves_no_trace(door: str, root: Path) -> None:
    script = (
        "import os, signal, sys\n"
        "class Finder:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'typer': os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Finder())\n"
        f"{door}\n"
    )
    result = subprocess.run([sys.executable, "-c", script, "codecs"], capture_output=True,
                            env=os.environ | {"PYTHONPATH": str(root)})
    assert (result.returncode, result.stdout, result.stderr) == (130, b"", b"")


def test_version(fewbits) -> None:
    from fewbits.version import VERSION

    assert fewbits("--version").stdout.decode() == f"fewbits {VERSION}\n"


def test_codecs_are_listed(fewbits) -> None:
    listed = json.loads(fewbits("codecs", "--json").stdout)
    assert "hyperprior" in [entry["name"] for entry in listed]
    assert "hyperprior" in fewbits("codecs").stdout.decode()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["encode", "none.png"], "no file or folder none.png"),
        (["encode", "text.png"], "text.png"),
        (["encode", "smooth.png", "--codec", "abacus"], "no codec 'abacus'"),
        (["encode", "smooth.png", "--quality", "5", "--bpp", "1"], "only one of"),
        (["encode", "smooth.png", "--quality", "101"], "from 0 to 100"),
        (["encode", "smooth.png", "-o", "taken.fwb"], "use -y"),
        (["encode", "smooth.png", "--max-pixels", "100"], "limit"),
        (["decode", "none.fwb"], "no file or folder none.fwb"),
        (["info", "none.fwb"], "none.fwb cannot be read"),
        (["verify", "none.fwb"], "none.fwb cannot be read"),
        (["eval", "smooth.png", "--codec", "abacus"], "no codec 'abacus'"),
        (["eval", "none.png", "--codec", "jpeg"], "none.png"),
        (["train", "hyperprior", "none"], "none"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_usage_is_one_sentence_and_exit_code_2(
    arguments: list[str], words: str, fewbits, smooth_png: Path, tmp_path: Path
) -> None:
    (tmp_path / "text.png").write_text("not a picture")
    (tmp_path / "taken.fwb").write_bytes(b"old")
    before = sorted(os.listdir(tmp_path))
    result = fewbits(*arguments)
    assert result.returncode == 2
    assert words in one_sentence(result)
    assert result.stdout == b""
    assert sorted(os.listdir(tmp_path)) == before
    assert (tmp_path / "taken.fwb").read_bytes() == b"old"


def test_unknown_options_are_exit_code_2(fewbits) -> None:
    assert fewbits("encode", "a.png", "--effort", "11").returncode == 2
    assert fewbits("encode", "a.png", "--tune", "ssim").returncode == 2
    assert fewbits("melt").returncode == 2


@pytest.mark.parametrize("command", ["decode", "info", "verify"])
@pytest.mark.parametrize(
    "content", [b"", b"\x89PNG\r\n\x1a\n and more", b"FWB\xff\x01", b"FWB\x01\x01"],
    ids=["empty", "a PNG", "newer version", "cut in the header"],
)
def test_streams_that_cannot_be_read_are_exit_code_3(command: str, content: bytes, fewbits, tmp_path: Path) -> None:
    (tmp_path / "bad.fwb").write_bytes(content)
    result = fewbits(command, "bad.fwb")
    assert result.returncode == 3
    one_sentence(result)
    assert os.listdir(tmp_path) == ["bad.fwb"]


def test_each_kind_of_bad_stream_has_its_own_sentence(fewbits, tmp_path: Path) -> None:
    sentences = set()
    for content in (b"", b"\x89PNG\r\n\x1a\n and more", b"FWB\xff\x01", b"FWB\x01\x01"):
        sentences.add(one_sentence(fewbits("decode", "-", stdin=content)))
    assert len(sentences) == 4


SEARCHING = """
import signal, sys, time
from fewbits.apps.cli.main import main
from fewbits.codecs import files

def encode(media, codec, target, **options):
    try:
        print("searching", flush=True)
        time.sleep(60)
    except KeyboardInterrupt:
        if not target.keep_best:
            raise
    return files.Encoded(b"the best so far", None, (), {})

files.encode = encode
signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever started the tests may have it ignored
main()
"""


@pytest.mark.parametrize("keep_best", [True, False])
def test_an_interrupt_reaches_the_codec(keep_best: bool, root: Path, smooth_png: Path, tmp_path: Path) -> None:
    """A codec that searches for long decides what Ctrl-C ends: the search, or everything, leaving nothing behind."""
    command = [sys.executable, "-c", SEARCHING, "encode", "smooth.png", *["--keep-best"] * keep_best]
    environment = os.environ | {"PYTHONPATH": str(root)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path,
                          env=environment) as process:
        assert process.stdout is not None and process.stdout.readline() == b"searching\n"
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert b"Traceback" not in errors
    if keep_best:
        assert process.returncode == 0
        assert (tmp_path / "smooth.fwb").read_bytes() == b"the best so far"
    else:
        assert process.returncode != 0
        assert os.listdir(tmp_path) == ["smooth.png"]


def test_eval_writes_records_and_a_page(fewbits, smooth_png: Path, tmp_path: Path) -> None:
    codecs = ["--codec", "jpeg@30,60,90", "--codec", "webp@30,60,90"]
    result = fewbits("eval", smooth_png, *codecs, "--anchor", "jpeg", "--json", "r.json", "--html", "r.html")
    assert result.returncode == 0
    assert "BD-rate against jpeg" in result.stdout.decode()
    assert (tmp_path / "r.html").read_text().startswith("<!doctype html>")
    records = json.loads((tmp_path / "r.json").read_text())["records"]
    assert [(r["codec"], r["setting"]) for r in records] == [(c, s) for c in ("jpeg", "webp") for s in (30, 60, 90)]
    assert {"file", "bytes", "bpp", "metrics", "encode_s", "decode_s"} <= set(records[0])


def test_eval_measures_the_metrics_that_are_asked_for(fewbits, smooth_png: Path, tmp_path: Path) -> None:
    result = fewbits("eval", smooth_png, "--codec", "jpeg@30,90", "--metrics", "psnr", "--json", "r.json")
    assert result.returncode == 0
    records = json.loads((tmp_path / "r.json").read_text())["records"]
    assert [list(r["metrics"]) for r in records] == [["psnr"]] * 2
    refused = fewbits("eval", smooth_png, "--codec", "jpeg@30", "--metrics", "psnr,taste")
    assert refused.returncode == 2
    assert "no metric 'taste'" in one_sentence(refused) and "haarpsi" in one_sentence(refused)


def test_eval_needs_the_anchor_that_is_asked_for(fewbits, smooth_png: Path) -> None:
    result = fewbits("eval", smooth_png, "--codec", "jpeg@50", "--anchor", "webp")
    assert result.returncode == 2
    assert "add --codec webp" in one_sentence(result)


@pytest.fixture
def foreign_file(tmp_path: Path) -> Path:
    """A file of three sections, the last one damaged, that was made with weights which nobody has."""
    from fewbits.codecs import registry
    from fewbits.entropy import container

    media = {"layout": 3, "width": 64, "height": 48}
    header = container.Header(1, "image", b"unknown!", media, {"quality": 7})
    data = container.write(header, registry.settings_of_number(1), [b"first", b"second", b"third"])
    path = tmp_path / "foreign.fwb"
    path.write_bytes(data[:-1] + b"?")
    return path


def test_info_tells_what_is_in_a_file(fewbits, foreign_file: Path) -> None:
    facts = json.loads(fewbits("info", "foreign.fwb", "--json").stdout)
    assert (facts["codec"], facts["width"], facts["height"]) == ("hyperprior", 64, 48)
    assert facts["settings"] == {"quality": 7}
    assert [section["intact"] for section in facts["sections"]] == [True, True, False]
    assert facts["bytes"] == foreign_file.stat().st_size
    text = fewbits("info", "foreign.fwb").stdout.decode()
    for words in ("hyperprior", "64 x 48", "quality 7", b"unknown!".hex(), "damaged: [2]"):
        assert words in text


def test_damage_is_refused_unless_allowed_and_missing_weights_are_exit_code_4(fewbits, foreign_file: Path) -> None:
    refused = fewbits("decode", "foreign.fwb")
    assert refused.returncode == 3
    assert "1 of 3 sections" in one_sentence(refused)
    without_weights = fewbits("decode", "foreign.fwb", "--allow-damage")
    assert without_weights.returncode == 4
    assert "weights" in one_sentence(without_weights)
    assert os.listdir(foreign_file.parent) == ["foreign.fwb"]
