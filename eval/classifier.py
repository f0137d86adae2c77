"""A small classifier of photos: what it sees of two pictures says how far apart they look, and what is in them.

Its first layer is fixed: a windowed DCT of opponent colours, and the magnitudes of its coefficients, as in hybrid
networks over scattering transforms (E. Oyallon, E. Belilovsky and S. Zagoruyko, ICCV 2017), which learn from few
photos. Residual networks follow. The distance is that of LPIPS without learned weights (R. Zhang et al., "The
unreasonable effectiveness of deep features as a perceptual metric", CVPR 2018).
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image as PillowImage
from PIL import ImageOps
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from fewbits.codecs.stored_config import StoredConfig
from fewbits.errors import InputError, WeightsError

WEIGHTS = Path(__file__).parent / "weights" / "classifier.safetensors"
SIDE = 128
"""Height and width, in pixels, at which photos are classified."""

_WINDOW, _STRIDE = 8, 4  # of the first layer, in pixels
_CHROMA_SIDE = 4  # so many frequencies of chroma in each direction, of 8
_OPPONENTS = ((1 / 3, 1 / 3, 1 / 3), (1.0, 0.0, -1.0), (-0.5, 1.0, -0.5))  # of RGB: luma, red-blue, green-magenta
_GAIN = 4.0  # so that the coefficients of photos reach the bend of asinh
_EPSILON = 1e-5  # of lengths of features, which are about 1


@dataclass(frozen=True)
class ClassifierConfig(StoredConfig):
    """Sizes of the network: channels at a quarter of the resolution (twice as many at each half), and blocks there."""

    width: int = 40
    blocks: int = 2


class WindowedDct(nn.Module):
    """The fixed first layer: (N, 3, H, W) in [0, 1] to (N, 192, H / 4, W / 4), sizes rounded up."""

    channels = 2 * (_WINDOW**2 + 2 * _CHROMA_SIDE**2)
    opponents: Tensor
    luma: Tensor
    chroma: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("opponents", torch.tensor(_OPPONENTS)[:, :, None, None], persistent=False)
        self.register_buffer("luma", _filters(_WINDOW), persistent=False)
        self.register_buffer("chroma", _filters(_CHROMA_SIDE), persistent=False)

    def forward(self, photos: Tensor) -> Tensor:
        height, width = photos.shape[2:]
        left = (_WINDOW - _STRIDE) // 2
        padding = (left, left + -width % _STRIDE, left, left + -height % _STRIDE)
        planes = F.pad(F.conv2d(photos - 0.5, self.opponents), padding, mode="replicate").split(1, dim=1)
        filters = (self.luma, self.chroma, self.chroma)
        coefficients = [F.conv2d(plane, own, stride=_STRIDE) for plane, own in zip(planes, filters, strict=True)]
        compressed = torch.asinh(torch.cat(coefficients, 1))
        return torch.cat([compressed, compressed.abs()], 1)


def _filters(side: int) -> Tensor:
    """The lowest `side`**2 of a DCT under a sine window, louder at high frequencies, which are faint in photos.

    Returns:
        (side**2, 1, 8, 8)
    """
    places, frequencies = torch.arange(_WINDOW) + 0.5, torch.arange(side)
    waves = torch.cos(math.pi / _WINDOW * frequencies[:, None] * places) * torch.sin(math.pi / _WINDOW * places)
    waves = waves / waves.norm(dim=1, keepdim=True)
    gains = _GAIN * (1 + torch.hypot(frequencies[:, None].float(), frequencies.float()))
    filters = torch.einsum("ky,lx,kl->klyx", waves, waves, gains)
    return filters.reshape(side**2, 1, _WINDOW, _WINDOW)


class Block(nn.Module):
    """Two convolutions beside a shortcut (K. He et al., CVPR 2016)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(),
            nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs))
        self.shortcut = nn.Identity() if stride == 1 else nn.Sequential(
            nn.AvgPool2d(stride, ceil_mode=True), nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.body(x) + self.shortcut(x))


class Classifier(nn.Module):
    """From photos to what is in them.

    Args:
        classes: their names, in the order of what `forward` gives.
    """

    def __init__(self, config: ClassifierConfig, classes: Sequence[str]) -> None:
        super().__init__()
        self.config, self.classes = config, tuple(classes)
        width = config.width
        self.first = WindowedDct()
        self.stages = nn.ModuleList([
            nn.Sequential(nn.Conv2d(WindowedDct.channels, width, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()),
            nn.Sequential(*(Block(width, width, 1) for _ in range(config.blocks))),
            *(nn.Sequential(Block(width * scale, 2 * width * scale, 2),
                            *(Block(2 * width * scale, 2 * width * scale, 1) for _ in range(config.blocks - 1)))
              for scale in (1, 2))])
        self.head = nn.Linear(4 * width, len(self.classes))

    def features(self, photos: Tensor) -> list[Tensor]:
        """What each stage sees of photos (N, 3, H, W) float in [0, 1]: (N, C, h, w), at a 4th, 4th, 8th and 16th of
        the resolution."""
        x, found = self.first(photos), []
        for stage in self.stages:
            x = stage(x)
            found.append(x)
        return found

    def forward(self, photos: Tensor) -> Tensor:
        """Scores of the classes, (N, classes), of photos (N, 3, H, W) float in [0, 1]."""
        return self.head(self.features(photos)[-1].mean([2, 3]))


def feature_distances(classifier: Classifier, original: Tensor, decoded: Tensor) -> Tensor:
    """How far apart pictures look: squared differences of features of length 1, averaged over places and stages.

    Args:
        original, decoded: (N, 3, H, W) float in [0, 1].

    Returns:
        (N,), from 0 to 2, with gradient by `decoded` alone.
    """
    with torch.no_grad():
        wanted = classifier.features(original)
    pairs = zip(wanted, classifier.features(decoded), strict=True)
    return torch.stack([(_directions(a) - _directions(b)).square().sum(1).mean([1, 2]) for a, b in pairs]).mean(0)


def _directions(features: Tensor) -> Tensor:
    """Features (N, C, h, w) with length 1 over channels; the epsilon keeps the gradient finite where all are 0."""
    features = features.float()  # also where the stages run in bfloat16
    return features * (features.square().sum(1, keepdim=True) + _EPSILON).rsqrt()


def top1(pictures: Iterable[np.ndarray], labels: Sequence[str], classifier: Classifier | None = None) -> float:
    """The share of pictures of which a classifier, the shipped one by default, says rightly what they show.

    Args:
        pictures: (H, W, 3) uint8, of which the middle squares are looked at.
        labels: the class of each, by its name.

    Raises:
        InputError: for a class that the classifier does not know, or without pictures.
        WeightsError: if the shipped classifier is not installed.
    """
    classifier = classifier or shipped()
    if not labels:
        raise InputError("There is no picture to recognise.")
    if unknown := sorted(set(labels) - set(classifier.classes)):
        raise InputError(f"The classifier does not know {', '.join(unknown)}; it knows "
                         f"{', '.join(classifier.classes)}.")
    with torch.inference_mode():
        right = [classifier.classes[int(classifier(middle_square(picture) / 255).argmax())] == label
                 for picture, label in zip(pictures, labels, strict=True)]
    return sum(right) / len(right)


def middle_square(pixels: np.ndarray) -> Tensor:
    """The middle square of a picture (H, W, 3) uint8, resampled: (1, 3, 128, 128) uint8."""
    return as_tensor(np.asarray(ImageOps.fit(PillowImage.fromarray(pixels), (SIDE, SIDE))))


def as_tensor(pixels: np.ndarray) -> Tensor:
    """(H, W, 3) uint8 to (1, 3, H, W) uint8."""
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None]


def save(classifier: Classifier, path: Path, notes: dict[str, str]) -> None:
    """Writes a weights file with half precision; `notes` go into the metadata."""
    tensors = {name: value.half().contiguous() for name, value in classifier.state_dict().items()
               if value.is_floating_point()}
    classes = {"classes": ",".join(classifier.classes)}
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, path, metadata=classifier.config.to_metadata() | classes | notes)


@cache
def shipped() -> Classifier:
    """The classifier that comes with fewbits. Raises `WeightsError` if it is missing."""
    return load(WEIGHTS)


def load(path: Path) -> Classifier:
    """A trained classifier in evaluation mode, whose weights take no gradient.

    Raises:
        WeightsError: if the file is missing or holds something else.
    """
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            classifier = Classifier(ClassifierConfig.from_metadata(metadata), metadata["classes"].split(","))
            floats = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118 not a dict
        missing, unexpected = classifier.load_state_dict(floats, strict=False)
        if unexpected or any(not name.endswith("num_batches_tracked") for name in missing):
            raise ValueError("it holds another network")
    except FileNotFoundError:
        raise WeightsError(f"The weights {path} are missing: install fewbits with its package data, or train them "
                           "with `fewbits train classifier`.") from None
    except (SafetensorError, KeyError, ValueError, RuntimeError) as error:
        raise WeightsError(f"{path} is no weights file of the classifier: {error}.") from None
    return classifier.eval().requires_grad_(False)
