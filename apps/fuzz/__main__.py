"""`python -m fewbits.apps.fuzz SEEDS...`, which `make fuzz` runs, in Linux: changed files for every codec.

SEEDS are folders of `.fwb` files. Changed files that end in anything but a value or an error of `fewbits.errors` are
kept, with as few of their changes as it takes.
"""

import argparse
import os
import sys
from pathlib import Path

from fewbits.apps.fuzz import bench, worker
from fewbits.codecs import registry
from fewbits.errors import FewbitsError


def main() -> int:
    """The exit code: 1 where anything failed."""
    parser = argparse.ArgumentParser(prog="python -m fewbits.apps.fuzz", description="Changed files for every codec.")
    parser.add_argument("seeds", type=Path, nargs="+", help="folders of .fwb files to change")
    parser.add_argument("--minutes", type=float, default=5, help="for all codecs, beside the loading of weights")
    parser.add_argument("--first", type=int, default=0, help="number of the first case; others are other changes")
    parser.add_argument("--codec", action="append", help="this one alone; may be given several times")
    parser.add_argument("--output", type=Path, default=Path("fuzz-failures"), help="folder for what fails")
    options = parser.parse_args()
    seeds = bench.seeds_in(options.seeds)
    chosen = options.codec or list(seeds)
    failed = False
    for name in seeds:
        registry.create(name)  # what it imports, processes need not, nor cases that are made to be its own
    worker.compile_kernels(seeds[chosen[0]].all)
    print(bench.HEAD)
    for name in chosen:
        tally = bench.fuzz(seeds[name], 60 * options.minutes / len(chosen), options.first)
        for sign, (count, _) in tally.failures.items():
            print(f"{name}: {sign}, {count} times", file=sys.stderr)
        for path in bench.keep(tally, name, seeds[name], options.output):
            print(f"kept {path}", file=sys.stderr, flush=True)
        print(bench.row(name, tally), flush=True)
        failed |= bool(tally.failures)
    return int(failed)


if __name__ == "__main__":
    os.environ.update(OMP_NUM_THREADS="1", NUMBA_NUM_THREADS="1")  # before torch and numba are imported
    try:
        sys.exit(main())
    except FewbitsError as error:
        sys.exit(f"fewbits: {error}")
