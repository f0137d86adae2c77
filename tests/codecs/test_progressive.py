"""Progressive files of `hyperprior`, and its levels: what users rely on."""

from dataclasses import replace

import numpy as np
import pytest

import fewbits
from fewbits.apps import samples
from fewbits.codecs import files, registry
from fewbits.codecs.codec import Target
from fewbits.codecs.image.hyperprior import picture as picture_module
from fewbits.codecs.media import Image
from fewbits.entropy import container
from fewbits.errors import DamagedError, InputError, StreamError, TruncatedError
from fewbits.eval.metrics import psnr

LEVELS = 5
GENERATOR = np.random.default_rng(0)


def encoded(pixels: np.ndarray, quality: float = 50.0, progressive: bool = True, **more) -> bytes:
    return files.encode(Image(pixels), target=Target(quality=quality, progressive=progressive, **more)).data


def pixels_of(data: bytes, **more) -> np.ndarray:
    return files.decode(data, **more).image.pixels


def latents_of(data: bytes, levels: int | None = None) -> np.ndarray:
    parsed = files.parse(data, allow_damage=True)
    return parsed.codec.latents(parsed.stream, parsed.shape, levels).numpy()


def sections_of(data: bytes) -> list[container.Section]:
    return container.read(data, registry.settings_of_number).sections


def with_damage(data: bytes, *numbers: int) -> bytes:
    damaged = bytearray(data)
    for number in numbers:
        damaged[sections_of(data)[number].offset] ^= 0xFF
    return bytes(damaged)


@pytest.fixture
def small_tiles(monkeypatch):
    monkeypatch.setattr(picture_module, "TILE", 8)


# Whole files


@pytest.mark.parametrize("size", [(1, 1), (9, 1), (17, 31), (130, 97)])
@pytest.mark.parametrize("effort", [5, 6])
def test_the_picture_is_that_of_an_ordinary_file(smooth, size, effort):
    data = encoded(smooth(*size), effort=effort)
    assert np.array_equal(pixels_of(data), pixels_of(encoded(smooth(*size), progressive=False, effort=effort)))
    assert len(sections_of(data)) == LEVELS
    assert np.array_equal(pixels_of(data), pixels_of(data, levels=LEVELS))


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_any_layout_comes_back(smooth, channels):
    pixels = smooth(40, 56, channels)
    data = encoded(pixels)
    assert np.array_equal(pixels_of(data), pixels_of(encoded(pixels, progressive=False)))
    assert pixels_of(data, levels=1).shape == pixels.shape
    if channels in (2, 4):
        assert np.array_equal(pixels_of(data, levels=1)[..., -1], pixels[..., -1])  # opacity is no level


def test_profiles_stay_and_so_do_other_weights(photo):
    image = Image(photo, icc_profile=GENERATOR.bytes(300), exif=GENERATOR.bytes(60))
    data, plain = (files.encode(image, target=Target(quality=40, tune="msssim", progressive=progressive)).data
                   for progressive in (True, False))
    assert files.decode(data, levels=2).image.icc_profile == image.icc_profile
    assert files.decode(data).image.exif == image.exif
    assert np.array_equal(pixels_of(data, levels=3), pixels_of(plain, levels=3))


@pytest.mark.parametrize("effort", [5, 6])
def test_a_photo_costs_some_tens_of_bytes_more(effort):
    pixels = np.ascontiguousarray(samples.photo(samples.STILL).rgb()[:, :768])
    ordinary, progressive = (len(encoded(pixels, progressive=choice, effort=effort)) for choice in (False, True))
    assert pixels.shape == (512, 768, 3)
    assert 0 < progressive - ordinary <= min(70, 0.01 * ordinary)


def test_the_golden_file_is_progressive(root):
    """Other tests see to it that it decodes as when it was made, all of it."""
    golden, ordinary = ((root / "tests" / "golden" / f"hyperprior-{number}.fwb").read_bytes() for number in (4, 2))
    assert len(sections_of(golden)) == LEVELS
    for levels in range(1, LEVELS + 1):
        assert np.array_equal(latents_of(golden, levels), latents_of(ordinary, levels))


def test_escapes_come_back():
    pixels = GENERATOR.integers(0, 256, (64, 64, 3), dtype=np.uint8)
    assert np.array_equal(pixels_of(encoded(pixels, 100)), pixels_of(encoded(pixels, 100, progressive=False)))


@pytest.mark.usefixtures("small_tiles")
@pytest.mark.parametrize("progressive", [False, True])
def test_a_size_is_kept_with_many_sections(photo, progressive):
    opacity = np.arange(64 * 160, dtype=np.uint8).reshape(64, 160)
    pixels = np.dstack([photo[:64, :160], opacity])
    size = len(encoded(pixels, 40, progressive))
    assert 0.9 * size < len(files.encode(Image(pixels), target=Target(size=size, progressive=progressive)).data) <= size


# Levels


@pytest.mark.parametrize("effort", [5, 6])
def test_each_level_is_nearer_to_the_photo_from_either_form(photo, effort):
    progressive, ordinary = encoded(photo, effort=effort), encoded(photo, progressive=False, effort=effort)
    shown = [pixels_of(progressive, levels=levels) for levels in range(1, LEVELS + 1)]
    assert (np.diff([psnr(pixels, photo) for pixels in shown]) > 0.2).all()
    for levels, pixels in enumerate(shown, 1):
        assert np.array_equal(pixels, pixels_of(ordinary, levels=levels))
    assert np.array_equal(shown[1], fewbits.decode(progressive, levels=2).pixels)
    assert fewbits.encode(photo, quality=50, progressive=True, effort=effort) == progressive


@pytest.mark.parametrize("levels", [-1, 0, 6])
@pytest.mark.parametrize("progressive", [False, True])
def test_levels_that_are_not_there_are_refused(smooth, levels, progressive):
    with pytest.raises(InputError, match=f"There are 5 levels to decode, not {levels}"):
        pixels_of(encoded(smooth(8, 8), progressive=progressive), levels=levels)


def test_codecs_without_levels_refuse_them(smooth):
    image = Image(smooth(8, 8))
    with pytest.raises(InputError, match="circuit makes no progressive files"):
        files.encode(image, "circuit", Target(progressive=True))
    with pytest.raises(InputError, match="circuit knows no levels"):
        files.decode(files.encode(image, "circuit").data, levels=1)


def test_info_has_the_bytes_of_levels(photo):
    data = encoded(photo)
    assert files.info(data)["level_bytes"] == [section.length for section in sections_of(data)]
    assert "level_bytes" not in files.info(encoded(photo, progressive=False))


def test_info_of_a_header_that_lies_about_its_size_is_quick(smooth):
    box = container.read(encoded(smooth(8, 8)), registry.settings_of_number)
    huge = replace(box.header, media=box.header.media | {"width": 2**31 - 1, "height": 2**31 - 1})
    data = container.write(huge, registry.settings_of_number(1), [b"a"] * LEVELS)
    assert "level_bytes" not in files.info(data)


# Parts of files


@pytest.mark.parametrize("effort", [5, 6])
def test_a_file_that_is_cut_off_shows_the_levels_that_are_whole(photo, effort):
    data = encoded(photo[:96, :128], effort=effort)
    shown = [pixels_of(data, levels=levels) for levels in range(1, LEVELS + 1)]
    for number, section in enumerate(sections_of(data)):
        for length in (section.offset - container.CRC_BYTES, section.offset, section.offset + section.length // 2):
            if not number:
                with pytest.raises(TruncatedError):
                    files.decode(data[:length], allow_damage=True)
                continue
            with pytest.raises(DamagedError, match="allow damage to see what is there"):
                files.decode(data[:length])
            decoded = files.decode(data[:length], allow_damage=True)
            assert (decoded.levels, decoded.damaged, decoded.lost) == ((number,) * 2, list(range(number, LEVELS)), [])
            assert np.array_equal(decoded.image.pixels, shown[number - 1])
            assert np.array_equal(pixels_of(data[:length], levels=number), shown[number - 1])  # all that is asked for
            with pytest.raises(DamagedError):
                pixels_of(data[:length], levels=number + 1)


@pytest.mark.parametrize("effort", [5, 6])
def test_levels_after_a_damaged_one_are_lost(photo, effort):
    data = encoded(photo[:96, :128], effort=effort)
    decoded = files.decode(with_damage(data, 2), allow_damage=True)
    assert (decoded.levels, decoded.damaged, decoded.lost) == ((2, 2), [2], [3, 4])
    assert np.array_equal(decoded.image.pixels, pixels_of(data, levels=2))
    decoded = files.decode(with_damage(data, 2, 4), allow_damage=True)
    assert (decoded.damaged, decoded.lost) == ([2, 4], [3])
    decoded = files.decode(with_damage(data, 2, 4), levels=3, allow_damage=True)
    assert (decoded.levels, decoded.damaged, decoded.lost) == ((2, 2), [2], [])
    assert files.decode(with_damage(data, 0), allow_damage=True).levels == (0, 0)


@pytest.mark.usefixtures("small_tiles")
def test_tiles_show_what_is_there_of_each(photo):
    """Tile by tile within a level; so a file that is cut off has some tiles at one level more than the others."""
    data = encoded(photo)
    sections, cut = sections_of(data), 12 + 7
    assert len(sections) == 12 * LEVELS
    assert np.array_equal(latents_of(data), latents_of(encoded(photo, progressive=False)))
    start = data[: sections[cut].offset + 1]
    assert files.decode(start, allow_damage=True).levels == (1, 2)
    expected = latents_of(data, levels=1)
    expected[:, :8], expected[:, 8:16, :24] = (latents_of(data, levels=2)[:, rows, columns]
                                               for rows, columns in ((np.s_[:8], np.s_[:]), (np.s_[8:16], np.s_[:24])))
    assert np.array_equal(latents_of(start), expected)
    damaged = files.parse(with_damage(data, 3, 12 + 4), allow_damage=True)
    assert (damaged.levels, damaged.damaged) == ((0, LEVELS), [3, 16])
    assert damaged.lost == [15, 27, 28, 39, 40, 51, 52]


def test_opacity_that_is_cut_off_is_damage_at_any_level(smooth):
    pixels = smooth(40, 56, 4)
    data = encoded(pixels)
    start = data[: sections_of(data)[-1].offset]
    with pytest.raises(DamagedError):
        files.decode(start, levels=1)
    decoded = files.decode(start, allow_damage=True)
    assert (decoded.levels, decoded.damaged) == ((LEVELS, LEVELS), [LEVELS])
    assert (decoded.image.pixels[..., -1] == 255).all()
    assert np.array_equal(decoded.image.pixels[..., :3], pixels_of(data)[..., :3])


def rewritten(data: bytes, sections: list[bytes]) -> bytes:
    """The file with other sections, whose checksums are right: what an attacker would send."""
    header = container.read(data, registry.settings_of_number).header
    return container.write(header, registry.settings_of_number(1), sections)


@pytest.mark.parametrize("effort", [5, 6])
def test_hostile_sections_with_right_checksums_are_safe(photo, effort):
    data = encoded(photo[:48, :64], effort=effort)
    box = container.read(data, registry.settings_of_number)
    sections = [box.section(number) for number in range(LEVELS)]
    wrong = [sections[:count] for count in (2, 3, 4)] + [[*sections, b""]]
    for number in range(LEVELS):
        for section in (b"", sections[number][:-4], sections[number] + bytes(3) + b"\1", b"\0" + GENERATOR.bytes(40)):
            wrong.append([*sections[:number], section, *sections[number + 1 :]])
    for changed in wrong:
        with pytest.raises(StreamError):
            files.decode(rewritten(data, changed), allow_damage=True)
    for _ in range(60):
        number = int(GENERATOR.integers(LEVELS))
        mutated = bytearray(sections[number])
        mutated[GENERATOR.integers(len(mutated))] ^= GENERATOR.integers(1, 256)
        changed = [*sections[:number], bytes(mutated), *sections[number + 1 :]]
        try:
            assert pixels_of(rewritten(data, changed)).shape == (48, 64, 3)  # it is another valid stream
        except StreamError:
            continue
