"""Fuzzing that coverage guides, with atheris: `pip install atheris`, then

    python tests/guided.py [CODEC ...] [--minutes MINUTES]

In a process for each codec, its files in tests/golden and tests/corpus are changed as `make fuzz` changes them, and by
libFuzzer, which keeps what reaches new branches of fewbits and goes on from there. All is taken apart, and what is
whole is decoded. Anything but a value or an error of `fewbits.errors`, and anything that takes more than 10 s or 4 GB,
ends the process and leaves the file in `fuzz-failures/`.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
FOLDERS = [HERE / "golden", HERE / "corpus"]
FAILURES = HERE.parent / "fuzz-failures"
LIMITS = ["-timeout=10", "-rss_limit_mb=4096", "-max_len=65536"]
SEALED = 0.75  # of the changed files have right checksums


def guided(codec: str, corpus: Path, seconds: int) -> None:
    """Fuzzes a codec in this process, which libFuzzer ends."""
    import atheris

    with atheris.instrument_imports(include=["fewbits"], exclude=["fewbits.kernels"]):  # numba compiles the kernels
        from random import Random

        from fewbits.apps.fuzz import bench, cases
        from fewbits.apps.fuzz.mutations import mutated, sealed

    seeds = bench.seeds_in(FOLDERS)[codec]
    size = 2 * max(map(cases.samples_in, seeds.own))

    def change(data: bytes, most: int, number: int) -> bytes:
        random = Random(number)
        ours = random.random() < 0.5
        changed = mutated(data, seeds.all, random.getrandbits(48)) if ours else atheris.Mutate(data, most)
        return (sealed(changed) if random.random() < SEALED else changed)[:most]

    def look(data: bytes) -> None:
        honest = sealed(data) == data
        if cases.parse(data, honest) == cases.VALUE:
            cases.decode(data, honest, size)

    for number, data in enumerate(seeds.own):
        (corpus / str(number)).write_bytes(data)
        look(data)  # loads weights and compiles, before anything is timed
    arguments = [*LIMITS, f"-max_total_time={seconds}", f"-artifact_prefix={FAILURES}/{codec}-", "-print_final_stats=1"]
    atheris.Setup([sys.argv[0], *arguments, str(corpus)], look, custom_mutator=change)
    atheris.Fuzz()


def main() -> int:
    """The exit code: 1 where anything failed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("codecs", nargs="*", metavar="CODEC")
    parser.add_argument("--minutes", type=float, default=15, help="for all codecs")
    parser.add_argument("--corpus", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.corpus:
        guided(given.codecs[0], given.corpus, round(60 * given.minutes))
    from fewbits.codecs import registry

    codecs, failed = given.codecs or list(registry.names()), False
    FAILURES.mkdir(exist_ok=True)
    for codec in codecs:
        with tempfile.TemporaryDirectory() as corpus:
            minutes = str(given.minutes / len(codecs))
            command = [sys.executable, __file__, codec, "--minutes", minutes, "--corpus", corpus]
            done = subprocess.run(command, env=os.environ | {"OMP_NUM_THREADS": "1"}, stderr=subprocess.PIPE, text=True)
            kept = len(list(Path(corpus).iterdir()))
        runs = next((line.split()[-1] for line in done.stderr.splitlines() if "number_of_executed_units" in line), "?")
        print(f"| {codec} | {runs} | {kept} | {'failed' if done.returncode else 'no failure'} |", flush=True)
        if done.returncode:
            print(*done.stderr.splitlines()[-40:], sep="\n", file=sys.stderr)
            failed = True
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
