"""The `circuit-tree` codec: what users rely on, with circuits made at random for shapes of all kinds."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import fewbits
from fewbits.codecs import files, registry
from fewbits.codecs.circuit import codec as codec_module
from fewbits.codecs.circuit.circuit import Circuit
from fewbits.codecs.circuit.tree import Tree
from fewbits.codecs.codec import Target
from fewbits.codecs.image_set import ImageSet
from fewbits.codecs.media import Image
from fewbits.entropy import container
from fewbits.errors import DamagedError, InputError, LimitError, StreamError, WeightsError

GOLDEN = Path(__file__).parents[1] / "golden"
GENERATOR = np.random.default_rng(0)


def write_circuit(path: Path, shape: tuple[int, int, int], seed: int = 0, bright: float = 0.95) -> None:
    """A circuit with random parameters; values have the probability `bright**value`, to begin with."""
    generator = np.random.default_rng(seed)
    nodes = int(np.prod(shape))
    depths = [0, *(int(generator.integers(1, 3)) for _ in range(nodes - 1))]
    if nodes > 1:
        depths[1] = 1
    Circuit.from_probabilities(
        shape, Tree(generator.permutation(nodes), np.array(depths)), generator.random(4),
        generator.random((nodes, 4, 4)), generator.random((nodes, 4, 3)),
        generator.random((3, 256)) * bright ** np.arange(256.0)).save(path, {})


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Installs circuits in place of those that are shipped."""
    folder = tmp_path / "weights"
    folder.mkdir()
    monkeypatch.setattr(codec_module, "WEIGHTS", folder)

    def one(shape: tuple[int, int, int], name: str = "some", **more: float) -> Path:
        write_circuit(folder / f"{name}.safetensors", shape, **more)
        return folder / f"{name}.safetensors"

    return one


def noise(*shape: int) -> np.ndarray:
    return GENERATOR.integers(0, 256, shape, dtype=np.uint8)


def dark(*shape: int) -> np.ndarray:
    """What the made circuits expect, more or less."""
    return np.minimum(GENERATOR.geometric(0.05, shape) - 1, 255).astype(np.uint8)


def encoded(samples: np.ndarray, **more: object) -> files.Encoded:
    return files.encode(ImageSet(samples), "circuit-tree", **more)


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 1, 3), (5, 7, 1), (4, 3, 3)])
@pytest.mark.parametrize("count", [1, 128, 129, 300])
def test_sets_come_back(install, shape, count):
    install(shape)
    samples = dark(count, *shape)
    samples[count // 2 :] = 0
    decoded = files.decode(encoded(samples).data)
    assert np.array_equal(decoded.media.samples, samples)
    assert decoded.sections == -(-count // 128)


def test_the_file_is_what_the_model_says(install):
    install((9, 9, 1))
    result = encoded(dark(500, 9, 9, 1))
    assert result.estimate_bits / 8 <= len(result.data) <= result.estimate_bits / 8 * 1.0001 + 4 * 18 + 30


def test_the_circuit_with_the_fewest_bits_is_chosen_and_found_again(install):
    paths = {name: install((6, 6, 1), name, bright=bright) for name, bright in (("dark", 0.95), ("light", 1.05))}
    for name, samples in (("dark", dark(20, 6, 6, 1)), ("light", 255 - dark(20, 6, 6, 1))):
        data = encoded(samples).data
        assert files.info(data)["weights"] == codec_module.identity_of(paths[name]).hex()
        assert np.array_equal(files.decode(data).media.samples, samples)


def test_images_without_a_circuit_name_the_command_that_trains_one(install):
    with pytest.raises(InputError, match=r"there are: none.*fewbits train circuit-tree"):
        encoded(dark(3, 4, 4, 1))
    install((6, 6, 1))
    with pytest.raises(InputError, match=r"4 x 4 x 1 .*6 x 6 x 1.*fewbits train circuit-tree"):
        encoded(dark(3, 4, 4, 1))


def test_a_file_whose_circuit_is_gone_says_so(install):
    path = install((6, 6, 1))
    data = encoded(dark(3, 6, 6, 1)).data
    install((6, 6, 1), seed=1)
    with pytest.raises(WeightsError, match="not installed"):
        files.decode(data)
    path.unlink()
    with pytest.raises(WeightsError, match="not installed"):
        files.decode(data)


def test_kinds_of_media_are_not_mixed_up(install):
    install((6, 6, 1))
    with pytest.raises(InputError, match="a set of images, not for one picture"):
        files.encode(Image(dark(6, 6, 1)), "circuit-tree")
    with pytest.raises(InputError, match="one picture, not for a set of images"):
        files.encode(ImageSet(dark(2, 6, 6, 1)), "hyperprior")
    with pytest.raises(InputError, match="set of images"):
        assert files.decode(encoded(dark(2, 6, 6, 1)).data).image


def test_aims_are_refused(install):
    install((6, 6, 1))
    with pytest.raises(InputError, match="lossless"):
        encoded(dark(2, 6, 6, 1), target=Target(quality=10))


def test_the_public_calls_take_arrays_and_paths(install, tmp_path: Path):
    install((6, 6, 1))
    samples = dark(5, 6, 6, 1)
    data = fewbits.encode(samples[..., 0], "circuit-tree")
    ImageSet(samples).save(tmp_path / "set.idx")
    assert fewbits.encode(tmp_path / "set.idx", "circuit-tree") == data
    assert np.array_equal(fewbits.decode(data).samples, samples)
    facts = fewbits.info(data)
    assert (facts["kind"], facts["count"], facts["lossless"]) == ("images", 5, True)
    assert facts["bits_per_pixel"] == pytest.approx(8 * len(data) / samples.size)


def test_one_image_needs_its_own_block_alone(install):
    install((4, 4, 1))
    samples = dark(300, 4, 4, 1)
    data = bytearray(encoded(samples).data)
    offset = files.info(bytes(data))["sections"][0]["offset"]
    data[offset + 40] ^= 1
    assert np.array_equal(files.decode_one(bytes(data), 299).pixels, samples[299])
    with pytest.raises(DamagedError, match="image 5"):
        files.decode_one(bytes(data), 5)
    for number in (300, -1):
        with pytest.raises(InputError, match="300, counted from 0"):
            files.decode_one(bytes(data), number)


def test_a_damaged_block_costs_itself(install):
    install((4, 4, 1))
    samples = dark(300, 4, 4, 1)
    data = bytearray(encoded(samples).data)
    data[files.info(bytes(data))["sections"][1]["offset"] + 40] ^= 1
    with pytest.raises(DamagedError, match="1 of 3 sections"):
        files.decode(bytes(data))
    decoded = files.decode(bytes(data), allow_damage=True)
    assert decoded.damaged == [1]
    assert np.array_equal(decoded.media.samples[:128], samples[:128])
    assert not decoded.media.samples[128:256].any()
    assert np.array_equal(decoded.media.samples[256:], samples[256:])


def test_images_that_no_circuit_suits_are_stored(install):
    install((8, 8, 3))
    samples = noise(200, 8, 8, 3)
    result = encoded(samples)
    assert samples.size < len(result.data) <= samples.size + 64
    assert result.estimate_bits == 8 * samples.size
    assert np.array_equal(files.decode(result.data).media.samples, samples)
    assert np.array_equal(files.decode_one(result.data, 150).pixels, samples[150])
    with pytest.raises(DamagedError, match="checksum"):
        files.decode(rewritten(result.data, lambda s: s[:-1] + bytes([s[-1] ^ 1])))


def test_golden_files_decode_to_the_same_images_for_ever():
    golden = list(GOLDEN.glob("circuit-tree-*.fwb"))
    assert golden
    for path in golden:
        data, images = path.read_bytes(), ImageSet.open(path.with_suffix(".idx"))
        assert np.array_equal(files.decode(data).media.samples, images.samples)
        assert files.encode(images, "circuit-tree").data == data


@pytest.mark.slow
@pytest.mark.parametrize(("name", "bar"), [("mnist", 1.2), ("fashion-mnist", 3.32)])
def test_shipped_circuits_code_test_images_in_few_bits(name: str, bar: float, shared_data: Path):
    images = ImageSet.open(shared_data / "image" / "lossless" / name / "t10k-images-idx3-ubyte.gz")
    data = files.encode(images, "circuit-tree").data
    assert 8 * len(data) / images.pixel_count <= bar


def rewritten(data: bytes, change: Callable[[bytes], bytes] = bytes, **fields: int) -> bytes:
    """The file with its first section changed, or with other media fields, and all checksums right."""
    box = container.read(data, registry.settings_of_number)
    sections = [box.section(number) for number in range(len(box.sections))]
    header = container.Header(box.header.codec, box.header.kind, box.header.weights, {**box.header.media, **fields}, {})
    return container.write(header, (), [change(sections[0]), *sections[1:]])


@pytest.mark.parametrize("change", [
    lambda s: b"", lambda s: s[:3], lambda s: s[:4], lambda s: s[:-1], lambda s: s[:-4], lambda s: s + bytes(4),
    lambda s: s + b"\1\0\0\0", lambda s: bytes(4) + s[4:], lambda s: s[:20] + bytes([s[20] ^ 1]) + s[21:],
    lambda s: s[:4] + bytes(len(s) - 4), lambda s: s[:4] + b"\xff" * (len(s) - 4),
])
def test_wrong_sections_with_right_checksums_are_damage(install, change):
    install((4, 4, 1))
    with pytest.raises(DamagedError, match="is damaged"):
        files.decode(rewritten(encoded(dark(20, 4, 4, 1)).data, change))


@pytest.mark.parametrize(("fields", "error"), [
    ({"count": 19}, DamagedError), ({"count": 129}, DamagedError), ({"count": 2**31 - 1}, LimitError),
    ({"width": 2**31 - 1}, LimitError), ({"width": 2, "height": 8}, DamagedError), ({"channels": 2}, DamagedError),
    ({"channels": 3}, DamagedError), ({"count": 12_000_000}, DamagedError),
])
def test_hostile_headers_are_refused(install, fields, error):
    install((4, 4, 1))
    with pytest.raises(error):
        files.decode(rewritten(encoded(dark(20, 4, 4, 1)).data, **fields))


def test_files_cut_short_anywhere_are_refused(install):
    install((4, 4, 1))
    data = encoded(dark(20, 4, 4, 1)).data
    for length in range(len(data)):
        with pytest.raises(StreamError):
            files.decode(data[:length])


def test_a_coder_that_is_wrong_is_noticed_before_a_file_is_kept(install, monkeypatch: pytest.MonkeyPatch):
    install((4, 4, 1))
    monkeypatch.setattr(files, "decode", lambda *_, **__: files.Decoded(ImageSet(dark(20, 4, 4, 1)), [], 1))
    with pytest.raises(fewbits.errors.FewbitsError, match="does not decode"):
        encoded(dark(20, 4, 4, 1))
    assert encoded(dark(20, 4, 4, 1), target=Target(verify=False)).data
