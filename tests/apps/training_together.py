"""What each rank does in `test_train_ranks.py`: `training_together.py PHOTOS OUT`.

First rank 0 does it all alone, then both do it together, then rank 1 is killed. Ranks train on every other row of the
batches that one process has whole. Noise is left out, and bfloat16, so that sums alone decide how much results differ.
"""

import contextlib
import os
import signal
import sys
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor

from fewbits.apps.train import audio_scalar, ranks
from fewbits.apps.train import hyperprior as recipe
from fewbits.apps.train.circuit_tree import Budget, Training
from fewbits.codecs.audio.vector_quantiser import VectorQuantiser, VectorQuantiserConfig
from fewbits.codecs.codec import no_progress
from fewbits.codecs.image.hyperprior.config import HyperpriorConfig
from fewbits.codecs.image.mcq.quantiser import ScaleQuantiser
from fewbits.codecs.image_set import ImageSet
from fewbits.errors import FewbitsError

SMALL = HyperpriorConfig(transform_hidden=8, analysis_blocks=1, synthesis_blocks=1, hyper_channels=8, hyper_latents=4,
                         low_hidden=8, low_multiplier=1, high_hidden=8, high_multiplier=1)
BATCH = 4  # of all ranks together
STEPS, SECONDS = 4, 15.0  # seconds of each step by the clock of rank 0; that of others stands still


def own_rows(rows: Tensor) -> Tensor:
    return rows[ranks.rank() :: ranks.world()]


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def train(photos: Path, out: Path, minutes: float) -> dict:
    """A run of `hyperprior`, and what it came to."""
    losses, said, drawn, models = [], [], [], []

    def loss_of(model: torch.nn.Module, images: Tensor, quality: Tensor, tune: str) -> tuple[Tensor, ...]:
        drawn.append(float(images.sum()))
        random = generator(len(losses))
        images, quality = torch.rand(BATCH, 3, 64, 64, generator=random), 100 * torch.rand(BATCH, generator=random)
        result = true_loss_of(model, own_rows(images), own_rows(quality), tune)
        losses.append(result[0].item())
        models[:] = [model]
        return result

    true_loss_of, ticks = recipe.loss_of, count(0.0, 0.0 if ranks.rank() else SECONDS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recipe, "loss_of", loss_of)
        patch.setattr(recipe, "time", SimpleNamespace(monotonic=lambda: next(ticks)))
        schedule = recipe.Schedule(minutes, batch=BATCH // ranks.world(), crop=64, warmup=1, integer_share=0.0)
        recipe.train(photos, out, schedule, report=said.append)
    weights = torch.cat([p.detach().reshape(-1) for p in models[0].parameters()])
    peaks = torch.stack([value for name, value in models[0].named_buffers() if name.endswith(".peak")])
    return {"losses": losses, "said": said, "drawn": drawn, "weights": weights, "peaks": peaks}


def codebooks() -> dict[str, Tensor]:
    """What codebooks have learned after a batch."""
    stages = VectorQuantiser(VectorQuantiserConfig(latents=2, stages=2, entries=4, code_dimension=None))
    stages.entries.copy_(torch.randn(stages.entries.shape, generator=generator(1)))
    stages.summed = ranks.summed
    stages(own_rows(torch.randn(8, 2, 500, generator=generator(2))), own_rows(torch.tensor([1, 2] * 4)))
    scales = ScaleQuantiser()
    scales.summed = ranks.summed
    residuals = own_rows(torch.randn(2, 30, 48, generator=generator(3)))  # 48 numbers are whole vectors of any length
    scales(residuals.reshape(-1), torch.arange(30).repeat_interleave(48).repeat(len(residuals)))
    multipliers = audio_scalar.Multipliers(audio_scalar.RECIPES["speech"], 0.1)
    levels = len(multipliers.logs)
    weights = own_rows(torch.rand(BATCH, levels, generator=generator(4)).softmax(1))
    multipliers.steer(weights, own_rows(torch.linspace(0, 100, BATCH)), own_rows(torch.linspace(1, 9, BATCH)))
    return {"entries": stages.entries, "usage": stages.usage, "multipliers": multipliers.logs,
            "shares": torch.cat([scales.shares(number) for number in range(len(scales.codebooks))])}


def circuit(out: Path) -> list[tuple[int, float, float]]:
    """Bits a sample after each pass of a circuit's training."""
    images = ImageSet(np.random.default_rng(0).integers(0, 4, (61, 3, 3, 1), dtype=np.uint8) * 60)
    out.mkdir(parents=True)
    training = Training(images, out, Budget(states=2, components=3, passes=2, whole_passes=1, batch=7), "cpu",
                        no_progress, lambda line: None)
    training.go_on()
    return training.state.history


def everything(photos: Path, out: Path) -> dict:
    minutes = STEPS * SECONDS / 60
    own = out / f"{ranks.rank()}-of-{ranks.world()}"  # as on machines that share no disk
    return {"first": train(photos, own, minutes), "on": train(photos, own, 2 * minutes), "codebooks": codebooks(),
            "circuit": circuit(out / f"circuit-{own.name}"), "files": sorted(path.name for path in own.iterdir())}


def main(photos: Path, out: Path) -> None:
    torch.set_num_threads(1)
    recipe.HyperpriorConfig = lambda: SMALL
    recipe.VALIDATION_QUALITIES = (50.0,)
    torch.rand_like = lambda tensor, **_: torch.full_like(tensor, 0.5)
    torch.autocast = lambda *_, **__: contextlib.nullcontext()
    if os.environ["RANK"] == "0":
        torch.save(everything(photos, out), out / "alone.pt")
    with ranks.joined("cpu"):
        torch.save(everything(photos, out), out / f"rank-{ranks.rank()}.pt")
        ranks.of_first("both are here")
        if ranks.rank():
            os.kill(os.getpid(), signal.SIGKILL)
        while True:
            ranks.of_first(0)


if __name__ == "__main__":
    try:
        main(*map(Path, sys.argv[1:]))
    except FewbitsError as error:
        sys.exit(str(error))
