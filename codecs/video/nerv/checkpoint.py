"""Fits that take long, kept in a file, so that one that was interrupted can go on."""

import hashlib
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from fewbits.codecs.codec import Target
from fewbits.codecs.video.nerv.fit import Fit
from fewbits.codecs.video_source import VideoSource
from fewbits.errors import InputError

SIDE, NUMBERS = "side.", "numbers."


class Checkpoint:
    """A file of tensors that belongs to one encoding of one film.

    Args:
        identity: of the encoding.
    """

    def __init__(self, path: Path, identity: str) -> None:
        self.path, self.identity = path, identity
        self._partial = path.with_name(path.name + ".partial")

    def load(self) -> dict[str, Tensor]:
        """What was saved; nothing where there is no file. What a run that was killed left half-written goes.

        Raises:
            InputError: if the file is no checkpoint, or that of another encoding.
        """
        with suppress(OSError):
            self._partial.unlink()
        if not self.path.exists():
            return {}
        try:
            with safe_open(self.path, "pt") as file:
                identity = (file.metadata() or {}).get("identity")
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (SafetensorError, OSError) as error:
            raise InputError(f"{self.path} cannot be read as a checkpoint: {error}. Delete it to begin anew.") from None
        if identity != self.identity:
            raise InputError(f"{self.path} is the checkpoint of another film, codec or aim: delete it to begin anew, "
                             "or name another file.")
        return tensors

    def save(self, tensors: dict[str, Tensor]) -> None:
        """Replaces what was saved; whole or not at all. Raises `InputError` where the file cannot be written."""
        try:
            save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, self._partial,
                      {"identity": self.identity})
            self._partial.replace(self.path)
        except (SafetensorError, OSError) as error:
            with suppress(OSError):
                self._partial.unlink()
            raise InputError(f"The checkpoint {self.path} cannot be written: {error}.") from None


def identity_of(film: VideoSource, design: str, target: Target) -> str:
    """Tells encodings apart: by the film's size and first frame, the design of networks, and the target."""
    what = (design, replace(target, checkpoint=None, keep_best=False), film.count, film.height, film.width)
    digest = hashlib.sha256(repr(what).encode())
    digest.update(next(film.frames(0, 1)).tobytes())
    return digest.hexdigest()


def state_of(fit: Fit) -> dict[str, Tensor]:
    """All of a fit that its steps change, its random state included."""
    state = {NUMBERS + name: tensor for name, tensor in fit.numbers.state_dict().items()}
    for number, values in fit.side.state_dict()["state"].items():
        state |= {f"{SIDE}{number}.{name}": tensor for name, tensor in values.items()}
    return state | {"mean": fit.optimiser.mean, "square": fit.optimiser.square, "order": fit.order,
                    "step_count": torch.tensor(fit.step_count), "random": fit.random.get_state()}


def restore(fit: Fit, state: dict[str, Tensor]) -> None:
    """Inverse of `state_of`, for a fit that has just begun."""
    fit.numbers.load_state_dict(_under(NUMBERS, state))
    side: dict[int, dict[str, Tensor]] = {}
    for name, tensor in _under(SIDE, state).items():
        number, _, key = name.partition(".")
        side.setdefault(int(number), {})[key] = tensor
    fit.side.load_state_dict(fit.side.state_dict() | {"state": side})
    fit.optimiser.mean.copy_(state["mean"])
    fit.optimiser.square.copy_(state["square"])
    fit.order = state["order"]
    fit.step_count = fit.optimiser.step_count = int(state["step_count"])
    fit.random.set_state(state["random"])


def _under(prefix: str, state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}
