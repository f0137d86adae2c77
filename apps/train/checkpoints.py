"""What training writes, checkpoints, weights and model cards: whole or not at all."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from fewbits.apps.cli.paths import remove_leftovers, whole_or_absent


@contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """A temporary path, to be written in the block, that then takes the place of another.

    What runs that were killed left half-written beside it goes. Raises `InputError` where nothing can be written; then
    what was there stays.
    """
    remove_leftovers(path.resolve().parent)
    with whole_or_absent(path, overwrite=True) as temporary:
        try:
            yield temporary
        except (RuntimeError, SafetensorError) as error:  # of torch and safetensors, when the disk is full
            raise OSError(str(error).splitlines()[0]) from None


def save_checkpoint(state: dict[str, Any], path: Path) -> None:
    """Replaces what was saved. Raises `InputError` where it cannot be written; then what was there stays."""
    with replaced(path) as temporary:
        torch.save(state, temporary)


def latest(checkpoint: Path) -> dict[str, Any] | None:
    """What a checkpoint holds, tensors on the CPU; None if there is none yet."""
    return torch.load(checkpoint, map_location="cpu", weights_only=False) if checkpoint.exists() else None
