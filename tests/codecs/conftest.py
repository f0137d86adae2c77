"""Fixtures for codec tests."""

import numpy as np
import pytest
from PIL import Image as PillowImage

from fewbits.apps import photos


@pytest.fixture(scope="session")
def photo() -> np.ndarray:
    """(192, 256, 3) uint8: part of a photo that the installed gradio package carries, at half its size."""
    whole = PillowImage.fromarray(photos.photo(photos.STILL).rgb())
    half = whole.resize((whole.width // 2, whole.height // 2), PillowImage.Resampling.LANCZOS)
    return np.array(half)[32:224, 100:356]
