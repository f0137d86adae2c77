"""The list of packages, computed so that no folder can be forgotten. All else is in pyproject.toml."""

from setuptools import find_packages, setup

FOLDERS = ("apps", "codecs", "entropy", "eval", "kernels")

setup(
    packages=[
        "fewbits",
        *(f"fewbits.{folder}" for folder in FOLDERS),
        *(f"fewbits.{folder}.{package}" for folder in FOLDERS for package in find_packages(folder)),
    ],
    package_dir={"fewbits": "fewbits"} | {f"fewbits.{folder}": folder for folder in FOLDERS},
)
