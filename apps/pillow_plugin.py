"""`.fwb` pictures for programs that use Pillow: `Image.open`, and `save` with the options of `fewbits.encode`."""

from typing import IO, Any

from PIL import Image as PillowImage
from PIL import ImageFile

from fewbits.codecs import kinds, registry
from fewbits.codecs.codec import Target
from fewbits.codecs.media import CHANNEL_MODES, Image
from fewbits.entropy.container import MAGIC, Header, read_header
from fewbits.errors import FewbitsError, StreamError, TruncatedError

FORMAT = "FWB"
HEADER_BYTES = 1024  # that are read at first; headers of pictures with many tiles are longer
TARGET_OPTIONS = ("quality", "bits_per_pixel", "size", "psnr", "effort", "progressive", "tune")
_EXIF_START = b"Exif\x00\x00"  # which Pillow puts before EXIF


class FwbImageFile(ImageFile.ImageFile):
    """A picture of which only the header was read, until its pixels are asked for."""

    format = FORMAT
    format_description = "fewbits"

    def _open(self) -> None:
        try:
            header = _read_header(self.fp)
            shape = kinds.shape_of(header)
        except StreamError as error:
            raise OSError(str(error)) from None
        if header.kind != "image":
            raise SyntaxError("not a picture")  # so that Pillow says that it does not know such files
        self._mode = "I;16" if shape["bits"] == 16 else CHANNEL_MODES[shape["channels"]]
        self._size = shape["width"], shape["height"]
        self.info["codec"] = registry.entry_of_number(header.codec).name
        # pixels come in one piece, once they are asked for
        self.tile = [ImageFile._Tile("fwb", (0, 0, *self._size), 0, self.mode)]
        if shape["profile"] or shape["exif"]:
            self._read_extras()

    def _read_extras(self) -> None:
        """What Pillow's users look for in `info` before they load a picture."""
        from fewbits.codecs import files

        try:
            extras = files.extras_of(self._data())
        except StreamError as error:
            raise OSError(str(error)) from None
        self.info |= {name: value for name, value in extras.items() if value}

    def _data(self) -> bytes:
        assert self.fp is not None
        self.fp.seek(0)
        return self.fp.read()

    def load(self) -> Any:
        """Decodes the pixels. Raises `OSError` with a sentence where that cannot be done."""
        if self.tile:
            from fewbits.codecs import files  # brings torch

            try:
                allow_damage, pixels = ImageFile.LOAD_TRUNCATED_IMAGES, self.width * self.height
                picture = files.decode(self._data(), allow_damage=allow_damage, max_pixels=pixels).image
            except FewbitsError as error:
                raise OSError(str(error)) from None
            self.im, self.tile = picture.to_pillow().im, []
            if self.fp is not None and self._exclusive_fp:
                self.fp.close()
                self.fp = None
        return super().load()


def _read_header(file: IO[bytes] | None) -> Header:
    """The header of a file, and no more of it than that takes, about."""
    assert file is not None
    data, size = b"", HEADER_BYTES
    while True:
        more = file.read(size)
        data += more
        try:
            return read_header(data, registry.settings_of_number)[0]
        except TruncatedError:
            if len(more) < size:
                raise
        size = len(data)


def save(picture: PillowImage.Image, file: IO[bytes], name: str | bytes) -> None:
    """Codes a picture. Options of `picture.save` are `codec`, aims as of `fewbits.encode`, `icc_profile` and `exif`.

    As with Pillow's own formats, a colour profile in `info` is kept, and EXIF where it is given, as by
    `exif=picture.getexif()`.

    Raises:
        ValueError: with a sentence, for options that make no sense and pictures that cannot be coded.
    """
    from fewbits.codecs import files

    options = picture.encoderinfo
    profile = options.get("icc_profile", picture.info.get("icc_profile"))
    exif = options.get("exif", b"")
    exif = exif.tobytes() if isinstance(exif, PillowImage.Exif) else exif
    try:
        target = Target(**{key: options[key] for key in TARGET_OPTIONS if key in options})
        media = Image(Image.as_it_is(picture).pixels, profile or None, exif.removeprefix(_EXIF_START) or None)
        file.write(files.encode(media, options.get("codec"), target).data)
    except FewbitsError as error:
        raise ValueError(str(error)) from None


def register() -> None:
    """Makes Pillow know `.fwb` files; does no harm where it has been done before."""
    PillowImage.register_open(FORMAT, FwbImageFile, lambda start: start.startswith(MAGIC))
    PillowImage.register_save(FORMAT, save)
    PillowImage.register_extension(FORMAT, ".fwb")
    PillowImage.register_mime(FORMAT, "image/x-fewbits")
