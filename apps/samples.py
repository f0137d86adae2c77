"""Photos, a voice, music and a film that every installation has, because gradio carries them."""

from importlib.util import find_spec
from pathlib import Path

from fewbits.codecs.media import Image
from fewbits.codecs.sound import Audio
from fewbits.errors import InputError

TOWER = "media_assets/images/tower.jpg"  # 377 x 600: fine branches before a smooth sky
STILL = "media_assets/images/groot.jpeg"  # 910 x 512: texture and blur
VOICE = "media_assets/audio/cate_blanch.mp3"  # 8 s at 32 kHz: a woman speaks in a quiet room
MUSIC = "media_assets/audio/sax.wav"  # 16 s at 48 kHz: a saxophone alone
FILM = "media_assets/videos/muted_b.mp4"


def photo(name: str) -> Image:
    """One of the photos above. Raises `InputError` if gradio is not installed or has dropped it."""
    return Image.open(path(name))


def sound(name: str) -> Audio:
    """The voice or music above, with one channel. Raises `InputError` if gradio is not installed or has dropped it."""
    return Audio.open(path(name)).mono()


def path(name: str) -> Path:
    """The file of one of the above. Raises `InputError` if gradio is not installed or has dropped it."""
    spec = find_spec("gradio")  # its place only: importing it takes seconds
    if spec is None or not spec.submodule_search_locations:
        raise InputError("Samples come with the package gradio, which is not installed.")
    file = Path(spec.submodule_search_locations[0]) / name
    if not file.is_file():
        raise InputError(f"The installed gradio has no {name}; install the version named in requirements.lock.")
    return file
