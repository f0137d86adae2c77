"""The recipe of the circuit of `hyperprior`, with a budget of next to nothing: files can be made with the circuit."""

import numpy as np
import pytest
from PIL import Image as PillowImage

from fewbits.apps.train import latent_circuit as recipe
from fewbits.codecs import files
from fewbits.codecs.codec import Target
from fewbits.codecs.image.hyperprior import codec as codec_module
from fewbits.codecs.image.hyperprior.codec import HyperpriorCodec
from fewbits.codecs.media import Image
from fewbits.errors import InputError

TINY = recipe.Budget(states=3, photos=3, positions=200, passes=2, batch=50)


@pytest.mark.usefixtures("hyperprior_weights")
def test_a_run_gives_a_circuit_that_codes(tmp_path, monkeypatch):
    photos, weights = tmp_path / "photos", tmp_path / "run" / "hyperprior-circuit.safetensors"
    photos.mkdir()
    generator = np.random.default_rng(0)
    for number in range(4):
        rough = generator.integers(0, 256, (9, 11, 3), dtype=np.uint8)
        PillowImage.fromarray(rough).resize((100, 80), PillowImage.Resampling.BICUBIC).save(photos / f"{number}.png")
    reports = []
    recipe.train(photos, weights, TINY, report=reports.append)
    assert sum("pass" in line for line in reports) == TINY.passes
    assert "2 photos and their halves; 1 more" in weights.with_suffix(".md").read_text()
    monkeypatch.setattr(codec_module, "CIRCUIT", weights)
    monkeypatch.setattr(files.registry, "create", lambda name, device, weights=None: HyperpriorCodec(device))
    picture = Image.open(photos / "1.png")
    decoded = [files.decode(files.encode(picture, target=Target(quality=50, effort=effort)).data).image.pixels
               for effort in (5, 6)]
    assert np.array_equal(*decoded)


def test_a_folder_without_photos_is_refused(tmp_path):
    with pytest.raises(InputError, match="two photos"):
        recipe.train(tmp_path, tmp_path / "run" / "weights.safetensors", TINY)
