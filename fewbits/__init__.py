"""fewbits: pictures, films and sounds as real files of few bits, and back.

    import fewbits

    data = fewbits.encode("photo.png", quality=40)    # bytes of a .fwb file
    fewbits.info(data)["bits_per_pixel"]
    fewbits.decode(data).save("back.png")              # a fewbits.codecs.media.Image

The names are looked up at first use, so that `import fewbits` stays fast.
"""

from importlib import import_module
from pathlib import Path

_root = Path(__file__).resolve().parent.parent
if (_root / "pyproject.toml").is_file() and (_root / "codecs").is_dir():
    __path__.append(str(_root))  # a bare checkout runs without an install

from fewbits.version import VERSION as __version__  # noqa: E402

_PUBLIC = ("encode", "decode", "info", "open")
__all__ = ["__version__", *_PUBLIC]


def __getattr__(name: str) -> object:
    if name in _PUBLIC:
        return getattr(import_module("fewbits.codecs.simple"), name)
    raise AttributeError(f"module 'fewbits' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_PUBLIC])
