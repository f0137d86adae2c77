"""Networks begin with random numbers, which must not come from the state that torch shares with the program."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

_SHARED_STATE = threading.RLock()


@contextmanager
def own_randomness(seed: int = 0) -> Iterator[None]:
    """torch draws from a state of its own on the CPU, in one thread at a time; that of the program comes back after it.

    Also a decorator.
    """
    with _SHARED_STATE, torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield
