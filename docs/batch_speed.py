"""`fewbits batch` beside a plain loop over `fewbits.encode`, and a batch that is interrupted and goes on.

    python docs/batch_speed.py PHOTOS [COUNT [RUNS]]

Times are those of whole processes, with all that they import, the shortest of some runs; the processor's time beside
them says what other programs cost. Files of all ways must be equal.
"""

import hashlib
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from fewbits.apps.batch.manifest import NAME
from fewbits.eval.environment import cores

LOOP = """
import sys
from pathlib import Path
import fewbits

for photo in sorted(Path(sys.argv[1]).iterdir()):
    Path(sys.argv[2], photo.stem + ".fwb").write_bytes(fewbits.encode(photo, "hyperprior"))
"""


def batch(photos: Path, output: Path) -> list[str]:
    """The command."""
    options = ["--codec", "hyperprior"]
    return [sys.executable, "-m", "fewbits", "batch", "encode", str(photos), "-o", str(output), *options]


def timed(command: list[str], **surroundings: str) -> tuple[float, float]:
    """Seconds, and seconds of the processor, of a command."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, env=os.environ | surroundings, check=True, stdout=subprocess.DEVNULL)
    seconds, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def interrupt(command: list[str], manifest: Path, count: int) -> None:
    """Ends the command as Ctrl-C does, when so many files are done."""
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while not manifest.exists() or manifest.read_bytes().count(b'"state": "done"') < count:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)


def checksum(folder: Path) -> str:
    """Of names and contents of all files."""
    made = sorted(folder.glob("*.fwb"))
    return hashlib.sha256(b"".join(path.name.encode() + path.read_bytes() for path in made)).hexdigest()[:16]


def main() -> None:
    """Prints times and checksums."""
    source, count, runs = Path(sys.argv[1]), *(int(number) for number in (*sys.argv[2:], "60", "3")[:2])
    with tempfile.TemporaryDirectory() as folder:
        photos, loop, pool, resumed = (Path(folder, name) for name in ("photos", "loop", "batch", "resumed"))
        photos.mkdir()
        for photo in sorted(source.iterdir())[:count]:
            shutil.copy(photo, photos)
        times: dict[str, list[tuple[float, float]]] = {}
        for _ in range(runs):
            loop.mkdir(exist_ok=True)
            shutil.rmtree(pool, ignore_errors=True)
            one = [sys.executable, "-c", LOOP, str(photos), str(loop)]
            times.setdefault("loop", []).append(timed(one))
            times.setdefault("loop, one thread", []).append(timed(one, OMP_NUM_THREADS="1"))
            times.setdefault("fewbits batch", []).append(timed(batch(photos, pool)))
        print(f"{count} photos, {cores()} cores, load of the machine {os.getloadavg()[0]:.1f}")
        shortest = min(times["fewbits batch"])[0]
        for name, measured in times.items():
            seconds, processor = min(measured)
            print(f"{name:16} {seconds:6.2f} s, {processor:6.2f} s of the processor, {seconds / shortest:.2f} of batch")
        interrupt(batch(photos, resumed), resumed / NAME, count // 3)
        left = count - len(list(resumed.glob("*.fwb")))
        subprocess.run(batch(photos, resumed), check=True)
        print(f"checksums: loop {checksum(loop)}, batch {checksum(pool)}, "
              f"interrupted with {left} files left and gone on {checksum(resumed)}")


if __name__ == "__main__":
    main()
