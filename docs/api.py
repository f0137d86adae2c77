"""Builds the reference of the library from its docstrings, in a folder: `api.py FOLDER`; what `make docs` runs."""

import os
import sys
import warnings
from pathlib import Path

os.environ["PDOC_ALLOW_EXEC"] = "1"  # a library asks lscpu for the processor when it is imported

import pdoc

import fewbits

MODULES = ("fewbits", "fewbits.errors", "fewbits.codecs", "fewbits.entropy", "fewbits.eval", "fewbits.kernels")


def main(target: Path) -> None:
    """Raises `UserWarning` where pdoc cannot import a module or read a name or type of it."""
    warnings.filterwarnings("error", module=r"pdoc\.")
    for name in fewbits.__all__:
        setattr(fewbits, name, getattr(fewbits, name))  # pdoc looks for names, and these come at first use
    print(f"Reading {', '.join(MODULES)}: a minute ...", flush=True)
    pdoc.render.configure(docformat="google", show_source=False, footer_text=f"fewbits {fewbits.__version__}")
    pdoc.pdoc(*MODULES, output_directory=target)
    print(f"The reference begins at {target / 'index.html'}.")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
