"""From a finished training run of `vqextreme` to the weights file that is shipped, and its model card."""

from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fewbits.apps.train.checkpoints import replaced
from fewbits.apps.train.hyperprior import SIZES, VALIDATION_EVERY, load_photos
from fewbits.apps.train.vqextreme import VALIDATED, validate
from fewbits.apps.train.vqextreme_start import clustered, images_of
from fewbits.codecs.image.hyperprior.model import EVERY_SIDE
from fewbits.codecs.image.vqextreme.codec import RESTORATION
from fewbits.codecs.image.vqextreme.config import CELL, RATES, STAGES, VqExtremeConfig
from fewbits.codecs.image.vqextreme.index_coder import NEAR, CellIndices, RateTables, StageTables
from fewbits.codecs.image.vqextreme.model import VqExtremeModel, rate_weights
from fewbits.codecs.image.vqextreme.weights import (
    Weights,
    load_restoration,
    load_weights,
    save_restoration,
    save_weights,
)
from fewbits.codecs.weights import identity_of
from fewbits.entropy.tables import SymbolTables, quantised

GROUPS = 12  # of similar coarse entries
TABLES = {"coarse": 24, "fine": 32, "detail": 16}  # that the contexts of a stage share
PRIOR_WEIGHT = 64.0  # how many observations the shares over all contexts are worth
ITERATIONS = 10
CALIBRATED_EVERY = 8  # every 8th photo in its full size decides what a bit is worth
CALIBRATIONS = 6
COUNTED_EVERY = 2  # every second photo, of all sizes together, is counted for the tables


def export(run: Path, data: Path, weights: Path, report: Callable[[str], None] = print) -> None:
    """Turns a run's checkpoint into a weights file.

    Args:
        run: the folder that `train` wrote to.
        data: the folder of photos that it was trained on.
        weights: the file to write; a model card of the same name is written beside it.
    """
    state = torch.load(run / "checkpoint.pt", map_location="cpu", weights_only=False)
    model = VqExtremeModel(VqExtremeConfig.from_metadata(state["config"])).to(memory_format=torch.channels_last)
    model.load_state_dict(state["averaged"])
    model = model.eval().requires_grad_(False)
    training, validation = load_photos(data)
    tables = []
    for number in range(len(RATES)):
        calibrate(model, number, training[:: len(SIZES) * CALIBRATED_EVERY])
        tables.append(rate_tables(model, number, coded(model, training[number % 2 :: COUNTED_EVERY], number)))
        report(f"tables of rate {number}, where a bit is worth {model.slope(number):.1f}")
    _write(weights, model, tables, state, report)
    _write_card(weights, state, training, validation, model,
                "principal components of the lapped transform, and clusters of them")


def export_synthesis(run: Path, data: Path, start: Path, weights: Path, report: Callable[[str], None] = print) -> None:
    """Turns a run that trained the synthesis of `start` into a weights file, and takes over the network that guesses
    lost cells, which lies beside `start` and will lie beside `weights`.

    Args:
        run, data, weights: as of `export`.

    Raises:
        WeightsError: if a file cannot be read, or they do not belong together.
    """
    state = torch.load(run / "checkpoint.pt", map_location="cpu", weights_only=False)
    finished = load_weights(start, "cpu")
    guessing = load_restoration(start.with_name(RESTORATION.name), finished)
    finished.model.load_state_dict(state["averaged"])
    _write(weights, finished.model, finished.tables, state, report)
    with replaced(weights.with_name(RESTORATION.name)) as temporary:
        save_restoration(temporary, guessing.network, identity_of(weights), {"date": f"{date.today()}"})
    _write_card(weights, state, *load_photos(data), finished.model,
                f"the weights {finished.identity.hex()}, of which the synthesis alone was trained on")


@torch.inference_mode()
def calibrate(model: VqExtremeModel, number: int, photos: list[Tensor]) -> None:
    """Sets what a bit is worth at a rate, so that whole photos, uint8 (3, H, W), take as many as they should.

    Training steers the same on crops, whose rates differ a little.
    """
    rate, coder = RATES[number], Weights(b"", model, [])
    features = [model.analysis(image, rate_weights(number, image), EVERY_SIDE, model.config.dimensions)
                for image in images_of(photos)]
    pixels = CELL**2 * sum(coarse[0, 0].numel() for _, coarse in features)
    for _ in range(CALIBRATIONS):
        pictures = [coder.indices(*pair, number) for pair in features]
        bits = sum(_entropy(np.concatenate([getattr(p, stage).ravel() for p in pictures])) for stage in STAGES)
        # bits fall with a power of about 0.6 of what they are worth
        model.get_buffer("slopes")[number] *= max(min((bits / pixels / rate.bits_per_pixel) ** 1.5, 4.0), 0.25)


def _entropy(indices: np.ndarray) -> float:
    """Bits of all indices by how often each occurs."""
    counts = np.bincount(indices)
    return float(-(counts * np.log2(np.maximum(counts, 1) / indices.size)).sum())


def coded(model: VqExtremeModel, photos: list[Tensor], number: int) -> Iterator[CellIndices]:
    """The indices of photos, uint8 (3, H, W), cut to whole cells, at one of the rates."""
    coder = Weights(b"", model, [])
    with torch.inference_mode():
        for image in images_of([photo for photo in photos if min(photo.shape[1:]) >= CELL]):
            features = model.analysis(image, rate_weights(number, image), EVERY_SIDE, model.config.dimensions)
            yield coder.indices(*features, number)


def rate_tables(model: VqExtremeModel, number: int, pictures: Iterator[CellIndices]) -> RateTables:
    """Tables of a rate, from the indices of pictures."""
    rate, pictures = RATES[number], list(pictures)
    entries = model.stage("coarse").entries(rate.coarse).detach()
    used = np.bincount(np.concatenate([p.coarse.ravel() for p in pictures]), minlength=rate.coarse)
    centres, _ = clustered(entries, torch.from_numpy(used).float() + 0.1, GROUPS)
    groups = 1 + torch.cdist(entries, centres).argmin(1).numpy()
    counts = np.zeros((GROUPS + 1, GROUPS + 1, rate.coarse))
    for picture in pictures:
        np.add.at(counts, (*_near(groups[picture.coarse]), picture.coarse), 1)
    fine = np.zeros((rate.coarse, rate.fine))
    detail = np.zeros((rate.fine, rate.detail))
    for picture in pictures:
        np.add.at(fine, (picture.coarse[..., None], picture.fine), 1)
        np.add.at(detail, (picture.fine, picture.detail), 1)
    return RateTables(groups, shared_tables(counts, TABLES["coarse"]), shared_tables(fine, TABLES["fine"]),
                      shared_tables(detail, TABLES["detail"]) if rate.detail > 1 else None)


def _near(groups: np.ndarray) -> list[np.ndarray]:
    """Of every cell, the groups of the two cells near by that are coded before it; 0 beyond the border."""
    rows, columns = groups.shape
    padded = np.pad(groups, 2)
    return [padded[2 - down : 2 - down + rows, 2 - across : 2 - across + columns] for down, across in NEAR]


def shared_tables(counts: np.ndarray, most: int) -> StageTables:
    """A few tables for many contexts: Lloyd's algorithm with code lengths for distances.

    Args:
        counts: (..., K), how often each entry occurs in every context.
        most: how many tables there may be.
    """
    flat = counts.reshape(-1, counts.shape[-1])
    overall = (flat.sum(0) + 0.5) / (flat.sum() + 0.5 * flat.shape[1])
    begin = np.argsort(-flat.sum(1), kind="stable")[:most]
    shares = _smoothed(flat[begin], overall)
    for _ in range(ITERATIONS):
        chosen = (flat @ -np.log2(shares).T).argmin(1)
        sums = np.zeros_like(shares)
        np.add.at(sums, chosen, flat)
        shares = _smoothed(sums, overall)
    rows = [quantised(np.append(row, 0.0)) for row in shares]
    tables = SymbolTables.from_frequencies(rows, [0] * len(rows))
    return StageTables(tables, chosen.reshape(counts.shape[:-1]).astype(np.uint8))


def _smoothed(counts: np.ndarray, overall: np.ndarray) -> np.ndarray:
    return (counts + PRIOR_WEIGHT * overall) / (counts.sum(1, keepdims=True) + PRIOR_WEIGHT)


def _write(weights: Path, model: VqExtremeModel, tables: list[RateTables], state: dict,
           report: Callable[[str], None]) -> None:
    with replaced(weights) as temporary:
        save_weights(temporary, model, tables, {"date": f"{date.today()}", "steps": str(state["step"])})
    report(f"{weights}: {weights.stat().st_size / 1e6:.1f} MB")


def _write_card(weights: Path, state: dict, training: list[Tensor], validation: list[Tensor], model: VqExtremeModel,
                start: str) -> None:
    large = [photo for photo in validation if min(photo.shape[1:]) > 160]  # as MS-SSIM needs
    points = validate(model, large, VALIDATED)
    rows = "\n".join(f"| {number} | {' / '.join(map(str, rate[:3]))} | {bits:.4f} | {psnr:.2f} | {similarity:.4f} "
                     f"| {gmsd:.4f} |"
                     for number, (rate, (bits, psnr, similarity, gmsd)) in enumerate(zip(RATES, points, strict=True)))
    sizes = ", ".join(f"{size:g}" for size in SIZES)
    text = f"""# {weights.name}

Weights of the image codec `vqextreme`, made by `fewbits train vqextreme`.

- Date: {date.today()}
- Data: {len(training) // len(SIZES)} photos, at {sizes} of their size; every {VALIDATION_EVERY}th photo
  kept out for validation
- Start: {start}
- Steps: {state["step"]}, in {state["elapsed"] / 60:.0f} minutes

On the validation photos:

| rate | entries (coarse / fine / detail) | bits per pixel, without contexts | psnr | ms_ssim | gmsd |
|---|---|---|---|---|---|
{rows}
"""
    with replaced(weights.with_suffix(".md")) as card:
        card.write_text(text)
