"""The classical codecs that others are measured against, all through Pillow.

Settings are each codec's own quality number. The encoders run in one thread: files of AVIF depend on the number of
threads (it decides the tiling), and times of one machine can then be compared.
"""

import io
from collections.abc import Mapping
from dataclasses import dataclass

from fewbits.codecs.media import Image
from fewbits.errors import InputError


@dataclass(frozen=True)
class Anchor:
    """A classical codec.

    Attributes:
        name, suffix, about: its name here, the end of its file names, one line for people.
        format, options: arguments of `PIL.Image.Image.save`.
        knob: the argument that the setting goes to.
        low, high, settings: smallest and largest setting, and the spread taken where none is asked for.
        lossless: whether the pixels come back as they were; the setting is then the effort.
        alpha, sixteen_bit: whether the format holds transparency and 16-bit grey. What it cannot hold is left out.
    """

    name: str
    suffix: str
    about: str
    format: str
    options: Mapping[str, object]
    settings: tuple[int, ...]
    knob: str = "quality"
    low: int = 0
    high: int = 100
    lossless: bool = False
    alpha: bool = True
    sixteen_bit: bool = False

    @property
    def whole(self) -> bool:
        """Whether settings must be whole numbers."""
        return True

    def encode(self, image: Image, setting: int) -> bytes:
        """A whole file. Raises `InputError` where this Pillow cannot write such a file."""
        options = {self.knob: setting, **self.options}
        if self.format == "JXL":
            _load_jpeg_xl()
            if not self.lossless and setting == 100:
                options["lossless"] = True  # as in libjxl's own tool: 100 is distance 0
        if image.icc_profile:
            options["icc_profile"] = image.icc_profile
        file = io.BytesIO()
        try:
            self._held(image).to_pillow().save(file, format=self.format, **options)
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            raise InputError(f"Pillow cannot write this picture ({image.width} x {image.height}) as {self.name} with "
                             f"setting {setting}: {error}.") from None
        return file.getvalue()

    def decode(self, data: bytes) -> Image:
        """The picture in a file that `encode` made."""
        if self.format == "JXL":
            _load_jpeg_xl()
        return Image.open(io.BytesIO(data))

    def _held(self, image: Image) -> Image:
        """The part of the picture that the format holds."""
        pixels = image.pixels if self.sixteen_bit else image.eight_bit()
        if not self.alpha and image.channels in (2, 4):
            pixels = pixels[..., :-1]
        return Image(pixels)


def _load_jpeg_xl() -> None:
    """Makes Pillow know JPEG XL."""
    try:
        import pillow_jxl  # noqa: F401
    except ImportError:
        raise InputError("JPEG XL needs the package pillow-jxl-plugin.") from None


_AVIF = {"speed": 6, "subsampling": "4:4:4", "max_threads": 1}

ANCHORS = {
    anchor.name: anchor
    for anchor in (
        Anchor("jpeg", ".jpg", "libjpeg-turbo, 4:2:0, progressive, optimised Huffman tables", "JPEG",
               {"subsampling": "4:2:0", "progressive": True, "optimize": True},
               (5, 10, 20, 35, 50, 65, 75, 85, 92, 96), low=1, alpha=False),
        Anchor("webp", ".webp", "libwebp, method 6", "WEBP", {"method": 6}, (0, 5, 15, 30, 50, 70, 80, 90, 95)),
        Anchor("avif", ".avif", "libavif with libaom, speed 6, 4:4:4, default tune", "AVIF",
               _AVIF, (10, 20, 30, 40, 50, 60, 70, 80, 90)),
        Anchor("avif-psnr", ".avif", "libavif with libaom, speed 6, 4:4:4, tuned for PSNR", "AVIF",
               {**_AVIF, "advanced": {"tune": "psnr"}}, (10, 20, 30, 40, 50, 60, 70, 80, 90)),
        Anchor("jxl", ".jxl", "libjxl, effort 7", "JXL", {"effort": 7, "num_threads": 1},
               (5, 20, 30, 45, 60, 75, 85, 90, 95), sixteen_bit=True),
        Anchor("png", ".png", "zlib; the setting is its level", "PNG", {},
               (1, 3, 5, 7, 9), knob="compress_level", high=9, lossless=True, sixteen_bit=True),
        Anchor("webp-lossless", ".webp", "libwebp, lossless, method 6; the setting is its effort", "WEBP",
               {"method": 6, "lossless": True, "exact": True}, (0, 20, 40, 60, 80), lossless=True),
        Anchor("jxl-lossless", ".jxl", "libjxl, lossless; the setting is its effort", "JXL",
               {"lossless": True, "num_threads": 1}, (1, 3, 5, 7, 9), knob="effort", low=1, high=9, lossless=True,
               sixteen_bit=True),
    )
}
"""All anchors by name."""
