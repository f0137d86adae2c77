"""Neural codecs and classical anchors behind one face, so that they are measured alike."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic, Protocol

from fewbits.codecs.codec import MediaT, Progress, no_progress
from fewbits.errors import InputError
from fewbits.eval.anchors import ANCHORS, Anchor
from fewbits.eval.sound_anchors import SOUND_ANCHORS, SoundAnchor
from fewbits.eval.trip import read_through, there_and_back
from fewbits.eval.video_anchors import VIDEO_ANCHORS, VideoAnchor

NEURAL_SETTINGS = tuple(range(0, 101, 10))
LOSSLESS_SETTINGS = (1, 3, 5, 7, 9)
TUNED = "-msssim"  # behind the name of a codec that is to be tuned for MS-SSIM

_ANCHORS: Mapping[str, Mapping[str, Anchor | SoundAnchor | VideoAnchor]] = {
    "image": ANCHORS, "audio": SOUND_ANCHORS, "video": VIDEO_ANCHORS}
_THINGS = {"image": "pictures", "audio": "sounds", "video": "films"}


class Encode(Protocol):
    """(media, setting, effort) to a whole file and, for neural codecs, the model's own estimate in bits."""

    def __call__(self, media: Any, setting: float, effort: int,
                 progress: Progress = no_progress) -> tuple[bytes, float | None]: ...


@dataclass(frozen=True)
class Contender(Generic[MediaT]):
    """A codec that takes part in an evaluation, of pictures (`Image`), sounds (`Audio`) or films (`VideoSource`).

    Attributes:
        name, about: its name on the command line, one line for people.
        neural: whether it is one of the codecs of fewbits.
        suffix: end of its file names.
        settings: the spread taken where none is asked for. Of lossless codecs, settings are efforts, of classical ones
            for sounds kbit/s, for films CRF, which falls where quality rises.
        low, high, whole: range of settings, and whether they must be whole numbers.
        encode: to a whole file.
        decode: a whole file to media; films may be decoded while they are read.
        lossless: whether all samples come back.
    """

    name: str
    about: str
    neural: bool
    suffix: str
    settings: tuple[float, ...]
    low: float
    high: float
    whole: bool
    encode: Encode
    decode: Callable[[bytes], MediaT]
    lossless: bool = False

    def trip(self, media: MediaT, setting: float, effort: int, folder: Path,
             progress: Progress = no_progress) -> tuple[MediaT, dict[str, Any]]:
        """Writes a file into the folder, reads it and decodes it. Progress is that of encoding.

        Returns:
            What was decoded, and for its record `bytes`, `encode_s` and `decode_s`, as `trip.there_and_back` gives
            them, and for neural codecs `estimate_bits`.
        """
        estimate = None

        def encode() -> bytes:
            nonlocal estimate
            data, estimate = self.encode(media, setting, effort, progress)
            return data

        def decode(data: bytes) -> MediaT:
            media = self.decode(data)
            read_through(media)  # so that its time counts
            return media

        decoded, record = there_and_back(encode, decode, folder / f"coded{self.suffix}")
        return decoded, record | ({"estimate_bits": estimate} if self.neural else {})


def available(kind: str = "image") -> list[str]:
    """Names of everything that can be evaluated on "image", "audio" or "video": codecs of fewbits, then anchors."""
    return [*_neural_entries(kind), *_ANCHORS[kind]]


def contender(name: str, kind: str = "image") -> Contender[Any]:
    """The codec of this name for "image", "audio" or "video"; raises `InputError` where there is none.

    A codec of fewbits that can be tuned may have `TUNED` behind its name.
    """
    from fewbits.codecs import registry

    if name in _ANCHORS[kind]:
        return _from_anchor(_ANCHORS[kind][name])
    neural = _neural_entries(kind)
    if name in neural:
        return _from_registry(name, kind, neural[name]["about"], neural[name]["lossless"])
    base = name.removesuffix(TUNED)
    if base in neural and neural[base]["tunable"]:
        about = f"{neural[base]['about']}, tuned for MS-SSIM"
        return replace(_from_registry(base, kind, about, lossless=False, tune="msssim"), name=name)
    if name in registry.names("images"):
        raise InputError(f"{name} is for sets of images, not for {_THINGS[kind]} one by one.")
    raise InputError(f"There is no codec {name!r} for {_THINGS[kind]}; there are: {', '.join(available(kind))}.")


def entrant(name: str, settings: Sequence[float] | None, kind: str = "image") -> tuple[Contender[Any], list[float]]:
    """A codec and its settings, those of its own spread for None; raises `InputError` for what does not exist."""
    codec = contender(name, kind)
    return codec, check_settings(codec, codec.settings if settings is None else settings)


def parse_codec(text: str, kind: str = "image") -> tuple[str, list[float] | None]:
    """Reads `NAME` or `NAME@SETTING,SETTING...` of a codec for "image", "audio" or "video".

    Returns:
        The name, and the settings or None for the codec's own spread.

    Raises:
        InputError: for unknown names and for settings that the codec does not have.
    """
    name, settings = _split_codec(text)
    codec = contender(name, kind)
    return name, None if settings is None else check_settings(codec, settings)


def _split_codec(text: str) -> tuple[str, list[float] | None]:
    """The parts of `NAME` or `NAME@SETTING,SETTING...`; raises `InputError` for settings that are no numbers."""
    name, at, rest = text.partition("@")
    if not at:
        return name, None
    try:
        return name, [int(part) if part.strip().isdecimal() else float(part) for part in rest.split(",")]
    except ValueError:
        raise InputError(f"{text!r} should be a codec and its settings, such as {name}@20,40.") from None


def check_settings(codec: Contender[Any], settings: Sequence[float]) -> list[float]:
    """The settings in ascending order, each once; raises `InputError` for those that the codec does not have."""
    if not settings:
        raise InputError(f"Give at least one setting for {codec.name}, or none and no @.")
    for setting in settings:
        if not codec.low <= setting <= codec.high or (codec.whole and setting != int(setting)):
            raise InputError(f"{codec.name} takes {'whole numbers' if codec.whole else 'numbers'} from {codec.low:g} "
                             f"to {codec.high:g}, not {setting:g}.")
    return sorted(set(settings))


def _from_anchor(anchor: Any) -> Contender[Any]:
    def encode(media: Any, setting: float, effort: int, progress: Progress = no_progress) -> tuple[bytes, None]:
        return anchor.encode(media, int(setting) if anchor.whole else setting), None

    return Contender(anchor.name, anchor.about, False, anchor.suffix, anchor.settings, anchor.low, anchor.high,
                     anchor.whole, encode, anchor.decode, getattr(anchor, "lossless", False))


def _from_registry(name: str, kind: str, about: str, lossless: bool, tune: str = "psnr") -> Contender[Any]:
    of_films = kind == "video"

    def encode(media: Any, setting: float, effort: int,
               progress: Progress = no_progress) -> tuple[bytes, float | None]:
        from fewbits.codecs import files
        from fewbits.codecs.codec import Target

        # whoever evaluates decodes and compares anyway
        target = (Target(effort=int(setting), verify=False) if lossless else
                  Target(quality=setting, effort=effort, tune=tune))
        silent: dict[str, Any] = {"audio": files.NO_SOUND} if of_films else {}
        encoded = files.encode(media, name, target, progress=progress, **silent)
        return encoded.data, encoded.estimate_bits

    def decode(data: bytes) -> Any:
        from fewbits.codecs import files

        return files.CodedVideo(data) if of_films else files.decode(data).media

    settings, low, high = (LOSSLESS_SETTINGS, 1, 9) if lossless else (NEURAL_SETTINGS, 0, 100)
    return Contender(name, about, True, ".fwb", settings, low, high, lossless, encode, decode, lossless)


def _neural_entries(kind: str) -> dict[str, dict[str, Any]]:
    """The codecs of fewbits for a kind of media: what `registry.describe` says of each, by name."""
    from fewbits.codecs import registry

    return {str(e["name"]): e for e in registry.describe() if e["kind"] == kind and not e["takes_weights"]}
