"""The floors of the house: what may import what."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FLOORS = {"fewbits": 0, "kernels": 1, "entropy": 2, "codecs": 3, "eval": 4, "apps": 5}
FACE = {"fewbits/__init__.py", "fewbits/__main__.py", "fewbits/pillow.py"}  # hand on what lies above


def source_files() -> list[Path]:
    return sorted(p.relative_to(ROOT) for folder in FLOORS for p in (ROOT / folder).rglob("*.py"))


def imported_modules(path: Path) -> Iterator[str]:
    """Full names of all modules and members of fewbits that a file imports, at its top or inside functions."""
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno} imports relatively; write the whole name"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def floor_of_module(name: str) -> int | None:
    """The floor of a module; None for modules of others."""
    parts = name.split(".")
    if parts[0] != "fewbits":
        return None
    return FLOORS.get(parts[1], 0) if len(parts) > 1 else 0


@pytest.mark.parametrize("path", [p for p in source_files() if p.as_posix() not in FACE], ids=str)
def test_nothing_imports_upwards(path: Path) -> None:
    own = FLOORS[path.parts[0]]
    upwards = [name for name in imported_modules(path) if (floor_of_module(name) or 0) > own]
    assert not upwards, f"{path} (floor {own}) imports {upwards}"


@pytest.mark.parametrize("path", source_files(), ids=str)
def test_imports_use_the_full_name(path: Path) -> None:
    """`from codecs import media` would find the standard library, `from eval import ...` only in a checkout."""
    bare = [name for name in imported_modules(path) if name.split(".")[0] in FLOORS and not name.startswith("fewbits")]
    assert not bare


def test_every_folder_is_a_package() -> None:
    folders = {ROOT / path.parent for path in source_files()}
    assert not [folder for folder in folders if not (folder / "__init__.py").is_file()]


def test_setup_lists_every_folder_of_the_house(monkeypatch: pytest.MonkeyPatch) -> None:
    """A package that setup.py forgot would be missing from the wheel only."""
    import runpy

    import setuptools

    given: dict = {}
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(setuptools, "setup", lambda **arguments: given.update(arguments))
    runpy.run_path(str(ROOT / "setup.py"))
    expected = {".".join(("fewbits", *path.parent.parts)) for path in source_files() if path.parts[0] != "fewbits"}
    assert set(given["packages"]) == expected | {"fewbits"}
