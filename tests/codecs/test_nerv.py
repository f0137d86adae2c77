"""The video codecs that fit a network to a film."""

import random
import weakref
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fewbits.codecs import files
from fewbits.codecs.codec import Stream, Target
from fewbits.codecs.film import Positions, Video, gathered
from fewbits.codecs.video.nerv import coding, encoder
from fewbits.codecs.video.nerv.aims import Aim
from fewbits.codecs.video.nerv.codec import HnervCodec, NervCodec, NervPlusCodec, NirvanaCodec
from fewbits.codecs.video.nerv.coding import Numbers, best_scales
from fewbits.codecs.video.nerv.config import HNERV, NERV, NERV_PLUS, NIRVANA, NervConfig
from fewbits.codecs.video.nerv.decoder import Decoder
from fewbits.codecs.video.nerv.fit import Fit
from fewbits.codecs.video.nerv.layout import Layout
from fewbits.codecs.video.nerv.start import first_row
from fewbits.errors import DamagedError, InputError, LimitError, StreamError

DESIGNS = pytest.mark.parametrize("design", [NERV, HNERV, NERV_PLUS, NIRVANA], ids=lambda design: design.name)


class SmallGroupsCodec(NervCodec):
    """`nerv` with groups of 4 frames."""

    design = replace(NERV, group_frames=4)


class ChainCodec(NirvanaCodec):
    """`nirvana` with groups of 2 frames, of which every third is sent whole."""

    design = replace(NIRVANA, group_frames=2, chain=3)


@pytest.fixture(autouse=True, scope="module")
def few_steps() -> Iterator[None]:
    """Films here are so simple that a network needs no more steps for them than frames would have it take."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encoder, "LEAST_FRAMES", 1)
        yield


def film(count: int = 6, height: int = 34, width: int = 48) -> Video:
    """A bright square that moves over a slope."""
    rows, columns = np.mgrid[:height, :width]
    frames = []
    for number in range(count):
        frame = np.stack([4 * columns, 5 * rows, 60 + 0 * rows], -1).clip(0, 255).astype(np.uint8)
        frame[8:20, 2 + 3 * number : 14 + 3 * number] = 240
        frames.append(frame)
    return Video(np.stack(frames), Fraction(30000, 1001))


def shape_of(video: Video) -> dict[str, int]:
    return {"count": video.count, "width": video.width, "height": video.height, "rate_numerator": 30000,
            "rate_denominator": 1001, "matrix": 0, "full_range": 0}


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / np.square(a.astype(float) - b).mean()))


@DESIGNS
@pytest.mark.parametrize(("height", "width"), [(34, 48), (17, 161), (1, 1)])
def test_the_decoder_gives_frames_of_any_size(design, height: int, width: int) -> None:
    config = NervConfig(design, 1, 5, height, width)
    with torch.no_grad():
        frames = Decoder(config)(torch.tensor([0.0, 1.5, 4.0]))
    assert frames.shape == (3, 3, height, width) and frames.isfinite().all()


@DESIGNS
def test_the_layout_is_the_decoders(design) -> None:
    config = NervConfig(design, 2, 7, 40, 60)
    layout, tensors = Layout(config), dict(Decoder(config).named_parameters())
    row = layout.row(tensors)
    assert len(row) == layout.size == sum(tensor.numel() for tensor in tensors.values())
    assert all(torch.equal(tensors[name], tensor) for name, tensor in layout.tensors(row).items())
    assert np.array_equal(np.unique(layout.scale_of_number), np.arange(layout.scales))
    # a scale is never shared between tensors
    pairs = set(zip(layout.scale_of_number.tolist(), layout.part_of_number.tolist(), strict=True))
    assert len(pairs) == layout.scales


def some_numbers(layout: Layout, seed: int = 0) -> Numbers:
    generator = np.random.default_rng(seed)
    spread = generator.choice([0.01, 0.3, 2.0, 50.0], layout.scales)[layout.scale_of_number]
    integers = np.round(generator.laplace(size=layout.size) * spread).astype(np.int32)
    integers[0] = 5_000_000  # beyond every table
    context = generator.integers(-40, 40, (layout.grid_channels, 3)).astype(np.int8)
    return Numbers(generator.integers(100, 200, len(layout.parts)).astype(np.uint8), context, integers)


@DESIGNS
def test_numbers_come_back_and_take_as_many_bits_as_estimated(design) -> None:
    layout = Layout(NervConfig(design, 2, 7, 40, 60))
    numbers = some_numbers(layout)
    section, bits = coding.encode(numbers, layout)
    back = coding.decode(section, layout)
    for name in ("steps", "context", "integers"):
        assert np.array_equal(getattr(back, name), getattr(numbers, name))
    assert 8 * len(section) == pytest.approx(bits, abs=80, rel=1e-3)


def test_the_best_scale_of_each_row_is_found() -> None:
    layout = Layout(NervConfig(NERV, 1, 4, 40, 60))
    integers = some_numbers(layout, 1).integers
    found = best_scales(integers, layout)
    for number in random.Random(0).sample(range(layout.scales), 12):
        row = integers[layout.scale_of_number == number]
        bits = [coding.TABLES.bits(row, np.full(len(row), table, np.uint16)) for table in range(coding.SCALES)]
        assert bits[found[number]] <= min(bits) + 0.02 * min(bits) + 1


def test_rounding_goes_to_the_nearest() -> None:
    layout = Layout(NervConfig(NERV, 0, 2, 16, 16))
    row = torch.randn(layout.size, generator=torch.Generator().manual_seed(0))
    numbers = Numbers.rounded(row, np.full(len(layout.parts), 136, np.uint8), some_numbers(layout).context, layout)
    assert (numbers.row(layout) - row).abs().max() <= 2.0**-3 / 2 + 1e-6


@pytest.mark.parametrize(("codec", "least"), [(NervCodec, 19), (HnervCodec, 13), (NervPlusCodec, 16), (ChainCodec, 11)])
def test_a_film_comes_back_alike(codec: type[NervCodec], least: float) -> None:
    video = film()
    stream = codec().encode(video, Target(quality=80, effort=5))
    decoded = codec().decode(stream, shape_of(video))
    assert decoded.samples.shape == video.samples.shape
    assert psnr(decoded.samples, video.samples) > least
    assert 8 * sum(map(len, stream.sections)) == pytest.approx(stream.estimate_bits, rel=0.01, abs=80)


def test_more_effort_is_better() -> None:
    video = film()
    likeness = []
    for effort in (2, 5):
        stream = NervCodec().encode(video, Target(quality=80, effort=effort))
        likeness.append(psnr(NervCodec().decode(stream, shape_of(video)).samples, video.samples))
    assert likeness[1] > likeness[0] + 1


@pytest.fixture(scope="module")
def groups() -> tuple[Video, Stream]:
    """A film of three groups, of 4, 4 and 3 frames, the last with fewer steps of the embedding."""
    video = film(11)
    return video, SmallGroupsCodec().encode(video, Target(quality=60, effort=4))


def test_groups_are_independent(groups: tuple[Video, Stream]) -> None:
    video, stream = groups
    assert stream.settings["group"] == 4 and len(stream.sections) == 3
    whole = NervCodec().decode(stream, shape_of(video)).samples
    hurt = Stream(stream.settings, [stream.sections[0], None, stream.sections[2]])
    decoded = NervCodec().decode(hurt, shape_of(video)).samples
    assert np.array_equal(decoded[[0, 1, 2, 3, 8, 9, 10]], whole[[0, 1, 2, 3, 8, 9, 10]])
    assert (decoded[4:8] == 128).all()
    assert (whole[4:8] != 128).any()


@pytest.fixture(scope="module")
def chained() -> tuple[Video, Stream]:
    """A film of five groups of 2 frames; the second, third and fifth follow from the one before."""
    video = film(10)
    return video, ChainCodec().encode(video, Target(quality=60, effort=3))


def test_a_chain_is_lost_up_to_the_next_whole_group(chained: tuple[Video, Stream]) -> None:
    video, stream = chained
    whole = ChainCodec().decode(stream, shape_of(video)).samples
    assert len(stream.sections) == 5 and (whole != 128).any((1, 2, 3)).all()
    hurt = Stream(stream.settings, [*stream.sections[:1], None, *stream.sections[2:]])
    decoded = ChainCodec().decode(hurt, shape_of(video)).samples
    kept = [0, 1, 6, 7, 8, 9]
    assert np.array_equal(decoded[kept], whole[kept]) and (decoded[2:6] == 128).all()


def test_any_frames_of_a_chain_can_be_had(chained: tuple[Video, Stream]) -> None:
    video, stream = chained
    whole = ChainCodec().decode(stream, shape_of(video)).samples
    for numbers in (range(9, 10), range(5, 8), range(1, 10, 4)):
        part = list(ChainCodec().decode_frames(stream, shape_of(video), Positions(numbers)))
        assert np.abs(np.stack(part).astype(int) - whole[numbers.start : numbers.stop : numbers.step]).max() <= 1


def test_differences_take_fewer_bytes_than_networks() -> None:
    video = Video(np.repeat(film(1).samples, 4, 0), Fraction(25))
    first, second = ChainCodec().encode(video, Target(quality=60, effort=4)).sections
    assert first is not None and second is not None and len(second) < 0.5 * len(first)


def test_only_the_frames_of_a_group_are_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    groups: list[weakref.ref[np.ndarray]] = []

    def watched(*arguments: Any) -> np.ndarray:
        assert all(earlier() is None for earlier in groups)
        frames = gathered(*arguments)
        groups.append(weakref.ref(frames))
        return frames

    monkeypatch.setattr(encoder, "gathered", watched)
    SmallGroupsCodec().encode(film(8, 16, 16), Target(effort=1))
    assert len(groups) == 2


def test_any_frames_can_be_had(groups: tuple[Video, Stream]) -> None:
    video, stream = groups
    whole = NervCodec().decode(stream, shape_of(video)).samples
    part = list(NervCodec().decode_frames(stream, shape_of(video), Positions(range(2, 7))))
    # convolutions of other batches may round otherwise
    assert np.abs(np.stack(part).astype(int) - whole[2:7]).max() <= 1


def test_frames_between_frames_lie_between_them(groups: tuple[Video, Stream]) -> None:
    video, stream = groups
    positions = [Fraction(0), Fraction(1, 2), Fraction(1), Fraction(7, 2), Fraction(10)]
    first, between, second, edge, last = NervCodec().decode_frames(stream, shape_of(video), positions)
    apart = np.abs(first.astype(int) - second).mean()
    assert max(np.abs(between.astype(int) - frame).mean() for frame in (first, second)) < apart
    assert edge.shape == last.shape == first.shape


def test_a_size_is_kept() -> None:
    stream = NervCodec().encode(film(8), Target(size=3000, effort=4))
    assert 0.7 * 3000 < sum(map(len, stream.sections)) <= 3000 and not stream.notices


def test_a_size_that_cannot_be_reached_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoder, "MORE_TRIALS", 1)
    stream = NervCodec().encode(film(3), Target(size=20, effort=1))
    assert any("cannot be reached" in notice for notice in stream.notices)


def test_the_trade_is_steered_to_a_psnr() -> None:
    aim = Aim(Target(psnr=30.0), 1000)
    before = aim.trade
    aim.steer(0.1, 0.01, 1.0, 33.0)
    assert aim.trade == before
    aim.steer(0.5, 0.01, 1.0, 33.0)
    dearer = aim.trade
    aim.steer(0.5, 0.01, 1.0, 20.0)
    assert dearer > before > 0 and aim.trade < dearer


def test_wrong_sections_are_errors(groups: tuple[Video, Stream]) -> None:
    video, stream = groups
    with pytest.raises(DamagedError, match="needs 3 sections"):
        NervCodec().decode(Stream(stream.settings, stream.sections[:2]), shape_of(video))
    generator = random.Random(0)
    for _ in range(60):
        section = bytearray(stream.sections[0])
        if generator.random() < 0.5:
            del section[generator.randrange(len(section)) :]
        for _ in range(3):
            if section:
                section[generator.randrange(len(section))] = generator.randrange(256)
        hostile = Stream(stream.settings, [bytes(section), *stream.sections[1:]])
        with suppress(StreamError):
            NervCodec().decode(hostile, shape_of(video))


def test_networks_that_are_too_large_are_refused_before_memory_is_taken(groups: tuple[Video, Stream]) -> None:
    video, stream = groups
    for width, height in ((31, 20_000), (0, 200_000)):
        shape = shape_of(video) | {"width": 20_000, "height": height}
        with pytest.raises(LimitError, match="too much memory"):
            NervCodec().decode_frames(Stream(stream.settings | {"width": width}, stream.sections), shape,
                                      Positions(range(1)))


@pytest.mark.parametrize("frames", [1, 2])
def test_a_network_begins_with_numbers_where_its_embedding_is_a_single_vector(frames: int) -> None:
    config = NervConfig(NERV, 0, frames, 16, 16)
    assert torch.isfinite(first_row(torch.rand(frames, 16, 16, 3) * 255, config)).all()


def test_encoding_leaves_no_trace_in_torch() -> None:
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    NervCodec().encode(film(2), Target(effort=1))
    assert torch.equal(torch.get_rng_state(), before) and torch.get_num_threads() == threads


class Interrupts:
    """A progress callback that interrupts the work once, at a step."""

    def __init__(self, step: int) -> None:
        self.step, self.calls = step, 0

    def __call__(self, share: float, what: str) -> None:
        self.calls += 1
        if self.calls == self.step:
            raise KeyboardInterrupt


@pytest.mark.parametrize("codec", [SmallGroupsCodec, ChainCodec, HnervCodec])
def test_an_interrupted_fit_goes_on_as_if_nothing_had_happened(
        codec: type[NervCodec], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    video, target = film(6), Target(quality=50, effort=3)
    expected = codec().encode(video, target)
    monkeypatch.setattr(encoder, "SAVE_EVERY", 0.0)
    kept = replace(target, checkpoint=tmp_path / "film.fit")
    for step in (20, 10):
        with pytest.raises(KeyboardInterrupt):
            codec().encode(video, kept, Interrupts(step))
    rest = Interrupts(0)
    assert codec().encode(video, kept, rest) == expected
    assert 0 < rest.calls < 0.8 * 6 * encoder.VISITS[2]
    again = Interrupts(0)
    assert codec().encode(video, kept, again) == expected and again.calls == 0
    with pytest.raises(InputError, match="another film, codec or aim"):
        codec().encode(film(5), kept)


def test_a_file_that_is_no_checkpoint_is_told(tmp_path: Path) -> None:
    path = tmp_path / "film.fit"
    path.write_text("not one")
    with pytest.raises(InputError, match="cannot be read as a checkpoint"):
        NervCodec().encode(film(2), Target(effort=1, checkpoint=path))
    with pytest.raises(InputError, match="cannot be written"):
        NervCodec().encode(film(2), Target(effort=1, checkpoint=tmp_path / "missing" / "film.fit"))


def test_an_interrupted_fit_can_end_with_what_there_is() -> None:
    video, stop = film(8), Interrupts(30)
    stream = SmallGroupsCodec().encode(video, Target(quality=60, effort=7, keep_best=True), stop)
    assert stop.calls < 80
    decoded = SmallGroupsCodec().decode(stream, shape_of(video)).samples
    assert all(psnr(decoded[part], video.samples[part]) > 9 for part in (slice(4), slice(4, 8)))
    with pytest.raises(KeyboardInterrupt):
        SmallGroupsCodec().encode(video, Target(effort=7), Interrupts(30))


def test_one_decoder_for_all_frames_learns_as_one_for_each() -> None:
    frames = torch.from_numpy(film(5).samples)
    config = NervConfig(NERV, 0, *frames.shape[:3])
    row, errors = first_row(frames, config), []
    for device in ("cpu", "cpu:0"):  # the second stands for any device that is not the CPU
        fit = Fit(frames, config, 12, row, device=device)
        errors.append([fit.step(0.01).error for _ in range(12)])
    assert errors[0] == pytest.approx(errors[1], rel=0.02)


def test_short_films_get_as_many_steps_as_longer_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoder, "LEAST_FRAMES", 10)
    calls = []
    for count in (2, 10, 12):
        watch = Interrupts(0)
        NervCodec().encode(film(count), Target(effort=1), watch)
        calls.append(watch.calls)
    assert calls == [15, 15, 18]


def test_encoding_twice_gives_the_same_file() -> None:
    streams = [NervCodec().encode(film(3), Target(effort=1)) for _ in range(2)]
    assert streams[0].sections == streams[1].sections


def test_a_file_is_written_and_read() -> None:
    video = film(4)
    data = files.encode(video, "nerv", Target(quality=50, effort=2)).data
    media = files.decode(data).media
    assert isinstance(media, Video) and media.rate == video.rate and media.samples.shape == video.samples.shape
