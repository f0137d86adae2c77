"""Installs the built wheel as users do, and tries what was installed: `make supply`.

`supply.py train ray` tries these extras of pyproject.toml alone, "plain" being the wheel without any. Each gets an
empty environment, with the wheel and what it declares, in the versions that an installer finds today, and is tried
there: in a folder of its own, and without a network where the system permits (`unshare`). Then come the sizes of what
was installed, the time of imports, and what pip-audit knows of the packages.
"""

import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import tomllib
import venv
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ("fewbits", "apps", "codecs", "entropy", "eval", "kernels",
           "pyproject.toml", "setup.py", "README.md", "LICENSE")
PLAIN = "plain"
FOR_GPU = ("nvidia*", "triton", "cuda*")  # folders that a build of torch for CPUs does without
REPEATS = 7
IMPORTS = {
    "python alone": ["-c", ""],
    "import fewbits": ["-c", "import fewbits"],
    "fewbits --version": ["-m", "fewbits", "--version"],
    "fewbits --help": ["-m", "fewbits", "--help"],
    "import numpy": ["-c", "import numpy"],
    "import torch": ["-c", "import torch"],
}
_RIVAL = (
    "from fewbits.entropy.benchmark import entropy_benchmark as measured; "
    "assert any('compressai' in record.name for record in measured())"
)
_CIRCUIT = (
    "import pyjuice, torch; root = pyjuice.structures.HCLT(torch.rand(99, 16) * 255, num_latents=8); "
    "root.init_parameters(); pyjuice.save('tree.jpc', root)"
)
_SAMPLES = (
    "import os, shutil; from fewbits.apps import samples as s; os.mkdir('photos'); os.mkdir('sounds'); "
    "[shutil.copy(s.path(photo), 'photos') for photo in (s.TOWER, s.STILL)]; shutil.copy(s.path(s.VOICE), 'sounds')"
)
# What an extra is for, in a folder that has photos/ with tower.jpg and groot.jpeg, and sounds/ with cate_blanch.mp3.
TRIALS = {
    PLAIN: ["fewbits demo", "fewbits encode photos/tower.jpg -o tower.fwb", "fewbits decode tower.fwb"],
    "train": ["fewbits train hyperprior photos --minutes 0.05"],
    "metrics": ["fewbits eval photos/tower.jpg --codec jpeg@50 --metrics psnr,gmsd,fsim,vif,haarpsi,mdsi",
                "fewbits eval sounds/cate_blanch.mp3 --codec opus@12"],
    "test": [f"pytest -q -p no:cacheprovider {ROOT}/tests/entropy"],
    "dev": [f"ruff check --no-cache {ROOT}", f"python {ROOT}/docs/api.py reference",
            "mypy --ignore-missing-imports -p fewbits.entropy"],
    "browser": ["python -c 'from playwright.sync_api import sync_playwright'"],
    "compressai": [f'python -c "{_RIVAL}"'],
    "pyjuice": [f'python -c "{_CIRCUIT}"', "fewbits train import-pyjuice tree.jpc --width 4 --height 4"],
    "ray": ["fewbits batch encode photos -o coded --engine ray"],
}


@dataclass(frozen=True)
class Environment:
    """An environment of Python in a folder."""

    folder: Path

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    @property
    def packages(self) -> Path:
        return next(self.folder.glob("lib/python*/site-packages"))

    def size(self, *folders: str) -> float:
        """Megabytes of the files in these folders of the packages, whose names may be patterns; without any, of all."""
        roots = [path for pattern in folders for path in self.packages.glob(pattern)] if folders else [self.packages]
        return sum(path.stat().st_size for root in roots for path in root.rglob("*") if path.is_file()) / 1e6


def main(wanted: list[str]) -> None:
    """Prints what came of each, and ends with 1 where something that was installed does not run."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert TRIALS.keys() == {PLAIN, *extras}, "Each extra of pyproject.toml needs a trial."
    cut = without_network()
    print("The network is cut off while a trial runs." if cut else "The system does not permit to cut off the network.")
    failed = []
    with tempfile.TemporaryDirectory() as place:
        wheel = build(Path(place))
        print(f"{wheel.name}: {wheel.stat().st_size / 1e6:.1f} MB", flush=True)
        for name in wanted or TRIALS:
            environment = installed(Path(place) / name, wheel if name == PLAIN else f"{wheel}[{name}]")
            print(f"\n{name}: {sizes(environment)}", flush=True)
            failed += tried(environment, TRIALS[name], cut)
            if name == PLAIN:
                print(imports(environment))
            print(audit(environment, Path(place) / "audit"), flush=True)
            shutil.rmtree(environment.folder)
    sys.exit("\n".join(["These fail:", *failed]) if failed else 0)


def without_network() -> list[str]:
    """What stands before a command so that it sees this machine alone; nothing where that is not permitted."""
    cut = ["unshare", "--map-root-user", "--net", "sh", "-c", 'ip link set lo up; exec "$@"', "sh"]
    try:
        return cut if subprocess.run([*cut, "true"], capture_output=True).returncode == 0 else []
    except FileNotFoundError:
        return []


def build(place: Path) -> Path:
    """The wheel, from a copy of the sources, so that nothing that earlier builds left gets into it."""
    source = place / "source"
    source.mkdir()
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        else:
            shutil.copy(ROOT / name, source)
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(place), str(source)]
    uv = uv_command("build", "--quiet", "--wheel", "--out-dir", str(place), str(source))
    subprocess.run(uv or pip, check=True)
    return next(place.glob("*.whl"))


def uv_command(*arguments: str) -> list[str]:
    """A call of uv, which is many times faster than pip; nothing where it is not installed beside Python."""
    uv = shutil.which("uv", path=Path(sys.executable).parent) or shutil.which("uv")
    return [uv, *arguments] if uv else []


def installed(folder: Path, *requirements: Path | str) -> Environment:
    """A new environment with these packages and what they need."""
    venv.create(folder, symlinks=True, with_pip=not uv_command())
    environment = Environment(folder)
    python, names = str(environment.python), list(map(str, requirements))
    uv = uv_command("pip", "install", "--quiet", "--python", python, *names)
    subprocess.run(uv or [python, "-m", "pip", "install", "--quiet", *names], check=True)
    return environment


def sizes(environment: Environment) -> str:
    """What an installation takes, in words."""
    parts = {"fewbits": ["fewbits"], "torch": ["torch"], "libraries of torch for GPUs": FOR_GPU}
    shares = ", ".join(f"{name} {environment.size(*folders):,.0f}" for name, folders in parts.items())
    return f"{environment.size():,.0f} MB; of these {shares}"


def tried(environment: Environment, commands: list[str], cut: list[str]) -> list[str]:
    """Runs commands in a folder of theirs, and gives those that do not end well; what these say is printed."""
    failed = []
    with tempfile.TemporaryDirectory() as folder:
        bare = {"PATH": f"{environment.python.parent}:/usr/bin:/bin:/usr/sbin:/sbin", "HOME": folder}
        subprocess.run([environment.python, "-c", _SAMPLES], cwd=folder, env=bare, check=True)
        for command in commands:
            began = time.monotonic()
            done = subprocess.run([*cut, "sh", "-c", command], cwd=folder, env=bare, stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT, text=True)
            seconds = time.monotonic() - began
            print(f"  {'FAILS' if done.returncode else 'runs'}, {seconds:.0f} s: {command}", flush=True)
            if done.returncode:
                print(done.stdout)
                failed.append(command)
    return failed


def imports(environment: Environment) -> str:
    """Median seconds of each of `IMPORTS`, in processes of their own, after one that fills the system's caches."""
    lines = []
    for name, arguments in IMPORTS.items():
        seconds = []
        for _ in range(1 + REPEATS):
            began = time.monotonic()
            subprocess.run([environment.python, *arguments], check=True, cwd=environment.folder,
                           stdout=subprocess.DEVNULL)
            seconds.append(time.monotonic() - began)
        lines.append(f"  {name:18} {statistics.median(seconds[1:]):.2f} s")
    return "\n".join(lines)


def audit(environment: Environment, auditor: Path) -> str:
    """What pip-audit, in an environment of its own, says about the packages of another, in words."""
    try:
        python = (Environment(auditor) if auditor.exists() else installed(auditor, "pip-audit")).python
        done = subprocess.run([python, "-m", "pip_audit", "--path", environment.packages, "--format", "json"],
                              capture_output=True, text=True)
        packages = json.loads(done.stdout)["dependencies"]
    except (subprocess.CalledProcessError, json.JSONDecodeError):
        return "  pip-audit cannot run here."
    known = [package for package in packages if "vulns" in package]
    if not known:
        return "  pip-audit cannot answer here: it reaches no database that knows these packages."
    found = [f"{p['name']} {p['version']}: {v['id']}" for p in known for v in p["vulns"]]
    return "\n  ".join([f"  pip-audit: {len(known)} of {len(packages)} packages known to its database, "
                        f"{len(found)} vulnerabilities", *found])


if __name__ == "__main__":
    main(sys.argv[1:])
