"""How fast the codecs are, commit by commit, as ratios to rivals in the same run: `make speed`.

    python docs/speed_history.py [--checkout OTHER]

Runs `fewbits bench --json`, of another checkout where one is given, adds a line to docs/results/speed.jsonl, and prints
its ratios beside the medians of earlier lines from machines alike. It ends with 1 where something got slower by more
than `FACTOR`. Ratios cancel how fast a machine is, but not what else runs on it: keep it idle meanwhile.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from fewbits.apps.bench import RIVALS
from fewbits.entropy.benchmark import RIVAL as ENTROPY_RIVAL

ROOT = Path(__file__).resolve().parents[1]
HISTORY = ROOT / "docs" / "results" / "speed.jsonl"
PHOTO_RIVAL = RIVALS[0]
FACTOR = 1.5
MACHINE = ("system", "processor", "cores")
PACKAGES = ("torch", "numpy", "numba", "constriction", "Pillow")


def record(commit: str, results: dict[str, Any]) -> dict[str, Any]:
    """A line of the history, of what `fewbits bench --json` prints."""
    environment = results["environment"]
    return {
        "commit": commit,
        "date": environment["date"][:10],
        "machine": ", ".join(str(environment[part]) for part in MACHINE),
        "versions": {"python": environment["python"], **{p: environment["packages"][p] for p in PACKAGES}},
        "ratios": ratios(results),
    }


def ratios(results: dict[str, Any]) -> dict[str, float]:
    """Seconds over those of the rival, at the same work in the same run: less is faster."""
    speeds = {speed["codec"]: speed for speed in results["codecs"]}
    coders = {coder["name"]: coder for coder in results["entropy"]}
    found = {}
    for way in ("encode", "decode"):
        for name in speeds.keys() - {PHOTO_RIVAL}:
            found[f"{name}, {way}"] = speeds[name][f"{way}_s"] / speeds[PHOTO_RIVAL][f"{way}_s"]
        for name in coders.keys() - {ENTROPY_RIVAL}:
            found[f"{name}, {way}"] = coders[ENTROPY_RIVAL][f"{way}_per_s"] / coders[name][f"{way}_per_s"]
    return {name: float(f"{ratio:.4g}") for name, ratio in sorted(found.items())}


def earlier_median(name: str, now: dict[str, Any], earlier: list[dict[str, Any]]) -> float | None:
    """The median of a ratio over earlier lines of machines alike; None where there are none."""
    known = [line["ratios"][name] for line in earlier if line["machine"] == now["machine"] and name in line["ratios"]]
    return statistics.median(known) if known else None


def slower(now: dict[str, Any], earlier: list[dict[str, Any]]) -> dict[str, float]:
    """What got slower by more than `FACTOR`, and how many times."""
    medians = {name: earlier_median(name, now, earlier) for name in now["ratios"]}
    times = {name: now["ratios"][name] / median for name, median in medians.items() if median}
    return {name: factor for name, factor in times.items() if factor > FACTOR}


def report(now: dict[str, Any], earlier: list[dict[str, Any]]) -> str:
    """Each ratio beside the median of earlier ones, in lines."""
    late = slower(now, earlier)
    lines = [f"{now['commit']}, {now['machine']}",
             f"{f'seconds over those of {PHOTO_RIVAL}, or of {ENTROPY_RIVAL}':60} {'now':>8} {'earlier':>8}"]
    for name, ratio in now["ratios"].items():
        median = earlier_median(name, now, earlier)
        mark = f"  {late[name]:.1f} times slower" if name in late else ""
        lines.append(f"{name:60} {ratio:8.3g} {'-' if median is None else f'{median:.3g}':>8}{mark}")
    return "\n".join(lines)


def measured(checkout: Path) -> dict[str, Any]:
    """The line of a checkout, by this interpreter. Raises `subprocess.CalledProcessError`."""
    describe = ["git", "describe", "--always", "--dirty", "--exclude", "*"]
    commit = subprocess.run(describe, cwd=checkout, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
    bench = [sys.executable, "-m", "fewbits", "bench", "--json"]
    surroundings = os.environ | {"PYTHONPATH": str(checkout.resolve())}
    printed = subprocess.run(bench, cwd=checkout, env=surroundings, check=True, stdout=subprocess.PIPE, text=True)
    return record(commit, json.loads(printed.stdout))


def main() -> None:
    """Measures, reports and keeps."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--checkout", type=Path, default=ROOT, metavar="OTHER")
    now = measured(parser.parse_args().checkout)
    earlier = [json.loads(line) for line in HISTORY.read_text().splitlines()] if HISTORY.exists() else []
    with HISTORY.open("a") as history:
        history.write(json.dumps(now) + "\n")
    print(report(now, earlier))
    sys.exit("Slower than before." if slower(now, earlier) else 0)


if __name__ == "__main__":
    main()
