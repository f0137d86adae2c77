"""From a finished training run of a codec for sound to the weights file that is shipped, and its model card."""

import random
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fewbits.apps.train.audio import VALIDATION_QUALITIES, Distortion, validate
from fewbits.apps.train.checkpoints import replaced
from fewbits.apps.train.optimisation import restore_integer_stage
from fewbits.apps.train.sounds import Clips
from fewbits.codecs.audio.config import AudioConfig, VectorConfig
from fewbits.codecs.audio.exact_networks import ExactNetworks
from fewbits.codecs.audio.model import AudioModel
from fewbits.codecs.audio.vector_coder import VectorCoder
from fewbits.codecs.audio.vector_model import VectorModel
from fewbits.codecs.audio.vector_weights import save_vector_weights
from fewbits.codecs.audio.weights import save_weights
from fewbits.codecs.latents import table_scales
from fewbits.entropy.index_coder import learn_prior
from fewbits.entropy.tables import laplace_scale_tables
from fewbits.eval.sound_metrics import SOUND_METRICS
from fewbits.kernels.index_mixing import IndexPrior

PRIOR_SHARES = (1.0, 0.75, 0.25, 0.5)  # of the stages, that the clips of the prior are coded with in turn
ERROR_CLIPS = 20


def export_scalar(run: Path, clips: Clips, weights: Path, distortion: Distortion,
                  report: Callable[[str], None] = print) -> None:
    """Turns a checkpoint of a `ScalarRun` into a weights file.

    Args:
        run: the folder that `train` wrote to.
        clips: that it was trained with.
        weights: the file to write; a model card of the same name is written beside it.
        distortion: that it was trained for.
    """
    state = torch.load(run / "checkpoint.pt", map_location="cpu", weights_only=False)
    model = AudioModel(AudioConfig.from_metadata(state["config"]))
    restore_integer_stage(model, state["averaged"], state["simulated"])
    model.eval()
    with replaced(weights) as temporary:
        save_weights(temporary, model, ExactNetworks.from_trained(model.entropy_model),
                     laplace_scale_tables(table_scales()), _notes(state))
    _finish(weights, state, model, clips, distortion, "the model's own estimate of the rate", report)


@torch.no_grad()
def export_vector(run: Path, clips: Clips, weights: Path, distortion: Distortion,
                  report: Callable[[str], None] = print) -> None:
    """Turns a checkpoint of a `VectorRun` into a weights file; arguments as for `export_scalar`."""
    state = torch.load(run / "checkpoint.pt", map_location="cpu", weights_only=False)
    model = VectorModel(VectorConfig.from_metadata(state["config"]))
    model.load_state_dict(state["averaged"])
    model.eval().quantiser.sort_entries()
    errors = _usual_errors(model, clips.training)
    prior = _prior(model, errors, clips.training)
    with replaced(weights) as temporary:
        save_vector_weights(temporary, model, prior, errors, _notes(state))
    _finish(weights, state, model, clips, distortion, "every index counted in full", report)


def _usual_errors(model: VectorModel, clips: list[np.ndarray]) -> Tensor:
    """Mean squares left of latents after 0, 1, ... stages, where the model is to use as many: (stages + 1,)."""
    total, frames = torch.zeros(model.config.stages + 1), 0
    for clip in random.Random(0).sample(clips, min(ERROR_CLIPS, len(clips))):
        for stages in range(1, model.config.stages + 1):
            latents = _latents(model, clip, stages)
            errors = model.quantiser.errors(latents, model.quantiser.indices(latents)[:, :stages])
            total[stages] += errors[0, stages].sum()
            total[0] += errors[0, 0].sum() / model.config.stages
        frames += latents.shape[2]
    return total / frames


def _prior(model: VectorModel, errors: Tensor, clips: list[np.ndarray]) -> IndexPrior:
    """What the indices of clips teach about others; the clips take turns in their quality."""
    coder = VectorCoder(model, IndexPrior.cold(model.config.stages, model.config.entries), errors)
    order = random.Random(1).sample(clips, len(clips))

    def indices(number: int, clip: np.ndarray) -> np.ndarray:
        stages = max(round(PRIOR_SHARES[number % len(PRIOR_SHARES)] * model.config.stages), 1)
        return coder.indices(_latents(model, clip, stages), stages - 1)[0].numpy()

    return learn_prior((indices(*numbered) for numbered in enumerate(order)), model.config.stages, model.config.entries)


def _latents(model: VectorModel, clip: np.ndarray, stages: int) -> Tensor:
    """Latents (1, K, T) of a clip, cut to whole frames."""
    source = torch.from_numpy(clip[: len(clip) // model.config.hop * model.config.hop].astype(np.float32))
    return model.to_latents(source[None], model.level_weights(torch.tensor([stages])))


def _notes(state: dict[str, Any]) -> dict[str, str]:
    return {"date": f"{date.today()}", "steps": str(state["step"])}


def _finish(weights: Path, state: dict[str, Any], model: AudioModel | VectorModel, clips: Clips,
            distortion: Distortion, rate: str, report: Callable[[str], None]) -> None:
    """Says how large the file is, validates, and writes the model card."""
    report(f"{weights}: {weights.stat().st_size / 1e6:.1f} MB")
    points = validate(model, model.config, clips.validation, distortion.metrics)
    with replaced(weights.with_suffix(".md")) as card:
        card.write_text(_card(weights, state, clips, distortion, rate, points))


_LOSS = "spectra with their phase, logarithms of magnitudes bin by bin and in mel bands"
_OF_SPEECH = """, and differentiable outlines of
  PESQ's loudness disturbance and of STOI; both therefore flatter this model, and other metrics stand beside them"""


def _card(weights: Path, state: dict[str, Any], clips: Clips, distortion: Distortion, rate: str,
          points: list[dict[str, float]]) -> str:
    """The model card in Markdown."""
    metrics = " | ".join(SOUND_METRICS[name].label for name in distortion.metrics)
    rows = "\n".join(f"| {quality:g} | {point['kbps']:.2f} | "
                     + " | ".join(f"{point[name]:.3f}" for name in distortion.metrics) + " |"
                     for quality, point in zip(VALIDATION_QUALITIES, points, strict=True))
    return f"""# {weights.name}

Weights of the codec for sound `{weights.stem}`, made by `fewbits train {weights.stem}`.

- Date: {date.today()}
- Data: {len(clips.training)} clips; {len(clips.validation)} clips of other speakers or series for validation
- Steps: {state["step"]}, in {state["elapsed"] / 60:.0f} minutes
- Loss: {_LOSS + (_OF_SPEECH if distortion.loudness else "")}

On the validation clips, with {rate}:

| quality | kbit/s | {metrics} |
|---|---|{"---|" * len(distortion.metrics)}
{rows}
"""
