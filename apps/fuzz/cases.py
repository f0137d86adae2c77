"""A case: a file that was changed, and what may come of it, which is a value or an error of `fewbits.errors`."""

from dataclasses import dataclass
from random import Random

from fewbits.apps.fuzz.mutations import mutated, sealed
from fewbits.codecs import files, kinds, registry
from fewbits.codecs.film import Video
from fewbits.entropy import container
from fewbits.errors import FewbitsError

VALUE = "value"
"""What comes of a case that ends without an error."""


SIZES = {"width", "height", "count", "channels", "rate"}
"""Media fields that what is decoded must have as the header says them."""


class SilentlyWrongError(Exception):
    """A file decodes although its bytes and its checksums disagree, or into another shape than its header says."""


@dataclass(frozen=True)
class Seeds:
    """Whole files to change.

    Attributes:
        own: of the codec that is tried.
        all: of all codecs, to take parts of; `own` are among them.
    """

    own: tuple[bytes, ...]
    all: tuple[bytes, ...]


@dataclass(frozen=True)
class Case:
    """A file that was changed in some steps.

    Attributes:
        seed: which of the codec's files it was.
        steps: each a change, see `fewbits.apps.fuzz.mutations.mutated`.
        sealed: whether all checksums were put right again.
    """

    seed: int
    steps: tuple[int, ...]
    sealed: bool

    @classmethod
    def of_number(cls, number: int) -> "Case":
        """Cases 2k and 2k + 1 are the same changes, with the checksums left wrong and put right."""
        random = Random(number // 2)
        steps = tuple(random.getrandbits(48) for _ in range(random.choice((1, 1, 1, 2, 4))))
        return cls(random.randrange(1 << 16), steps, bool(number % 2))

    def data(self, seeds: Seeds) -> bytes:
        """The changed file."""
        data = seeds.own[self.seed % len(seeds.own)]
        for step in self.steps:
            data = mutated(data, seeds.all, step)
        return sealed(data) if self.sealed else data

    def size(self, seeds: Seeds) -> int:
        """Samples of the media in the file before it was changed, of all channels."""
        return samples_in(seeds.own[self.seed % len(seeds.own)])


def samples_in(data: bytes) -> int:
    """Pixels of all images or frames, or samples of all channels, in a file."""
    shape = kinds.shape_of(container.read_header(data, registry.settings_of_number)[0])
    pixels = shape.get("width", 1) * shape.get("height", 1) * shape.get("count", 1)
    return pixels * (shape["channels"] if "rate" in shape else 1)


def parse(data: bytes, honest: bool) -> str:
    """Takes a file apart as far as that goes without its codec's decoder, with the limits that users have.

    Args:
        honest: the file is as it was made, or its checksums were put right.

    Returns:
        `VALUE`, or the name of the error.

    Raises:
        SilentlyWrongError: if damage is not noticed.
        BaseException: whatever else is not of `fewbits.errors`.
    """
    for look in (files.info, files.anatomy, lambda data: files.parse(data, allow_damage=True)):
        try:
            look(data)
        except FewbitsError:
            continue
    try:
        files.parse(data)
    except FewbitsError as error:
        return type(error).__name__
    if not honest:
        raise SilentlyWrongError("A file whose checksums were not put right is taken for whole.")
    return VALUE


def decode(data: bytes, honest: bool, size: int) -> str:
    """Decodes a file that `parse` has let through; arguments, results and errors as there. What is damaged is left out.

    Args:
        size: the limit of pixels, and of samples.
    """
    try:
        media = files.decode(data, allow_damage=not honest, max_pixels=size, max_samples=size).media
    except FewbitsError as error:
        return type(error).__name__
    header = container.read_header(data, registry.settings_of_number)[0]
    fields = kinds.fields_of(media, sound=isinstance(media, Video) and media.sound is not None)
    wrong = [name for name in SIZES & header.media.keys() if fields[name] != header.media[name]]
    if wrong:
        raise SilentlyWrongError(f"What is decoded has not the {' and '.join(sorted(wrong))} of the header.")
    return VALUE
