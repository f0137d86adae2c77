"""Pictures of fewbits in programs that use Pillow."""

import subprocess
import sys
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PillowImage
from PIL import ImageCms, ImageFile, UnidentifiedImageError

import fewbits.pillow  # noqa: F401  the import is what is tested
from fewbits.codecs import files, registry
from fewbits.codecs.media import Image
from fewbits.codecs.sound import Audio
from fewbits.entropy import container
from fewbits.entropy.container import Header
from fewbits.entropy.deflate import deflate
from fewbits.errors import DamagedError

LAZY = """
import sys
import fewbits.pillow
from PIL import Image
with Image.open(sys.argv[1]) as picture:
    assert (picture.format, picture.mode, picture.size) == ("FWB", "RGB", (64, 48)), picture
    assert picture.info["codec"] == "hyperprior" and picture.get_format_mimetype() == "image/x-fewbits"
    print(sorted(name for name in ("torch", "numba") if name in sys.modules))
"""


def drawn(mode: str, width: int = 21, height: int = 14) -> PillowImage.Image:
    """A slope with noise, in a mode of Pillow's."""
    rows, columns = np.mgrid[:height, :width]
    noise = np.random.default_rng(0).integers(0, 9, (height, width, 4))
    samples = (np.stack([8 * columns, 9 * rows, 4 * (rows + columns), 255 - 6 * columns], -1) + noise).clip(0, 255)
    if mode == "I;16":
        return PillowImage.fromarray((200 * samples[..., 0]).astype(np.uint16))
    return PillowImage.fromarray(samples.astype(np.uint8), "RGBA").convert(mode)


def saved(picture: PillowImage.Image, **options: object) -> BytesIO:
    file = BytesIO()
    picture.save(file, format="FWB", **options)
    file.seek(0)
    return file


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "I;16"])
def test_pictures_come_back_in_their_mode(mode: str) -> None:
    picture = drawn(mode)
    with PillowImage.open(saved(picture, codec="circuit")) as back:
        assert (back.mode, back.size, back.info["codec"]) == (picture.mode, picture.size, "circuit")
        assert np.array_equal(np.asarray(back), np.asarray(picture))


@pytest.mark.parametrize("mode, becomes", [("1", "L"), ("P", "RGB"), ("CMYK", "RGB")])
def test_other_modes_become_what_can_be_coded(mode: str, becomes: str) -> None:
    picture = drawn("RGB").convert(mode)
    with PillowImage.open(saved(picture, codec="circuit")) as back:
        assert back.mode == becomes
        assert np.array_equal(np.asarray(back), np.asarray(picture.convert(becomes)))


def test_opening_decodes_nothing(tmp_path: Path, root: Path) -> None:
    path = tmp_path / "picture.fwb"
    drawn("RGB", 64, 48).save(path, quality=30)
    command = [sys.executable, "-c", LAZY, str(path)]
    result = subprocess.run(command, capture_output=True, text=True, env={"PYTHONPATH": str(root)}, timeout=60)
    assert (result.returncode, result.stdout.strip()) == (0, "[]"), result.stderr


def test_options_are_those_of_encode() -> None:
    picture = drawn("RGB", 64, 48)
    small, large = (len(saved(picture, quality=quality).getvalue()) for quality in (5, 90))
    assert small < large
    assert len(saved(picture, size=700).getvalue()) <= 700
    expected = files.encode(Image.as_it_is(picture), "hyperprior").data
    assert saved(picture).getvalue() == expected


def test_a_colour_profile_is_kept() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for options, info in (({"icc_profile": profile}, {}), ({}, {"icc_profile": profile})):
        picture = drawn("RGB")
        picture.info |= info
        back = PillowImage.open(saved(picture, codec="circuit", **options))
        assert back.info["icc_profile"] == profile
    picture.info["icc_profile"] = profile
    assert "icc_profile" not in PillowImage.open(saved(picture, codec="circuit", icc_profile=None)).info


def test_exif_is_kept_where_it_is_given() -> None:
    picture = drawn("RGB")
    exif = PillowImage.Exif()
    exif[0x0112], exif[0x010E] = 6, "a slope"  # to be turned, and what it shows
    for given in (exif, exif.tobytes()):
        back = PillowImage.open(saved(picture, codec="circuit", exif=given))
        assert back.getexif()[0x0112] == 6 and back.getexif()[0x010E] == "a slope"
        assert back.size == picture.size and np.array_equal(np.asarray(back), np.asarray(picture))
    assert "exif" not in PillowImage.open(saved(back, codec="circuit")).info


def test_exif_and_profile_go_on_to_other_formats(tmp_path: Path) -> None:
    exif = PillowImage.Exif()
    exif[0x010E] = "a slope"
    data = saved(drawn("RGB"), codec="circuit", exif=exif, icc_profile=b"a profile").getvalue()
    assert files.info(data)["exif"] == 1
    files.decode(data).image.save(tmp_path / "back.png")
    with PillowImage.open(tmp_path / "back.png") as back:
        assert back.getexif()[0x010E] == "a slope" and back.info["icc_profile"] == b"a profile"


def test_files_are_closed_or_left_open_as_pillow_does(tmp_path: Path) -> None:
    path = tmp_path / "picture.fwb"
    drawn("L").save(path, codec="circuit")
    picture = PillowImage.open(path)
    file = picture.fp
    picture.load()
    assert file is not None and file.closed and picture.getpixel((3, 3)) == drawn("L").getpixel((3, 3))
    with path.open("rb") as mine:
        PillowImage.open(mine).load()
        assert not mine.closed


def test_a_long_header_is_read() -> None:
    class Watched(BytesIO):
        taken = 0

        def read(self, size: int | None = -1) -> bytes:
            data = super().read(size)
            self.taken += len(data)
            return data

    entry = registry.entry("hyperprior")
    header = Header(entry.number, "image", bytes(8), {"layout": 3, "width": 14_000, "height": 6_000}, {"quality": 9})
    file = Watched(container.write(header, entry.settings, [bytes(200)] * 3000))  # the lengths alone take 6 kB
    assert PillowImage.open(file).size == (14_000, 6_000)
    assert file.taken < 20_000


@pytest.mark.parametrize("length", [2, 5, 12])
def test_a_cut_header_is_no_picture(length: int) -> None:
    with pytest.raises((OSError, UnidentifiedImageError)):
        PillowImage.open(BytesIO(saved(drawn("L")).getvalue()[:length]))


def test_damage_is_an_error_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    data = bytearray(saved(drawn("RGBA", 40, 30)).getvalue())
    data[-1] ^= 1  # in the opacity, a section of its own
    with pytest.raises(OSError, match="damaged"):
        PillowImage.open(BytesIO(data)).load()
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    picture = PillowImage.open(BytesIO(data))
    assert np.asarray(picture)[..., 3].min() == 255


def test_the_beginning_of_a_progressive_file_is_a_truncated_image(monkeypatch: pytest.MonkeyPatch) -> None:
    data = saved(drawn("RGB", 40, 30), progressive=True).getvalue()
    start = data[: len(data) // 2]
    with pytest.raises(OSError, match="damaged or missing"):
        PillowImage.open(BytesIO(start)).load()
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    assert np.array_equal(np.asarray(PillowImage.open(BytesIO(start))),
                          files.decode(start, allow_damage=True).image.pixels)


def test_a_header_that_speaks_of_sections_that_are_not_there_is_damaged() -> None:
    entry = registry.entry("circuit")
    media = {"layout": 3 + 16 + 32, "width": 4, "height": 4}
    data = container.write(Header(entry.number, "image", b"", media, {"experts": 0}), entry.settings, [deflate(b"x")])
    with pytest.raises(DamagedError, match="lacks sections"):
        files.decode(data)
    assert PillowImage.open(BytesIO(data)).info["icc_profile"] == b"x"


def test_sounds_are_no_pictures() -> None:
    sound = files.encode(Audio(np.zeros((1, 1000), np.float32), 16000)).data
    with pytest.raises(UnidentifiedImageError):
        PillowImage.open(BytesIO(sound))


@pytest.mark.parametrize("options, sentence", [
    ({"codec": "gif"}, "no codec 'gif'"), ({"codec": "speech"}, "not for one picture"),
    ({"quality": 200}, "0 to 100"), ({"quality": 3, "size": 100}, "only one"),
])
def test_wrong_options_are_told(options: dict[str, object], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        saved(drawn("RGB"), **options)
