"""Neural codecs and classical anchors behind one face, so that they are measured alike."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from fewbits.codecs.media import Image
from fewbits.errors import InputError
from fewbits.eval.anchors import ANCHORS, Anchor

NEURAL_SETTINGS = tuple(range(0, 101, 10))
LOSSLESS_SETTINGS = (1, 3, 5, 7, 9)


@dataclass(frozen=True)
class Contender:
    """A codec that takes part in an evaluation.

    Attributes:
        name, about: its name on the command line, one line for people.
        neural: whether it is one of the codecs of fewbits.
        suffix: end of its file names.
        settings: the spread taken where none is asked for. Of lossless codecs, settings are efforts.
        low, high, whole: range of settings, and whether they must be whole numbers.
        encode: (picture, setting, effort) to a whole file and, for neural codecs, the model's own estimate in bits.
        decode: a whole file to the picture.
    """

    name: str
    about: str
    neural: bool
    suffix: str
    settings: tuple[float, ...]
    low: float
    high: float
    whole: bool
    encode: Callable[[Image, float, int], tuple[bytes, float | None]]
    decode: Callable[[bytes], Image]


class Configurable(Protocol):
    """A codec with settings: its name, their range, and whether they must be whole numbers."""

    @property
    def name(self) -> str: ...
    @property
    def low(self) -> float: ...
    @property
    def high(self) -> float: ...
    @property
    def whole(self) -> bool: ...


def available() -> list[str]:
    """Names of everything that can be evaluated: the codecs of fewbits, then the anchors."""
    return [*_neural_entries(), *ANCHORS]


def contender(name: str) -> Contender:
    """The codec of this name; raises `InputError` where there is none for pictures."""
    from fewbits.codecs import registry

    if name in ANCHORS:
        return _from_anchor(ANCHORS[name])
    neural = _neural_entries()
    if name in registry.names("images"):
        raise InputError(f"{name} is for sets of images, not for pictures one by one.")
    if name not in neural:
        raise InputError(f"There is no codec {name!r} to evaluate; there are: {', '.join(available())}.")
    return _from_registry(name, **neural[name])


def parse_codec(text: str) -> tuple[str, list[float] | None]:
    """Reads `NAME` or `NAME@SETTING,SETTING...`.

    Returns:
        The name, and the settings or None for the codec's own spread.

    Raises:
        InputError: for unknown names and for settings that the codec does not have.
    """
    name, settings = split_codec(text)
    codec = contender(name)
    return name, None if settings is None else check_settings(codec, settings)


def split_codec(text: str) -> tuple[str, list[float] | None]:
    """The parts of `NAME` or `NAME@SETTING,SETTING...`; raises `InputError` for settings that are no numbers."""
    name, at, rest = text.partition("@")
    if not at:
        return name, None
    try:
        return name, [int(part) if part.strip().isdecimal() else float(part) for part in rest.split(",")]
    except ValueError:
        raise InputError(f"{text!r} should be a codec and its settings, such as {name}@20,40.") from None


def check_settings(codec: Configurable, settings: Sequence[float]) -> list[float]:
    """The settings in ascending order, each once; raises `InputError` for those that the codec does not have."""
    if not settings:
        raise InputError(f"Give at least one setting for {codec.name}, or none and no @.")
    for setting in settings:
        if not codec.low <= setting <= codec.high or (codec.whole and setting != int(setting)):
            raise InputError(f"{codec.name} takes {'whole numbers' if codec.whole else 'numbers'} from {codec.low:g} "
                             f"to {codec.high:g}, not {setting:g}.")
    return sorted(set(settings))


def _from_anchor(anchor: Anchor) -> Contender:
    def encode(image: Image, setting: float, effort: int) -> tuple[bytes, None]:
        return anchor.encode(image, int(setting)), None

    return Contender(anchor.name, anchor.about, False, anchor.suffix, anchor.settings, anchor.low, anchor.high, True,
                     encode, anchor.decode)


def _from_registry(name: str, about: str, lossless: bool) -> Contender:
    def encode(image: Image, setting: float, effort: int) -> tuple[bytes, float | None]:
        from fewbits.codecs import files
        from fewbits.codecs.codec import Target

        # whoever evaluates decodes and compares anyway
        target = Target(effort=int(setting), verify=False) if lossless else Target(quality=setting, effort=effort)
        encoded = files.encode(image, name, target)
        return encoded.data, encoded.estimate_bits

    def decode(data: bytes) -> Image:
        from fewbits.codecs import files

        return files.decode(data).image

    settings, low, high = (LOSSLESS_SETTINGS, 1, 9) if lossless else (NEURAL_SETTINGS, 0, 100)
    return Contender(name, about, True, ".fwb", settings, low, high, lossless, encode, decode)


def _neural_entries() -> dict[str, dict[str, Any]]:
    """The codecs for pictures: a line about each, and whether it is lossless, by name."""
    from fewbits.codecs import registry

    return {str(e["name"]): {key: e[key] for key in ("about", "lossless")} for e in registry.describe()
            if e["kind"] == "image"}
