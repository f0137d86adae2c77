"""Checkpoints of training, whole or not at all."""

from pathlib import Path
from typing import Any

import torch

from fewbits.errors import InputError


def save_checkpoint(state: dict[str, Any], path: Path) -> None:
    """Replaces what was saved. Raises `InputError` where it cannot be written; then what was there stays."""
    partial = path.with_suffix(".partial")
    try:
        torch.save(state, partial)
        partial.replace(path)
    except (OSError, RuntimeError) as error:  # the latter from torch, when the disk is full
        partial.unlink(missing_ok=True)
        raise InputError(f"The checkpoint {path} cannot be written: {str(error).splitlines()[0]}.") from None
