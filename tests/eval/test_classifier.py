"""The classifier that ships with fewbits, and the distance between pictures that its features give."""

import hashlib

import numpy as np
import pytest
import torch
from PIL import Image as PillowImage
from PIL import ImageFilter
from safetensors.torch import save_file

from fewbits.codecs.media import Image
from fewbits.errors import InputError, WeightsError
from fewbits.eval.classifier import WEIGHTS, Classifier, ClassifierConfig, feature_distances, load, save, top1
from fewbits.eval.metrics import METRICS, features

IDENTITY = "b247406a6dc6932b"


def blurred(pixels: np.ndarray, radius: float) -> np.ndarray:
    return np.asarray(PillowImage.fromarray(pixels).filter(ImageFilter.GaussianBlur(radius)))


def test_equal_pictures_have_no_distance_and_more_blur_a_larger_one(make_picture):
    source = make_picture(96, 80).pixels
    assert features(source, source) == 0
    distances = [features(source, blurred(source, radius)) for radius in (0.5, 1, 2, 4)]
    assert 0 < distances[0] and distances == sorted(distances)
    assert METRICS["features"].scale(0) > METRICS["features"].scale(distances[0])


@pytest.mark.parametrize(("width", "height"), [(32, 32), (33, 47), (131, 64)])
def test_pictures_of_any_size_from_32_pixels_on_have_a_distance(width, height, make_picture):
    source = make_picture(width, height).pixels
    assert 0 < features(source, blurred(source, 2)) < 2
    assert features(source[:31], source[:31]) is None


def test_every_pixel_counts_also_at_the_edges(make_picture):
    source = make_picture(37, 38).pixels
    for place in ((0, 0), (37, 36), (19, 36)):
        decoded = source.copy()
        decoded[place] = 255 - decoded[place]
        assert features(source, decoded) > 0


def test_grey_and_flat_pictures_have_a_distance(make_picture):
    grey = Image(make_picture(64, 64).pixels[..., :1]).rgb()
    assert features(grey, blurred(grey, 2)) > 0
    black, white = np.zeros((64, 64, 3), np.uint8), np.full((64, 64, 3), 255, np.uint8)
    assert features(black, black) == 0
    assert features(black, white) > 0


def test_the_distance_of_a_batch_leads_back_to_the_original(make_picture):
    torch.manual_seed(0)
    classifier = Classifier(ClassifierConfig(8, 1), ("a", "b")).eval()
    original = torch.rand(2, 3, 64, 48)
    decoded = (original + 0.2 * torch.randn_like(original)).requires_grad_()
    before = feature_distances(classifier, original, decoded)
    assert before.shape == (2,) and before.min() > 0
    (gradient,) = torch.autograd.grad(before.sum(), decoded)
    after = feature_distances(classifier, original, decoded - 0.3 * gradient / gradient.std() * 0.2)
    assert (after < before).all()
    flat = torch.full((1, 3, 32, 32), 0.5, requires_grad=True)
    feature_distances(classifier, original[:1, :, :32, :32], flat).sum().backward()
    assert flat.grad.isfinite().all()


def test_weights_come_back_from_their_file(tmp_path):
    classifier = Classifier(ClassifierConfig(8, 1), ("cat", "dog")).eval()
    save(classifier, tmp_path / "w" / "small.safetensors", {"steps": "0"})
    loaded = load(tmp_path / "w" / "small.safetensors")
    photos = torch.rand(2, 3, 64, 64)
    assert loaded.classes == ("cat", "dog") and not any(p.requires_grad for p in loaded.parameters())
    assert torch.allclose(loaded(photos), classifier(photos), atol=1e-2)


def test_a_file_that_holds_something_else_is_refused(tmp_path):
    with pytest.raises(WeightsError, match="are missing"):
        load(tmp_path / "none.safetensors")
    other = tmp_path / "other.safetensors"
    save_file({"x": torch.zeros(1)}, other, metadata={"classes": "a,b", "width": "8"})
    with pytest.raises(WeightsError, match="no weights file of the classifier"):
        load(other)
    other.write_bytes(b"no weights")
    with pytest.raises(WeightsError, match="no weights file of the classifier"):
        load(other)


def test_the_shipped_weights_are_those_of_the_published_figures():
    assert hashlib.sha256(WEIGHTS.read_bytes()).hexdigest()[:16] == IDENTITY
    assert WEIGHTS.stat().st_size < 3_000_000


def test_top1_counts_what_is_recognised():
    classifier = Classifier(ClassifierConfig(8, 1), ("cat", "dog")).eval()
    with torch.no_grad():
        classifier.head.weight.zero_()
        classifier.head.bias.copy_(torch.tensor([0.0, 1.0]))
    pictures = [np.zeros((50, 70, 3), np.uint8)] * 4
    assert top1(pictures, ["dog", "cat", "dog", "dog"], classifier) == 0.75
    with pytest.raises(InputError, match="does not know bird; it knows cat, dog"):
        top1(pictures[:1], ["bird"], classifier)
    with pytest.raises(InputError, match="no picture"):
        top1([], [], classifier)


def test_top1_of_labelled_photos(shared_data):
    paths = sorted(shared_data.glob("image/labelled/val/*/*"))
    if not paths:
        pytest.skip("this machine has no labelled photos")
    some = paths[::3]
    assert top1((Image.open(path).rgb() for path in some), [path.parent.name for path in some]) > 0.6
