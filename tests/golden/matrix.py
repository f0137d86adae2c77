"""Decodes every golden file under many settings of libraries and processor, and encodes what it holds again.

    python tests/golden/matrix.py [--python OTHER/bin/python ...] [--codec NAME ...] [--no-encode]

Each setting is a process of its own, with a cache of its own for numba. Other interpreters, with other versions of
torch or NumPy, add rows. Of each cell: whether the symbols are those of the golden file, the largest difference of a
sample in levels, and whether encoding gives the bytes of the first row. It ends with 1 if symbols differ, or a sample
by more than a level.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
WITHOUT_ONEDNN = "without oneDNN"
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
SETTINGS: dict[str, dict[str, str]] = {
    **{f"threads {count}": dict.fromkeys(_THREADS, str(count)) for count in (1, 2, 4)},
    WITHOUT_ONEDNN: {},
    "oneDNN for SSE4.1": {"ONEDNN_MAX_CPU_ISA": "SSE41"},
    "torch without vectors": {"ATEN_CPU_CAPABILITY": "default"},
    "torch for AVX2": {"ATEN_CPU_CAPABILITY": "avx2"},
    "MKL for any processor": {"MKL_CBWR": "COMPATIBLE"},
    "numba for any processor": {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""},
}
_VERSIONS = "import platform, numpy, torch; print(platform.python_version(), torch.__version__, numpy.__version__)"


def run(python: str, arguments: list[str], surroundings: dict[str, str]) -> str:
    """What a program prints in these surroundings. Raises `subprocess.CalledProcessError`."""
    with tempfile.TemporaryDirectory() as cache:
        environment = os.environ | {"PYTHONPATH": str(HERE.parents[1]), "NUMBA_CACHE_DIR": cache} | surroundings
        done = subprocess.run([python, *arguments], env=environment, check=True, stdout=subprocess.PIPE, text=True)
        return done.stdout


def checked(python: str, setting: str, goldens: list[Path], encode: bool) -> list[dict]:
    """The lines of check.py for a setting."""
    options = ["--encode"] * encode + ["--without-onednn"] * (setting == WITHOUT_ONEDNN)
    printed = run(python, [str(HERE / "check.py"), *options, *map(str, goldens)], SETTINGS[setting])
    return [json.loads(line) for line in printed.splitlines()]


def cell(line: dict, first: dict) -> str:
    """One file in one setting, in words."""
    symbols = {True: "equal", False: "DIFFERENT", None: "-"}[line["symbols"]]
    bytes_ = {True: "equal", False: "other"}[line["encoded"] == first["encoded"]] if "encoded" in line else "-"
    return f"{line['file']:20} symbols {symbols:9} samples {line['difference']:7.4f} bytes encoded {bytes_}"


def is_wrong(line: dict) -> bool:
    """Whether a file does not decode as it must; samples that say it all must be equal."""
    return line["symbols"] is False or line["difference"] > (0 if line["symbols"] is None else 1)


def main() -> None:
    """Prints the matrix."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--python", nargs="*", default=[], metavar="OTHER/bin/python")
    parser.add_argument("--codec", nargs="*", default=[""], metavar="NAME")
    parser.add_argument("--setting", nargs="*", default=[*SETTINGS], choices=[*SETTINGS], metavar="SETTING")
    parser.add_argument("--no-encode", action="store_true")
    given = parser.parse_args()
    goldens = [path for path in sorted(HERE.glob("*.fwb")) if path.name.startswith(tuple(given.codec))]
    first: list[dict] = []
    wrong = 0
    for python in [sys.executable, *given.python]:
        print("Python, torch, NumPy:", run(python, ["-c", _VERSIONS], {}).strip(), flush=True)
        for setting in given.setting:
            lines = checked(python, setting, goldens, not given.no_encode)
            first = first or lines
            wrong += sum(map(is_wrong, lines))
            print(setting, *(cell(*pair) for pair in zip(lines, first, strict=True)), sep="\n  ", flush=True)
    sys.exit(f"{wrong} cells are wrong." if wrong else 0)


if __name__ == "__main__":
    main()
