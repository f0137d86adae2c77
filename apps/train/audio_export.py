"""From a finished training run of a codec for sound to the weights file that is shipped, and its model card."""

from collections.abc import Callable
from datetime import date
from pathlib import Path

import torch

from fewbits.apps.train.audio import VALIDATION_QUALITIES, Recipe, validate
from fewbits.apps.train.optimisation import restore_integer_stage
from fewbits.apps.train.sounds import Clips
from fewbits.codecs.audio.config import AudioConfig
from fewbits.codecs.audio.exact_networks import ExactNetworks
from fewbits.codecs.audio.model import AudioModel
from fewbits.codecs.audio.weights import save_weights
from fewbits.codecs.latents import table_scales
from fewbits.entropy.tables import laplace_scale_tables
from fewbits.eval.sound_metrics import SOUND_METRICS


def export(run: Path, data: Path, weights: Path, recipe: Recipe, report: Callable[[str], None] = print) -> None:
    """Turns a run's checkpoint into a weights file.

    Args:
        run: the folder that `train` wrote to.
        data: the folder of sounds that it was trained on.
        weights: the file to write; a model card of the same name is written beside it.
        recipe: what was trained.
    """
    state = torch.load(run / "checkpoint.pt", map_location="cpu", weights_only=False)
    model = AudioModel(AudioConfig.from_metadata(state["config"]))
    restore_integer_stage(model, state["averaged"], state["simulated"])
    model.eval()
    weights.parent.mkdir(parents=True, exist_ok=True)
    save_weights(weights, model, ExactNetworks.from_trained(model.entropy_model),
                 laplace_scale_tables(table_scales()),
                 {"date": f"{date.today()}", "steps": str(state["step"])})
    report(f"{weights}: {weights.stat().st_size / 1e6:.1f} MB")
    clips = Clips.open(data, model.config.rate)
    weights.with_suffix(".md").write_text(
        _card(weights, state["step"], state["elapsed"], clips, recipe,
              validate(model, clips.validation, recipe.metrics)))


_LOSS = "spectra with their phase, logarithms of magnitudes bin by bin and in mel bands"
_OF_SPEECH = """, and differentiable outlines of
  PESQ's loudness disturbance and of STOI; both therefore flatter this model, and other metrics stand beside them"""


def _card(weights: Path, steps: int, seconds: float, clips: Clips, recipe: Recipe,
          points: list[dict[str, float]]) -> str:
    """The model card in Markdown."""
    metrics = " | ".join(SOUND_METRICS[name].label for name in recipe.metrics)
    rows = "\n".join(f"| {quality:g} | {point['kbps']:.2f} | "
                     + " | ".join(f"{point[name]:.3f}" for name in recipe.metrics) + " |"
                     for quality, point in zip(VALIDATION_QUALITIES, points, strict=True))
    return f"""# {weights.name}

Weights of the codec for sound `{weights.stem}`, made by `fewbits train {weights.stem}`.

- Date: {date.today()}
- Data: {len(clips.training)} clips; {len(clips.validation)} clips of other speakers or series for validation
- Steps: {steps}, in {seconds / 60:.0f} minutes
- Loss: {_LOSS + (_OF_SPEECH if recipe.loudness else "")}

On the validation clips, with the model's own estimate of the rate:

| quality | kbit/s | {metrics} |
|---|---|{"---|" * len(recipe.metrics)}
{rows}
"""
