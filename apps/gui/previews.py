"""Media as files that a browser shows."""

from dataclasses import dataclass
from pathlib import Path

from fewbits.codecs.film import Video
from fewbits.codecs.image_set import ImageSet
from fewbits.codecs.kinds import Media
from fewbits.codecs.media import Image
from fewbits.codecs.sound import Audio


@dataclass(frozen=True)
class Preview:
    """Two media to compare, or one to look at, as files.

    Attributes:
        pictures: of pictures themselves, of sounds spectrograms.
        sounds, films: what can be played.
    """

    pictures: tuple[Path, ...] = ()
    sounds: tuple[Path, ...] = ()
    films: tuple[Path, ...] = ()


def preview(folder: Path, first: Media, second: Media | None = None) -> Preview:
    """Writes files for one medium, or two of one kind, into a folder.

    Pictures become PNG and sounds WAV, which keep all that a screen or a loudspeaker can tell; films become H.264 of
    high quality in MP4, since browsers play no lossless ones.
    """
    media = [first] if second is None else [first, second]
    if isinstance(first, Audio):
        return Preview(_spectrograms(folder, first, second if isinstance(second, Audio) else first)[: len(media)],
                       sounds=_saved(folder, media, ".wav"))
    if isinstance(first, Video):
        return Preview(films=_saved(folder, media, ".mp4"))
    return Preview(_saved(folder, [_as_picture(item) for item in media], ".png"))


def _saved(folder: Path, media: list[Media], suffix: str) -> tuple[Path, ...]:
    places = tuple(folder / f"{name}{suffix}" for name, _ in zip(("first", "second"), media, strict=False))
    for place, item in zip(places, media, strict=True):
        assert not isinstance(item, ImageSet)  # sets are shown as one picture
        item.save(place)
    return places


def _as_picture(media: Media) -> Media:
    """A set of images as one picture of all, anything else as it is."""
    from fewbits.eval.image_sets import mosaic

    return mosaic(media) if isinstance(media, ImageSet) else media


def _spectrograms(folder: Path, first: Audio, second: Audio) -> tuple[Path, ...]:
    from fewbits.eval.spectrograms import side_by_side

    pictures = [Image(pixels) for pixels in side_by_side(first, second)]
    return _saved(folder, list(pictures), ".png")
