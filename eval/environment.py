"""What a measurement ran on, so that it can be repeated."""

import os
import platform
import sys
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from PIL import features

from fewbits.version import VERSION

_PACKAGES = ("torch", "numpy", "numba", "constriction", "Pillow", "pillow-jxl-plugin", "pytorch-msssim", "piq",
             "bjontegaard", "av", "soundfile", "soxr", "scipy", "pesq", "pystoi", "visqol-python")
_LIBRARIES = ("libjpeg_turbo", "webp", "avif", "zlib")  # inside Pillow


def cores() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def describe_environment() -> dict[str, object]:
    """Versions of what takes part, processor, threads and the date; ready for JSON."""
    packages: dict[str, object] = {}
    for name in _PACKAGES:
        try:
            packages[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            packages[name] = None
    torch = sys.modules.get("torch")
    return {
        "fewbits": VERSION,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "cores": cores(),
        "torch_threads": torch.get_num_threads() if torch else None,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "packages": packages,
        "libraries": {name: features.version(name) for name in _LIBRARIES},
    }


def _processor() -> str:
    """The processor's name for people."""
    table = Path("/proc/cpuinfo")
    if table.is_file():
        for line in table.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown"
