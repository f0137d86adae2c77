"""Pictures as Pillow reads them: their samples in our layouts, and what is lost on the way."""

import io

import numpy as np
from PIL import ExifTags, ImageCms, ImageOps
from PIL import Image as PillowImage

from fewbits.errors import InputError

_WIDE_MODES = ("I;16", "I;16B", "I;16L", "I;16N", "I")
_UPRIGHT = 1  # orientation in EXIF
_FOREIGN_MODES = {"CMYK": "for print (CMYK)", "LAB": "Lab"}


def losses(picture: PillowImage.Image) -> tuple[str, ...]:
    """Sentences for the user on what is lost of a file. Pillow knows of them only before the pixels are decoded."""
    stored = "".join(str(tile) for tile in getattr(picture, "tile", ()))
    wide = picture.mode in _WIDE_MODES
    found = (
        (getattr(picture, "is_animated", False), "The file holds several pictures; the first is kept."),
        (";16" in stored and not wide, "The picture has 16 bits a sample; 8 are kept."),
        (wide and "transparency" in picture.info, "Its opacity is left out."),
    )
    return tuple(sentence for lost, sentence in found if lost)


def upright(picture: PillowImage.Image) -> tuple[PillowImage.Image, tuple[str, ...]]:
    """The picture turned as its EXIF asks, and sentences for the user."""
    try:
        picture.load()  # PNG files may have their EXIF behind the pixels
        if picture.getexif().get(ExifTags.Base.Orientation, _UPRIGHT) == _UPRIGHT:
            return picture, ()  # Pillow would copy it, and pictures can be large
        return ImageOps.exif_transpose(picture), ()
    except Exception:  # of wrong EXIF, Pillow raises anything
        return picture, ("Its EXIF cannot be read, so it may not stand upright.",)


def in_srgb(picture: PillowImage.Image) -> tuple[PillowImage.Image, bytes | None, tuple[str, ...]]:
    """The picture, with colours for print and Lab as sRGB; its colour profile, where it is that of the samples; and
    sentences for the user."""
    profile = picture.info.get("icc_profile") or None
    if picture.mode not in _FOREIGN_MODES:
        return picture, profile, ()
    said = f"Its colours are {_FOREIGN_MODES[picture.mode]}; they are converted to sRGB"
    if profile and picture.mode == "CMYK":
        try:
            source, target = ImageCms.ImageCmsProfile(io.BytesIO(profile)), ImageCms.createProfile("sRGB")
            converted = ImageCms.profileToProfile(picture, source, target, outputMode="RGB")
            assert converted is not None  # it is one only where the picture is converted in place
            return converted, None, (f"{said} by the profile in the file.",)
        except (ImageCms.PyCMSError, OSError):
            pass
    return picture.convert("RGB"), None, (f"{said} without a profile.",)


def samples_of(picture: PillowImage.Image) -> np.ndarray:
    """(H, W, C) uint8 or, of grey, uint16; palettes become RGB or RGBA.

    Raises:
        InputError: for samples of more than 16 bits.
    """
    if picture.mode in _WIDE_MODES:
        wide = np.asarray(picture)
        if wide.min() < 0 or wide.max() > 65535:
            raise InputError("Grey pictures with more than 16 bits per sample are not supported.")
        return np.ascontiguousarray(wide.astype(np.uint16)[..., None])
    if picture.mode == "F":
        raise InputError("Pictures with samples in floating point are not supported: convert it to 8 or 16 bits.")
    transparent = picture.has_transparency_data
    grey = picture.mode in ("1", "L", "LA", "La")
    wanted = ("LA" if transparent else "L") if grey else ("RGBA" if transparent else "RGB")
    samples = np.array(picture if picture.mode == wanted else picture.convert(wanted))
    return samples[..., None] if samples.ndim == 2 else samples
