"""Which codecs exist. Listing them imports none of them, and so no torch."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path

from fewbits.codecs.codec import Codec
from fewbits.entropy.container import KINDS, Field
from fewbits.errors import InputError, UnsupportedError


@dataclass(frozen=True)
class Entry:
    """What is known about a codec before it is imported.

    Attributes:
        number: the codec's id in files; never given to another codec.
        settings: header fields that the codec declares, in the order of the file.
        factory: `module:callable`, called with the device, and with a weights file where the user gives one.
        takes_weights: whether the codec works with weights of the user's alone, and does nothing without them.
        levels: into how many levels it divides what it codes; more than 1 for a
            `fewbits.codecs.progressive.ProgressiveCodec`.
        conceals: whether it guesses what a damaged file has lost; it is a
            `fewbits.codecs.concealment.ConcealingCodec` then.
        tunable: whether it codes for MS-SSIM where `Target.tune` says so.
    """

    name: str
    number: int
    kind: str
    family: str
    lossless: bool
    about: str
    settings: tuple[Field, ...]
    factory: str
    takes_weights: bool = False
    levels: int = 1
    conceals: bool = False
    tunable: bool = False


PRIVATE = range(192, 256)
"""Numbers for codecs of one's own, which no release of fewbits gives to one of its codecs; see `register`."""

_OF_HYPERPRIOR = (Field("quality", "u8", 0, 224),)
_OF_NERV = (Field("width", "u8", 0, 31), Field("group", "varint", 1, 1024))
_OF_SOUND = (Field("quality", "u8", 0, 128), Field("gain", "u8", 0, 255))
_ENTRIES = (
    Entry(
        name="hyperprior", number=1, kind="image", family="hierarchical", lossless=False,
        about="photos at any rate, fast: lapped transform, hyperprior and five-pass context, exact networks",
        settings=_OF_HYPERPRIOR,
        factory="fewbits.codecs.image.hyperprior.codec:HyperpriorCodec",
        levels=5,
        tunable=True,
    ),
    Entry(
        name="overfit", number=2, kind="image", family="overfitted", lossless=False,
        about="pictures of any kind, slow to encode, fast to decode: a small decoder is fitted to each and sent along",
        settings=(Field("decoder", "u8", 0, 2), Field("start", "u8", 0, 63), Field("finest", "u8", 0, 1)),
        factory="fewbits.codecs.image.overfit.codec:OverfitCodec",
        tunable=True,
    ),
    Entry(
        name="circuit", number=3, kind="image", family="circuit", lossless=True,
        about="lossless, smaller than JPEG XL, seconds a photo: least squares and circuits that learn while they code",
        settings=(Field("experts", "u8", 0, 4),),
        factory="fewbits.codecs.image.circuit.codec:CircuitCodec",
    ),
    Entry(
        name="circuit-tree", number=4, kind="images", family="circuit", lossless=True,
        about="sets of small images such as MNIST, lossless: a tree circuit trained for each kind of set",
        settings=(),
        factory="fewbits.codecs.circuit.codec:CircuitTreeCodec",
    ),
    Entry(
        name="speech", number=5, kind="audio", family="hierarchical", lossless=False,
        about="speech at about 1.5 to 9 kbit/s: networks over an MDCT, exact entropy models, one set of weights",
        settings=_OF_SOUND,
        factory="fewbits.codecs.audio.codec:SpeechCodec",
    ),
    Entry(
        name="sound", number=6, kind="audio", family="hierarchical", lossless=False,
        about="music and all other sounds at about 3 to 16 kbit/s a channel: `speech` at 24 kHz, trained for them",
        settings=_OF_SOUND,
        factory="fewbits.codecs.audio.codec:GeneralCodec",
    ),
    Entry(
        name="speech-vq", number=7, kind="audio", family="vector-quantised", lossless=False,
        about="speech at about 0.3 to 5 kbit/s: `speech` with codebooks in place of rounding, to compare the two",
        settings=(Field("quality", "u8", 0, 19), Field("gain", "u8", 0, 255)),
        factory="fewbits.codecs.audio.codec:SpeechVqCodec",
    ),
    Entry(
        name="speech-live", number=8, kind="audio", family="hierarchical", lossless=False,
        about="speech while it is spoken, heard 0.34 s later: `speech` with networks that see the past alone",
        settings=_OF_SOUND,
        factory="fewbits.codecs.audio.codec:LiveSpeechCodec",
    ),
    Entry(
        name="nerv", number=9, kind="video", family="overfitted", lossless=False,
        about="films, minutes to encode, fast to decode: a small network is fitted to each group of frames",
        settings=_OF_NERV,
        factory="fewbits.codecs.video.nerv.codec:NervCodec",
    ),
    Entry(
        name="hnerv", number=10, kind="video", family="overfitted", lossless=False,
        about="HNeRV as it was published, rounded to 8 bits after training: what to compare `nerv` with",
        settings=_OF_NERV,
        factory="fewbits.codecs.video.nerv.codec:HnervCodec",
    ),
    Entry(
        name="nerv++", number=11, kind="video", family="overfitted", lossless=False,
        about="the network of NERV++, trained with its rate: what to compare `nerv` with",
        settings=_OF_NERV,
        factory="fewbits.codecs.video.nerv.codec:NervPlusCodec",
    ),
    Entry(
        name="nirvana", number=12, kind="video", family="overfitted", lossless=False,
        about="NIRVANA: networks for some frames each, sent as differences to the one before; to compare `nerv` with",
        settings=_OF_NERV,
        factory="fewbits.codecs.video.nerv.codec:NirvanaCodec",
    ),
    Entry(
        name="compressai", number=13, kind="image", family="hierarchical", lossless=False,
        about="pictures by models of yours that were trained with CompressAI, in files that decode everywhere",
        settings=(),
        factory="fewbits.codecs.image.compressai.codec:CompressaiCodec",
        takes_weights=True,
    ),
    Entry(
        name="mcq", number=14, kind="image", family="vector-quantised", lossless=False,
        about="photos at any rate, faster: narrower networks, and a codebook of vectors for each scale they predict",
        settings=_OF_HYPERPRIOR,
        factory="fewbits.codecs.image.mcq.codec:McqCodec",
        levels=5,
    ),
    Entry(
        name="vqextreme", number=15, kind="image", family="vector-quantised", lossless=False,
        about="photos in some hundred bytes: 0.02 to 0.06 bits per pixel, five rates, and lost chunks can be guessed",
        settings=(Field("rate", "u8", 0, 4),),
        factory="fewbits.codecs.image.vqextreme.codec:VqExtremeCodec",
        conceals=True,
    ),
)
_BY_NAME = {e.name: e for e in _ENTRIES}
_BY_NUMBER = {e.number: e for e in _ENTRIES}
_DEFAULTS = {"image": "hyperprior", "images": "circuit-tree", "audio": "speech", "video": "nerv"}


def names(kind: str | None = None) -> list[str]:
    """Names of all codecs that work as they are installed, or of those for a kind of media."""
    return [e.name for e in _BY_NAME.values() if kind in (None, e.kind) and not e.takes_weights]


def describe() -> list[dict[str, object]]:
    """Name, kind, family, losslessness, one line about each codec, whether it takes weights of the user's and can be
    tuned."""
    return [{k: getattr(e, k) for k in ("name", "kind", "family", "lossless", "about", "takes_weights", "tunable")}
            for e in _BY_NAME.values()]


def register(new: Entry) -> None:
    """Enters a codec of one's own, in this process. Once more, for the same entry, does nothing.

    Raises:
        InputError: if its number is not in `PRIVATE`, its name or number is another's, or its kind does not exist.
    """
    if new.number not in PRIVATE:
        raise InputError(f"{new.number} cannot be the number of {new.name}: those of your own codecs go from "
                         f"{PRIVATE[0]} to {PRIVATE[-1]}.")
    if new.kind not in KINDS:
        raise InputError(f"{new.name} cannot be for {new.kind!r}: codecs are for {', '.join(KINDS)}.")
    for known in (_BY_NAME.get(new.name), _BY_NUMBER.get(new.number)):
        if known not in (None, new):
            raise InputError(f"There is a codec {known.name} with the number {known.number}: give {new.name} a name "
                             "and a number that are free.")
    _BY_NAME[new.name] = _BY_NUMBER[new.number] = new


def entry(name: str) -> Entry:
    """Raises `InputError` for a codec that does not exist."""
    if name not in _BY_NAME:
        raise InputError(f"There is no codec {name!r}; there are: {', '.join(_BY_NAME)}.")
    return _BY_NAME[name]


def default(kind: str) -> str:
    """Name of the codec that codes media of a kind where none is asked for.

    Raises:
        InputError: if there is none.
    """
    if kind not in _DEFAULTS:
        raise InputError(f"This release of fewbits has no usual codec for {kind}; name one of these: "
                         f"{', '.join(names(kind)) or 'there are none'}.")
    return _DEFAULTS[kind]


def entry_of_number(number: int) -> Entry:
    """Raises `UnsupportedError` for an id that this release does not know."""
    if number not in _BY_NUMBER and number in PRIVATE:
        raise UnsupportedError(f"The file uses codec number {number}, which is somebody's own: register that codec, "
                               "as docs/own_codec.md says, to read it.")
    if number not in _BY_NUMBER:
        raise UnsupportedError(f"The file uses codec number {number}, which this release of fewbits does not have: "
                               "update fewbits to read it.")
    return _BY_NUMBER[number]


def settings_of_number(number: int) -> tuple[Field, ...]:
    """Header fields of the codec with this id; raises `UnsupportedError`."""
    return entry_of_number(number).settings


@cache
def create(name: str, device: str = "cpu", weights: Path | None = None) -> Codec:
    """The instance of a codec for a device; kept, so that weights load once.

    Args:
        weights: a file of the user's, for codecs that take such.

    Raises:
        InputError: for unknown names, and for weights that the codec does not take.
    """
    known = entry(name)
    if weights is not None and not known.takes_weights:
        raise InputError(f"The codec {name} has weights of its own: leave out --weights.")
    module, attribute = known.factory.split(":")
    factory: Callable[..., Codec] = getattr(import_module(module), attribute)
    return factory(device) if weights is None else factory(device, weights)
