"""`fewbits app`."""

import threading
from typing import Annotated

import typer


def app(
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port on this machine; 0 for any that is free.")] = 7860,
    share: Annotated[bool, typer.Option("--share", help="Also make a public address, by gradio.")] = False,
) -> None:
    """Open a page in the browser: compress, open, compare and damage files."""
    from fewbits.apps.gui.server import serving

    print("Starting ...", flush=True)
    with serving(port or None, share) as address:
        print(f"fewbits is at {address} (Ctrl-C ends it).", flush=True)
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            print("Good-bye.")
