"""The recipes of `vqextreme` with a budget of next to nothing."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image as PillowImage

from fewbits.codecs.codec import Target
from fewbits.codecs.image.vqextreme import codec as codec_module
from fewbits.codecs.image.vqextreme.codec import VqExtremeCodec
from fewbits.codecs.image.vqextreme.config import VqExtremeConfig
from fewbits.codecs.media import Image
from fewbits.codecs.weights import identity_of

pytest.importorskip("tensorboard", reason="training needs fewbits[train]")

from fewbits.apps.train import vqextreme as recipe
from fewbits.apps.train import vqextreme_restoration, vqextreme_start
from fewbits.apps.train.vqextreme_export import export, export_synthesis, shared_tables
from fewbits.errors import InputError

SMALL = VqExtremeConfig(channels=72, hidden=16, outer_hidden=16, outer_blocks=1, fine_blocks=1, coarse_blocks=1,
                        dimensions=16)


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    generator = np.random.default_rng(0)
    for number in range(3):
        rough = generator.integers(0, 256, (12, 12, 3), dtype=np.uint8)
        photo = PillowImage.fromarray(rough).resize((288, 288), PillowImage.Resampling.BICUBIC)
        photo.save(folder / f"{number}.png")
    return folder


@pytest.mark.parametrize("finite_scalar", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_run_resumes_and_ends_in_weights_that_code_pictures_and_guess_lost_cells(photos, tmp_path, monkeypatch,
                                                                                  finite_scalar):
    monkeypatch.setattr(vqextreme_start, "LLOYD_ITERATIONS", 1)
    config = VqExtremeConfig(**(vars(SMALL) | {"finite_scalar": finite_scalar}))
    run, said = tmp_path / "run", []
    schedule = recipe.Schedule(0.01, batch=1, crop=192, adversary_from=0.3)
    recipe.train(photos, run, schedule, config, report=said.append)
    recipe.train(photos, run, recipe.Schedule(0.04, batch=1, crop=192), config, report=said.append)
    assert said[-2].startswith("going on from step")
    weights = tmp_path / "vqextreme.safetensors"
    export(run, photos, weights, lambda line: None)
    assert "`fewbits train vqextreme`" in weights.with_suffix(".md").read_text()
    network = tmp_path / "vqextreme-restoration.safetensors"
    vqextreme_restoration.train(photos, weights, network, vqextreme_restoration.Schedule(0.01, batch=2, window=4),
                                report=lambda line: None)
    monkeypatch.setattr(codec_module, "WEIGHTS", weights)
    monkeypatch.setattr(codec_module, "RESTORATION", network)
    codec, shape = VqExtremeCodec(), {"height": 256, "width": 256, "channels": 3, "bits": 8}
    stream = codec.encode(Image(np.full((256, 256, 3), 90, np.uint8)), Target(quality=75.0))
    stream.sections[1] = None
    assert codec.conceal(stream, shape).pixels.shape == codec.decode(stream, shape).pixels.shape == (256, 256, 3)


def test_the_synthesis_of_finished_weights_is_trained_alone(photos, tmp_path, monkeypatch):
    started, run, weights = codec_module.WEIGHTS, tmp_path / "run", tmp_path / "vqextreme.safetensors"
    schedule = replace(recipe.schedule(0.02, synthesis_alone=True), batch=1)
    recipe.train(photos, run, schedule, synthesis_of=started, report=lambda line: None)
    export_synthesis(run, photos, started, weights, lambda line: None)
    assert identity_of(started).hex() in weights.with_suffix(".md").read_text()
    photo, shape = Image.open(photos / "0.png"), {"height": 288, "width": 288, "channels": 3, "bits": 8}
    before = VqExtremeCodec().encode(photo, Target(quality=75.0))
    as_before = VqExtremeCodec().decode(before, shape).pixels
    monkeypatch.setattr(codec_module, "WEIGHTS", weights)
    monkeypatch.setattr(codec_module, "RESTORATION", weights.with_name(codec_module.RESTORATION.name))
    codec = VqExtremeCodec()
    after = codec.encode(photo, Target(quality=75.0))
    assert after.sections == before.sections
    assert not np.array_equal(codec.decode(after, shape).pixels, as_before)
    after.sections[1] = None
    assert codec.conceal(after, shape).pixels.shape == photo.pixels.shape


def test_small_photos_are_refused(tmp_path):
    for number in range(2):
        PillowImage.new("RGB", (64, 64)).save(tmp_path / f"{number}.png")
    with pytest.raises(InputError, match="Too few photos"):
        recipe.train(tmp_path, tmp_path / "run", recipe.Schedule(0.01))


def test_contexts_that_are_alike_share_a_table():
    generator = np.random.default_rng(0)
    kinds = np.array([[0.9, 0.05, 0.05], [0.05, 0.05, 0.9]])
    own = np.arange(40) % 2
    counts = np.array([generator.multinomial(2000, kinds[kind]) for kind in own], np.float64)
    found = shared_tables(counts.reshape(5, 8, 3), 2)
    assert len(found.tables) == 2 and found.chosen.shape == (5, 8)
    for kind in (0, 1):
        table = np.unique(found.chosen.ravel()[own == kind])
        assert len(table) == 1
        np.testing.assert_allclose(found.tables.table(table[0])[:3] / 2**24, kinds[kind], atol=0.02)
