"""The recipe of `overfit`, with a budget of next to nothing: it gives starts that files can be made with."""

import numpy as np
import pytest
from PIL import Image as PillowImage

from fewbits.apps.train import overfit as recipe
from fewbits.codecs import files
from fewbits.codecs.codec import Target
from fewbits.codecs.image.overfit.architecture import SIZES
from fewbits.codecs.image.overfit.codec import OverfitCodec
from fewbits.codecs.image.overfit.networks import check_ranges, rounded
from fewbits.codecs.image.overfit.starts import load_starts
from fewbits.codecs.media import Image
from fewbits.errors import InputError

TINY = recipe.Budget(crops=4, side=64, batch=2, kind_batch=2, beginnings=2, trial=2, first=2, second=2, candidates=4,
                     alone=2, rounds=1, short=2, kind=2, further=2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    photos = tmp_path_factory.mktemp("photos")
    generator = np.random.default_rng(0)
    for number in range(4):
        rough = generator.integers(0, 256, (9, 11, 3), dtype=np.uint8)
        PillowImage.fromarray(rough).resize((100, 80), PillowImage.Resampling.BICUBIC).save(photos / f"a_{number}.png")
    return photos


@pytest.fixture(scope="module")
def trained(folder, tmp_path_factory):
    """The folder of a run that has ended, and what it reported."""
    run, reports = tmp_path_factory.mktemp("run"), []
    recipe.train(folder, run, run / "overfit.safetensors", TINY, report=reports.append)
    return run, reports


def test_a_run_gives_starts_and_goes_on_where_it_stopped(folder, trained):
    run, reports = trained
    weights = run / "overfit.safetensors"
    starts = load_starts(weights)
    counts = [starts.count(number) for number in range(len(SIZES))]
    assert counts == [len(recipe.TRADES) * kinds for kinds in recipe.KINDS]
    assert [start.trade for start in starts.by_size[2]] == sorted(recipe.TRADES)
    assert all("bits a pixel" in line for line in reports[:-1])
    again = []
    recipe.train(folder, run, weights, TINY, report=again.append)
    assert len(again) == 1  # nothing was left to train


def test_files_can_be_made_with_the_starts_of_a_run(folder, trained, monkeypatch):
    codec = OverfitCodec(weights=trained[0] / "overfit.safetensors")
    monkeypatch.setattr(files.registry, "create", lambda name, device, weights=None: codec)
    picture = Image.open(folder / "a_1.png")
    decoded = files.decode(files.encode(picture, "overfit", Target(quality=50, effort=1)).data).media
    assert decoded.pixels.shape == picture.pixels.shape


def test_random_beginnings_are_in_range_and_differ():
    for size in SIZES:
        first, again, other = (rounded(dict(recipe.random_parameters(size, seed).views)) for seed in (0, 0, 1))
        check_ranges(first, size)
        assert all(np.array_equal(first[name], again[name]) for name in first)
        assert not np.array_equal(first["context.0.first.weight"], other["context.0.first.weight"])


def test_a_folder_without_large_photos_is_refused(tmp_path):
    with pytest.raises(InputError, match="too few photos"):
        recipe.train(tmp_path, tmp_path / "run", tmp_path / "weights", TINY)
