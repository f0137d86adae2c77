"""The container: its bytes, and what becomes of damaged ones."""

import dataclasses
import random
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fewbits.entropy.container import (
    MAX_SECTIONS,
    MAX_SIDE,
    Container,
    Field,
    Header,
    header_layout,
    read,
    read_header,
    resealed,
    size_of_sections,
    write,
)
from fewbits.entropy.varint import write_varint
from fewbits.errors import (
    DamagedError,
    FewbitsError,
    LimitError,
    NotFewbitsError,
    StreamError,
    TruncatedError,
    UnsupportedError,
)

SETTINGS = {
    1: (Field("quality", "u8", 0, 224),),
    2: (),
    3: (Field("blocks", "varint", 5, 70000), Field("mode", "u8", 1, 2)),
}
WEIGHTS = bytes(range(0xA0, 0xA8))
PHOTO = Header(1, "image", WEIGHTS, {"layout": 3, "width": 768, "height": 512}, {"quality": 100})

# The examples of docs/format.md; files of the first release look like this, so they may never change.
ONE_SECTION = bytes.fromhex("46574201 0104 A0A1A2A3A4A5A6A7 03 8006 8004 64 86197781 68656C6C6F")
THREE_SECTIONS = bytes.fromhex("46574201 0208 01 01 01 03 02 00 60053C03 6162 7009FA5F 8A2E4311 63")
SOUND = bytes.fromhex("46574201 0202 807D 01 C0B802 D0E57F7D 68656C6C6F")


def fields_of(codec: int) -> tuple[Field, ...]:
    if codec not in SETTINGS:
        raise UnsupportedError(f"no codec {codec}")
    return SETTINGS[codec]


def read_all(data: bytes) -> tuple[Header, list[bytes]]:
    box = read(data, fields_of)
    return box.header, [box.section(i) for i in range(len(box.sections))]


def small_file() -> tuple[bytes, list[bytes]]:
    sections = [b"first", b"", b"the third section", b"4"]
    return write(PHOTO, fields_of(1), sections), sections


def test_golden_file_with_one_section() -> None:
    assert write(PHOTO, fields_of(1), [b"hello"]) == ONE_SECTION
    assert read_all(ONE_SECTION) == (PHOTO, [b"hello"])


def test_golden_file_with_three_sections() -> None:
    header = Header(2, "image", b"", {"layout": 1, "width": 1, "height": 1}, {})
    assert write(header, (), [b"ab", b"", b"c"]) == THREE_SECTIONS
    assert read_all(THREE_SECTIONS) == (header, [b"ab", b"", b"c"])


def test_golden_file_of_a_sound() -> None:
    header = Header(2, "audio", b"", {"rate": 16000, "channels": 1, "count": 40000}, {})
    assert write(header, (), [b"hello"]) == SOUND
    assert read_all(SOUND) == (header, [b"hello"])


def test_checksums_follow_the_description() -> None:
    """Those of docs/format.md, computed in one go."""
    head, rest = THREE_SECTIONS[:12], THREE_SECTIONS[12:]
    for number, section in enumerate([b"ab", b"", b"c"]):
        expected = zlib.crc32(head + number.to_bytes(4, "little") + section)
        assert rest[: 4 + len(section)] == expected.to_bytes(4, "little") + section
        rest = rest[4 + len(section) :]
    assert rest == b""


def test_examples_of_the_format_page(root: Path) -> None:
    examples = (root / "docs" / "format.md").read_text().split("### Examples")[1].split("## Symbols")[0]
    cells = [row.split("|")[1] for row in examples.splitlines() if row.startswith("| `")]
    shown = "".join(part for cell in cells for part in cell.split("`")[1::2])
    assert bytes.fromhex(shown) == ONE_SECTION + THREE_SECTIONS + SOUND


@pytest.mark.parametrize("side", [128, 16383])
def test_overhead_is_24_bytes_for_an_image_with_one_section(side: int) -> None:
    header = dataclasses.replace(PHOTO, media={"layout": 3, "width": side, "height": side})
    assert len(write(header, fields_of(1), [b"payload"])) == 24 + len(b"payload")


@given(st.data())
@settings(deadline=None)
def test_there_and_back(data: st.DataObject) -> None:
    codec = data.draw(st.sampled_from(sorted(SETTINGS)))
    media = {"layout": data.draw(st.integers(0, 63)), "width": data.draw(st.integers(1, MAX_SIDE)),
             "height": data.draw(st.integers(1, MAX_SIDE))}
    settings = {field.name: data.draw(st.integers(field.low, field.high)) for field in SETTINGS[codec]}
    header = Header(codec, "image", data.draw(st.sampled_from([b"", WEIGHTS])), media, settings)
    sections = data.draw(st.lists(st.binary(max_size=300), min_size=1, max_size=5))
    written = write(header, SETTINGS[codec], sections)
    assert read_all(written) == (header, sections)
    assert read_header(written, fields_of)[0] == header


@given(st.lists(st.binary(max_size=300), min_size=1, max_size=200))
@settings(deadline=None)
def test_what_sections_cost(sections: list[bytes]) -> None:
    empty, whole = write(PHOTO, fields_of(1), [b""]), write(PHOTO, fields_of(1), sections)
    assert size_of_sections([len(section) for section in sections]) == len(whole) - len(empty)


def test_places_of_sections() -> None:
    data, sections = small_file()
    box = read(data, fields_of)
    assert [data[s.offset : s.offset + s.length] for s in box.sections] == sections
    assert box.sections[0].offset == box.header_size + 4


@pytest.mark.parametrize(("data", "error", "says"), [
    (b"", NotFewbitsError, "empty"),
    (b"\x89PNG\r\n\x1a\n" + bytes(20), NotFewbitsError, "PNG"),
    (b"\xff\xd8\xff\xe0" + bytes(20), NotFewbitsError, "JPEG"),
    (b"RIFF\0\0\0\0WEBPVP8 ", NotFewbitsError, "WebP"),
    (b"\0\0\0\x20ftypavif" + bytes(20), NotFewbitsError, "AVIF"),
    (b"plain text", NotFewbitsError, "not a .fwb file"),
    (b"FW", TruncatedError, "ends after 2 bytes"),
    (b"FWB\x02 of a later release", UnsupportedError, "version 2"),
    (b"FWB\x00\x01", DamagedError, "format version"),
    (b"FWB\x01\x63\x04" + bytes(30), UnsupportedError, "codec 99"),
    (b"FWB\x01\x01\x03" + bytes(30), DamagedError, "channels"),
    (b"FWB\x01\x01\x10" + bytes(30), DamagedError, "form"),
    (b"FWB\x01\x02\x00\x40\x01\x01" + bytes(30), DamagedError, "layout"),
    (b"FWB\x01\x02\x00\x03\x00\x01" + bytes(30), DamagedError, "width"),
    (b"FWB\x01\x02\x00\x03\x81\x00" + bytes(30), DamagedError, "shortest form"),
    (b"FWB\x01\x02\x02\x00\x01\x01" + bytes(30), DamagedError, "rate"),
    (b"FWB\x01\x02\x02\xc1\x84\x3d\x01\x01" + bytes(30), DamagedError, "rate .* is 1000001"),
    (b"FWB\x01\x02\x02\x01\x00\x01" + bytes(30), DamagedError, "channels"),
    (b"FWB\x01\x02\x02\x01\x01\x00" + bytes(30), DamagedError, "count"),
    (b"FWB\x01\x01\x00\x03\x01\x01\xff" + bytes(30), DamagedError, "quality"),
    (b"FWB\x01\x02\x08\x03\x01\x01\x01" + bytes(30), DamagedError, "number of sections"),
])
def test_each_error_has_its_sentence(data: bytes, error: type[FewbitsError], says: str) -> None:
    with pytest.raises(error, match=says):
        read(data, fields_of)


def test_a_claim_of_many_sections_costs_nothing() -> None:
    head = ONE_SECTION[:5] + b"\x08\x03\x01\x01\x64"
    with pytest.raises(LimitError):
        read(head + write_varint(MAX_SECTIONS + 1) + bytes(50), fields_of)
    with pytest.raises(TruncatedError):
        read(head + write_varint(MAX_SECTIONS) + bytes(50), fields_of)
    with pytest.raises(TruncatedError):
        read(head + write_varint(3) + write_varint(1 << 40) * 2 + bytes(50), fields_of)


def test_one_damaged_section() -> None:
    for cut in range(len(ONE_SECTION)):
        with pytest.raises(NotFewbitsError if cut == 0 else (TruncatedError, DamagedError)):
            read(ONE_SECTION[:cut], fields_of)
    with pytest.raises(DamagedError, match="damaged or cut short"):
        read(ONE_SECTION[:-1], fields_of)
    with pytest.raises(DamagedError, match="damaged or cut short"):
        read(ONE_SECTION + b"\0", fields_of)


def test_every_truncation_costs_the_sections_it_touches() -> None:
    data, sections = small_file()
    ends = [s.offset + s.length for s in read(data, fields_of).sections]
    for cut in range(1, len(data)):
        if cut < ends[0]:
            with pytest.raises(TruncatedError):
                read(data[:cut], fields_of)
            continue
        box = read(data[:cut], fields_of)
        assert [s.intact for s in box.sections] == [end <= cut for end in ends]
        check_intact(box, sections)


def check_intact(box: Container, sections: list[bytes]) -> None:
    """What is called intact is what was written; the rest cannot be had."""
    assert box.header == PHOTO
    assert len(box.sections) == len(sections)
    for number, section in enumerate(box.sections):
        if section.intact:
            assert box.section(number) == sections[number]
        else:
            with pytest.raises(DamagedError, match=f"Section {number}"):
                box.section(number)


def test_swapped_sections_are_damaged() -> None:
    data = write(PHOTO, fields_of(1), [b"aaaa", b"bbbb", b"cccc"])
    swapped = data[:-24] + data[-16:-8] + data[-24:-16] + data[-8:]
    assert [s.intact for s in read(swapped, fields_of).sections] == [False, False, True]


def test_resealed_files_have_the_right_checksums_wherever_a_section_is_complete() -> None:
    data, _ = small_file()
    assert resealed(data, fields_of) == data
    changed = data.replace(b"third", b"other")
    assert [section.intact for section in read(resealed(changed, fields_of), fields_of).sections] == [True] * 4
    assert read_all(resealed(changed, fields_of))[1] == [b"first", b"", b"the other section", b"4"]
    cut = resealed(changed[:-8], fields_of)
    assert len(cut) == len(data) - 8
    assert [section.intact for section in read(cut, fields_of).sections] == [True, True, False, False]


def mutations() -> dict[str, Callable[[random.Random, bytes], bytes]]:
    def place(r: random.Random, data: bytes) -> int:
        return r.randrange(len(data))

    def put(data: bytes, at: int, new: bytes) -> bytes:
        return data[:at] + new + data[at + len(new) :]

    return {
        "bit": lambda r, d: put(d, at := place(r, d), bytes([d[at] ^ 1 << r.randrange(8)])),
        "byte": lambda r, d: put(d, place(r, d), r.randbytes(1)),
        "run": lambda r, d: put(d, place(r, d), r.randbytes(r.randrange(1, 9))),
        "deletion": lambda r, d: d[: (at := place(r, d))] + d[at + r.randrange(1, 5) :],
        "insertion": lambda r, d: d[: (at := place(r, d))] + r.randbytes(r.randrange(1, 5)) + d[at:],
        "large number": lambda r, d: put(d, place(r, d), b"\xff" * r.randrange(1, 9)),
    }


@pytest.mark.parametrize("how", mutations())
@pytest.mark.parametrize("many", [False, True])
def test_random_mutations_end_in_our_errors_or_are_reported(how: str, many: bool) -> None:
    data, sections = small_file() if many else (ONE_SECTION, [b"hello"])
    generator = random.Random(how)
    refused = 0
    for _ in range(1500):
        mutated = mutations()[how](generator, data)
        if mutated == data:
            continue
        try:
            box = read(mutated, fields_of)
        except StreamError:
            refused += 1
        else:
            assert many, "a damaged file with one section was taken"
            check_intact(box, sections)
            assert not all(section.intact for section in box.sections)
    assert refused > 100


@given(st.binary(max_size=60))
@settings(deadline=None)
def test_arbitrary_bytes_after_the_magic(rest: bytes) -> None:
    with pytest.raises(StreamError):
        read(b"FWB\x01" + rest, fields_of)


@pytest.mark.parametrize("change", [
    {"weights": b"short"},
    {"kind": "video"},
    {"kind": "smell"},
    {"codec": 256},
    {"media": {"layout": 3, "width": 0, "height": 1}},
    {"media": {"layout": 3, "width": 1}},
    {"media": {"layout": 3, "width": 1, "height": 1, "depth": 1}},
    {"settings": {}},
    {"settings": {"quality": 225}},
])
def test_headers_that_are_wrong_are_not_written(change: dict) -> None:
    with pytest.raises(ValueError):
        write(dataclasses.replace(PHOTO, **change), fields_of(1), [b""])


@pytest.mark.parametrize("count", [0, MAX_SECTIONS + 1])
def test_numbers_of_sections_that_are_wrong_are_not_written(count: int) -> None:
    with pytest.raises(ValueError, match="section"):
        write(PHOTO, fields_of(1), [b""] * count)


def test_the_layout_of_a_header_is_all_of_it() -> None:
    layout = header_layout(ONE_SECTION, fields_of)
    assert layout == [("magic", 3), ("format version", 1), ("codec", 1), ("form", 1), ("weights", 8), ("layout", 1),
                      ("width", 2), ("height", 2), ("quality", 1)]
    for data in (ONE_SECTION, THREE_SECTIONS, SOUND):
        assert sum(size for _, size in header_layout(data, fields_of)) == read(data, fields_of).header_size
