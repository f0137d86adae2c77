"""The recipe of the classifier with a budget of next to nothing, on pictures of two colours."""

import numpy as np
import pytest
import torch
from PIL import Image as PillowImage
from typer.testing import CliRunner

from fewbits.apps.cli.main import app
from fewbits.apps.train import classifier as recipe
from fewbits.apps.train.augmentation import augmented
from fewbits.apps.train.classifier import Photos, Schedule
from fewbits.errors import InputError
from fewbits.eval.classifier import ClassifierConfig, load

SMALL = ClassifierConfig(8, 1)


@pytest.fixture
def labelled(tmp_path):
    generator = np.random.default_rng(0)
    for part, count in (("train", 7), ("val", 2)):
        for name, colour in (("leaf", (60, 160, 60)), ("sky", (80, 120, 220))):
            folder = tmp_path / "labelled" / part / name
            folder.mkdir(parents=True)
            for number in range(count):
                pixels = (colour + generator.normal(0, 20, (48, 64, 3))).clip(0, 255).astype(np.uint8)
                PillowImage.fromarray(pixels).save(folder / f"{number}.png")
    return tmp_path / "labelled"


def test_photos_are_split_class_by_class(labelled):
    training, kept = Photos.open(labelled / "train").split()
    assert training.classes == kept.classes == ("leaf", "sky")
    assert training.samples.shape == (12, 3, 128, 128)
    assert training.labels.bincount().tolist() == [6, 6] and kept.labels.tolist() == [0, 1]


def test_no_photo_comes_twice_the_same(labelled):
    samples = Photos.open(labelled / "train").samples[:1].expand(4, -1, -1, -1)
    photos = augmented(samples, 96)
    assert photos.shape == (4, 3, 96, 96) and 0 <= photos.min() and photos.max() <= 1
    assert len({photo.mean().item() for photo in photos}) == 4


def test_a_run_goes_on_from_its_checkpoint_and_ends_in_weights_with_a_card(labelled, tmp_path):
    run, lines = tmp_path / "run", []
    recipe.train(labelled, run, Schedule(0.001, batch=4, crop=32), SMALL, report=lines.append)
    minutes = torch.load(run / "checkpoint.pt", weights_only=False)["elapsed"] / 60 + 0.002
    recipe.train(labelled, run, Schedule(minutes, batch=4, crop=32), SMALL, report=lines.append)
    assert sum("going on from step" in line for line in lines) == 1
    steps = [int(line.split()[1].rstrip(",")) for line in lines if line.startswith("step")]
    assert steps[0] < steps[1] == torch.load(run / "checkpoint.pt", weights_only=False)["step"]
    with pytest.raises(InputError, match="another width or seed"):
        recipe.train(labelled, run, Schedule(0.05), SMALL, seed=1)
    weights = tmp_path / "out" / "classifier.safetensors"
    recipe.export(run, labelled, weights, report=lines.append)
    assert load(weights).classes == ("leaf", "sky")
    card = weights.with_suffix(".md").read_text()
    assert "`fewbits train classifier`" in card and "2 photos kept out" in card and "4 other photos" in card


def test_folders_without_classes_or_with_too_few_photos_are_refused(labelled, tmp_path):
    (tmp_path / "train").mkdir()
    with pytest.raises(InputError, match="a folder of photos for each class"):
        recipe.train(tmp_path, tmp_path / "run", Schedule(0.001), SMALL)
    (labelled / "train" / "sky" / "0.png").unlink()
    with pytest.raises(InputError, match="needs 7 photos at least"):
        recipe.train(labelled, tmp_path / "run", Schedule(0.001), SMALL)
    result = CliRunner().invoke(app, ["train", "classifier", str(tmp_path / "nowhere")])
    assert isinstance(result.exception, InputError)
