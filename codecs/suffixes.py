"""How the names of pictures, sounds and films end. Light: whoever plans what to read imports nothing else for it."""

from pathlib import Path

PICTURES = frozenset(
    (".avif", ".bmp", ".gif", ".jp2", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".ppm", ".tga", ".tif", ".tiff", ".webp")
)
SOUNDS = frozenset(
    (".aac", ".aif", ".aiff", ".flac", ".m4a", ".mp3", ".oga", ".ogg", ".opus", ".wav", ".wma")
)
FILMS = frozenset(
    (".3gp", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".ogv", ".ts", ".webm",
     ".wmv", ".y4m")
)
_OF_KIND = {"image": PICTURES, "audio": SOUNDS, "video": FILMS}


def suffixes_of(kind: str | None) -> frozenset[str]:
    """The suffixes of a kind of media, "image", "audio" or "video", or of all."""
    return PICTURES | SOUNDS | FILMS if kind is None else _OF_KIND[kind]


def kind_by_suffix(path: str | Path) -> str | None:
    """The kind of media that a file should hold by its name; None where that says nothing."""
    return next((kind for kind, suffixes in _OF_KIND.items() if Path(path).suffix.lower() in suffixes), None)
