"""The option that chooses where networks run."""

from typing import Annotated, Literal

import typer

from fewbits.errors import InputError

Device = Annotated[Literal["cpu", "cuda"], typer.Option(help="Where the networks run.")]


def check_device(device: str) -> None:
    """Raises `InputError` for a device that this machine does not have."""
    if device == "cpu":
        return
    import torch  # seconds: only for those who ask for it

    if not torch.cuda.is_available():
        raise InputError("There is no CUDA device here: leave --device out.")
