"""Training in several processes, as torchrun starts them: `torchrun --nproc-per-node 4 -m fewbits train ...`.

Each process is a rank. It has a batch of its own, the length that the schedule says, so that two ranks with a batch of
4 do what one process does with 8; only rank 0 reports, validates and writes. A recipe is made for that in four steps:

1. `alike(model)` and `diverge(random_state)` once the model is there: one start, different batches.
2. `agree(model)` after `backward`: one step for all. What a model sums over a batch outside its gradients, such as how
   often entries of a codebook occur, goes through `summed`.
3. `of_first(...)` for what only rank 0 knows, which are its clock and its checkpoint.
4. `by_first(report)`, and `if rank() == 0` before anything is validated or written.

In a process that was started alone none of it does anything.
"""

import os
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn

from fewbits.codecs.quantisation import QuantisableLayer
from fewbits.errors import FewbitsError, InputError

PATIENCE = timedelta(minutes=30)  # that ranks wait for each other; rank 0 validates meanwhile

Value = TypeVar("Value")
Action = TypeVar("Action", bound=Callable[..., None])


@contextmanager
def joined(device: str) -> Iterator[str]:
    """Joins the ranks that torchrun has started, if it has. Gives the device of this one.

    Raises:
        InputError: if there are fewer GPUs than ranks on this machine.
        FewbitsError: here and from all collective functions below, if another rank has ended or does not answer.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield device
        return
    if device == "cuda":
        number, count = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
        if number >= count:
            raise InputError(f"Each process needs a GPU of its own: start at most {count} a machine.")
        torch.cuda.set_device(number)
        device = f"cuda:{number}"
    with _all_needed():
        dist.init_process_group("gloo" if device == "cpu" else "cpu:gloo,cuda:nccl", timeout=PATIENCE)
    try:
        yield device
    finally:
        dist.destroy_process_group()


def rank() -> int:
    """The number of this process, from 0."""
    return dist.get_rank() if _many() else 0


def world() -> int:
    """How many processes train together."""
    return dist.get_world_size() if _many() else 1


def alike(model: nn.Module) -> None:
    """Parameters and buffers become those of rank 0."""
    if _many():
        _as_one(list(model.state_dict().values()), lambda row: dist.broadcast(row, 0))


def diverge(random_state: random.Random) -> None:
    """Gives every rank random numbers of its own where all had the same ones; those of rank 0 stay."""
    if rank():
        random_state.seed(random_state.getrandbits(64) + rank())
        torch.manual_seed(random_state.getrandbits(63))


@torch.no_grad()
def agree(model: nn.Module) -> None:
    """After `backward`: gradients become their mean over the ranks, the ranges that `QuantisableLayer` has seen the
    widest, and all other buffers those of rank 0."""
    # DistributedDataParallel wants one forward a step, parameters that have gradients on all ranks or on none, and the
    # model behind a wrapper. Sums after `backward` need none of that, and it costs little beside a step.
    if not _many():
        return
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    for parameter in trained:
        if parameter.grad is None:  # here; another rank may have used it
            parameter.grad = torch.zeros_like(parameter)
    _as_one([p.grad for p in trained if p.grad is not None], lambda row: dist.all_reduce(row.div_(world())))
    _as_one([layer.peak for layer in model.modules() if isinstance(layer, QuantisableLayer)],
            lambda row: dist.all_reduce(row, dist.ReduceOp.MAX))
    parameters = dict(model.named_parameters())
    _as_one([value for name, value in model.state_dict().items() if name not in parameters],
            lambda row: dist.broadcast(row, 0))


def summed(tensor: Tensor) -> Tensor:
    """The tensor, now with its sum over the ranks."""
    if _many():
        with _all_needed():
            dist.all_reduce(tensor)
    return tensor


def of_first(value: Value) -> Value:
    """What rank 0 gives: anything that can be pickled, tensors on the CPU."""
    if not _many():
        return value
    given = [value]
    with _all_needed():
        dist.broadcast_object_list(given)
    return given[0]


def by_first(action: Action) -> Action:
    """The action on rank 0, on others nothing."""
    return action if rank() == 0 else cast(Action, lambda *_: None)


def _many() -> bool:
    return dist.is_available() and dist.is_initialized()


@torch.no_grad()
def _as_one(tensors: list[Tensor], collective: Callable[[Tensor], object]) -> None:
    """A collective in place on all tensors as one row: one message instead of hundreds."""
    if not tensors:
        return
    row = torch.cat([tensor.reshape(-1) for tensor in tensors])
    with _all_needed():
        collective(row)
    for tensor, part in zip(tensors, row.split([tensor.numel() for tensor in tensors]), strict=True):
        tensor.copy_(part.view(tensor.shape))


@contextmanager
def _all_needed() -> Iterator[None]:
    """Around a collective, which all ranks must come to."""
    try:
        yield
    except RuntimeError as error:
        raise FewbitsError("Another process of this training has ended or does not answer: start all of them again, "
                           "and they go on from the last checkpoint.") from error
