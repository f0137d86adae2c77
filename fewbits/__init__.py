"""fewbits: images, video and sound as real files of few bits, and back."""

from pathlib import Path

_root = Path(__file__).resolve().parent.parent
if (_root / "pyproject.toml").is_file() and (_root / "codecs").is_dir():
    __path__.append(str(_root))
