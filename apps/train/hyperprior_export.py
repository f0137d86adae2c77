"""From a finished training run to the weights file that is shipped, and its model card."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fewbits.apps.train.checkpoints import replaced
from fewbits.apps.train.hyperprior import (
    METRIC_OF,
    SIZES,
    VALIDATION_EVERY,
    VALIDATION_QUALITIES,
    Points,
    cut,
    load_photos,
    validate,
)
from fewbits.apps.train.optimisation import restore_integer_stage
from fewbits.codecs.image.hyperprior.config import HyperpriorConfig
from fewbits.codecs.image.hyperprior.exact_networks import ExactNetworks
from fewbits.codecs.image.hyperprior.model import HyperpriorModel
from fewbits.codecs.image.hyperprior.weights import LATENT_TABLES, save_weights
from fewbits.codecs.latents import table_scales
from fewbits.codecs.media import Image
from fewbits.entropy.tables import SymbolTables, logistic_scale_tables
from fewbits.eval.anchors import ANCHORS
from fewbits.eval.curves import Curve, Point, bd_rate
from fewbits.eval.metrics import METRICS

TABLE_EVERY = 40  # every 40th photo, of all sizes together, is counted for the tables of other codecs
ANCHORS_OF = {"psnr": "avif-psnr", "ms_ssim": "avif"}  # what to compare with under a metric


Others = Callable[[HyperpriorModel, ExactNetworks, dict[str, SymbolTables], list[Tensor]],
                  tuple[dict[str, SymbolTables], dict[str, Tensor]]]
"""What a codec with these networks stores beside them: from the model, its networks, their tables and photos to tables
and tensors."""


def nothing(model: HyperpriorModel, networks: ExactNetworks, tables: dict[str, SymbolTables],
            photos: list[Tensor]) -> tuple[dict[str, SymbolTables], dict[str, Tensor]]:
    return {}, {}


def export(run: Path, data: Path, weights: Path, report: Callable[[str], None] = print,
           model_type: type[HyperpriorModel] = HyperpriorModel, others: Others = nothing) -> None:
    """Turns a run's checkpoint into a weights file: quantises the networks.

    Args:
        run: the folder that `train` wrote to.
        data: the folder of photos that it was trained on.
        weights: the file to write; a model card of the same name is written beside it.
        model_type, others: of a codec that shares these networks.
    """
    state = torch.load(run / "checkpoint.pt", map_location="cpu", weights_only=False)
    config = HyperpriorConfig.from_metadata(state["config"])
    model = _ready(model_type(config), state["averaged"], state["simulated"])
    networks = ExactNetworks.from_trained(model.entropy_model)
    training, validation = load_photos(data)
    tables = {LATENT_TABLES: logistic_scale_tables(table_scales())}
    more_tables, tensors = others(model, networks, tables, training[::TABLE_EVERY])
    with replaced(weights) as temporary:
        save_weights(temporary, model, networks, tables | more_tables,
                     {"date": f"{date.today()}", "steps": str(state["step"])}, tensors)
    report(f"{weights}: {weights.stat().st_size / 1e6:.1f} MB")
    metric = METRIC_OF[state["tune"]]
    anchor = anchor_curve(validation, metric)
    history = []
    for snapshot in sorted(run.glob("averaged-*.pt"), key=_steps):
        snapped = _ready(model_type(config), torch.load(snapshot, map_location="cpu"), state["simulated"])
        points = validate(snapped, validation, metric)
        history.append((_steps(snapshot), bd_rate(anchor, _curve(points, metric)).percent))
        report(f"step {history[-1][0]}: {_signed(history[-1][1])} % against {anchor.codec}")
    card = ModelCard(weights.stem, f"{date.today()}", f"{len(training) // len(SIZES)} photos", state["start"],
                     state["step"], state["elapsed"] / 60, metric, validate(model, validation, metric), history)
    with replaced(weights.with_suffix(".md")) as temporary:
        temporary.write_text(card.text())


def _ready(model: HyperpriorModel, state: dict[str, Tensor], formats_fixed: bool) -> HyperpriorModel:
    """A model in evaluation mode with its integer networks simulated, their formats fixed if they were not yet."""
    restore_integer_stage(model, state, formats_fixed)
    return model.to(memory_format=torch.channels_last).eval()


def anchor_curve(photos: list[Tensor], metric: str) -> Curve:
    """What the anchor does on the photos that `validate` uses, cut alike."""
    codec, points = ANCHORS[ANCHORS_OF[metric]], []
    pixels = [cut(photo).permute(1, 2, 0).contiguous().numpy() for photo in photos]
    for setting in codec.settings:
        rates, values = [], []
        for source in pixels:
            data = codec.encode(Image(source), setting)
            value = METRICS[metric].compute(source, codec.decode(data).rgb())
            if value is not None:
                rates.append(8 * len(data) / (source.shape[0] * source.shape[1]))
                values.append(value)
        points.append(Point(setting, float(np.mean(rates)), float(np.mean(values))))
    return Curve(codec.name, metric, tuple(sorted(points, key=lambda p: p.rate)))


def _curve(points: Points, metric: str) -> Curve:
    return Curve("hyperprior", metric, tuple(Point(q, *p) for q, p in zip(VALIDATION_QUALITIES, points, strict=True)))


def _steps(snapshot: Path) -> int:
    return int(snapshot.stem.removeprefix("averaged-"))


def _signed(percent: float | None) -> str:
    """A BD-rate for people; there is none where the curves do not overlap, as after few steps."""
    return "-" if percent is None else f"{percent:+.1f}"


@dataclass(frozen=True)
class ModelCard:
    """What a reader should know about trained weights.

    Attributes:
        name: of the weights, and the codec's up to the first hyphen.
        start: the weights that training went on from; None if from none.
        minutes: that training took.
        points: of the finished model on the validation photos.
        history: steps, and difference in rate against the anchor on the validation photos, in percent.
    """

    name: str
    date: str
    data: str
    start: str | None
    steps: int
    minutes: float
    metric: str
    points: Points
    history: list[tuple[int, float | None]]

    def text(self) -> str:
        """The card in Markdown."""
        codec = self.name.split("-")[0]
        digits = 2 if self.metric == "psnr" else 4
        points = "\n".join(f"| {quality:g} | {rate:.3f} | {value:.{digits}f} |"
                           for quality, (rate, value) in zip(VALIDATION_QUALITIES, self.points, strict=True))
        history = "\n".join(f"| {steps} | {_signed(percent)} |"
                            for steps, percent in self.history)
        sizes = ", ".join(f"{size:g}" for size in SIZES)
        return f"""# {self.name}.safetensors

Weights of the image codec `{codec}`, made by `fewbits train {codec}`.

- Date: {self.date}
- Data: {self.data}, at {sizes} of their size; every {VALIDATION_EVERY}th photo kept out for validation
- Start: {self.start or "the lapped transform alone"}
- Steps: {self.steps}, in {self.minutes:.0f} minutes

On the validation photos, with the model's own estimate of the rate:

| quality | bits per pixel | {self.metric} |
|---|---|---|
{points}

What training bought, as the mean difference in rate (BD-rate under {self.metric}) against `{ANCHORS_OF[self.metric]}`.
Snapshots of the averaged weights; the learning rate falls to 0 at the end only, so that earlier rows would be better
had they been the end.

| steps | BD-rate (%) |
|---|---|
{history}
"""
