"""What fewbits takes from others: every package that it imports is declared in pyproject.toml."""

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

FOLDERS = ("fewbits", "apps", "codecs", "entropy", "eval", "kernels")
BROUGHT = {"llvmlite": "numba", "triton": "torch"}  # parts of a package, in the release that it names


def imported(source: Path) -> set[str]:
    """Top-level names of the packages that a file imports, anywhere in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.split(".")[0])
    return names


def test_every_import_is_declared(root: Path) -> None:
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    lists = [project["dependencies"], *project["optional-dependencies"].values()]
    declared = {normal(re.split(r"[^\w.-]", line)[0]) for lines in lists for line in lines}
    provided = packages_distributions()
    for source in (path for folder in FOLDERS for path in (root / folder).rglob("*.py")):
        for name in imported(source) - sys.stdlib_module_names - {"fewbits"}:
            by = {normal(distribution) for distribution in provided.get(BROUGHT.get(name, name), [name])}
            assert by & declared, f"{source.relative_to(root)} imports {name}: declare it in pyproject.toml."


def normal(name: str) -> str:
    """The name of a distribution as packagers compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()
