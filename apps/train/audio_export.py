"""From a finished training run of a codec for sound to the weights file that is shipped, and its model card."""

from collections.abc import Callable
from datetime import date
from pathlib import Path

import numpy as np
import torch

from fewbits.apps.train.audio import VALIDATION_METRICS, VALIDATION_QUALITIES, validate
from fewbits.apps.train.optimisation import begin_integer_stage
from fewbits.apps.train.sounds import Clips
from fewbits.codecs.audio.config import AudioConfig
from fewbits.codecs.audio.entropy_model import SCALE_LOW, SCALE_RATIO, SCALES
from fewbits.codecs.audio.exact_networks import ExactNetworks
from fewbits.codecs.audio.model import AudioModel
from fewbits.codecs.audio.weights import save_weights
from fewbits.entropy.tables import laplace_scale_tables
from fewbits.eval.sound_metrics import SOUND_METRICS


def export(run: Path, data: Path, weights: Path, report: Callable[[str], None] = print) -> None:
    """Turns a run's checkpoint into a weights file.

    Args:
        run: the folder that `train` wrote to.
        data: the folder of sounds that it was trained on.
        weights: the file to write; a model card of the same name is written beside it.
    """
    state = torch.load(run / "checkpoint.pt", map_location="cpu", weights_only=False)
    model = AudioModel(AudioConfig.from_metadata(state["config"]))
    model.load_state_dict(state["averaged"])
    if state["simulated"]:
        model.entropy_model.simulated = True
    else:
        begin_integer_stage(model)
    model.eval()
    weights.parent.mkdir(parents=True, exist_ok=True)
    save_weights(weights, model, ExactNetworks.from_trained(model.entropy_model),
                 laplace_scale_tables(SCALE_LOW * SCALE_RATIO ** np.arange(SCALES)),
                 {"date": f"{date.today()}", "steps": str(state["step"])})
    report(f"{weights}: {weights.stat().st_size / 1e6:.1f} MB")
    clips = Clips.open(data, model.config.rate)
    weights.with_suffix(".md").write_text(
        _card(weights, state["step"], state["elapsed"], clips, validate(model, clips.validation)))


def _card(weights: Path, steps: int, seconds: float, clips: Clips, points: list[dict[str, float]]) -> str:
    """The model card in Markdown."""
    metrics = " | ".join(SOUND_METRICS[name].label for name in VALIDATION_METRICS)
    rows = "\n".join(f"| {quality:g} | {point['kbps']:.2f} | "
                     + " | ".join(f"{point[name]:.3f}" for name in VALIDATION_METRICS) + " |"
                     for quality, point in zip(VALIDATION_QUALITIES, points, strict=True))
    return f"""# {weights.name}

Weights of the codec for sound `{weights.stem}`, made by `fewbits train {weights.stem}`.

- Date: {date.today()}
- Data: {len(clips.training)} clips; {len(clips.validation)} clips of other speakers for validation
- Steps: {steps}, in {seconds / 60:.0f} minutes
- Loss: spectra with their phase, mel bands, and a differentiable outline of PESQ's loudness disturbance; PESQ therefore
  flatters this model, and other metrics stand beside it

On the validation clips, with the model's own estimate of the rate:

| quality | kbit/s | {metrics} |
|---|---|{"---|" * len(VALIDATION_METRICS)}
{rows}
"""
