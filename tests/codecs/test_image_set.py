"""Reading and writing sets of images: idx files and folders."""

import gzip
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PillowImage

from fewbits.codecs.image_set import ImageSet
from fewbits.errors import InputError


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def idx(*lengths: int, data: bytes = b"", magic: bytes = b"\x00\x00\x08") -> bytes:
    return magic + bytes([len(lengths)]) + b"".join(n.to_bytes(4, "big") for n in lengths) + data


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", ["set-idx3-ubyte", "set.idx", "folder"])
def test_a_set_is_written_and_read_again(channels, name, tmp_path: Path):
    samples = noise(12, 5, 7, channels)
    ImageSet(samples).save(tmp_path / name)
    assert (tmp_path / name).is_dir() == (name == "folder")
    assert np.array_equal(ImageSet.open(tmp_path / name).samples, samples)


def test_an_idx_file_is_the_one_that_everybody_reads(tmp_path: Path):
    ImageSet(noise(2, 3, 4, 1)).save(tmp_path / "t10k-images-idx3-ubyte")
    assert (tmp_path / "t10k-images-idx3-ubyte").read_bytes() == idx(2, 3, 4, data=noise(2, 3, 4).tobytes())


def test_gzip_and_pipes_are_read(tmp_path: Path):
    path = tmp_path / "set-idx3-ubyte.gz"
    path.write_bytes(gzip.compress(idx(2, 3, 4, data=noise(2, 3, 4).tobytes())))
    assert np.array_equal(ImageSet.open(path).samples[..., 0], noise(2, 3, 4))
    assert np.array_equal(ImageSet.from_idx(io.BytesIO(path.read_bytes())).samples[..., 0], noise(2, 3, 4))


def test_a_folder_is_in_the_order_of_its_names(tmp_path: Path):
    for name, value in (("b.png", 1), ("a.png", 0), ("c.PNG", 2), ("notes.txt", 3)):
        if name == "notes.txt":
            (tmp_path / name).write_text("no picture")
        else:
            PillowImage.fromarray(np.full((2, 2), value, np.uint8)).save(tmp_path / name)
    assert ImageSet.open(tmp_path).samples[:, 0, 0, 0].tolist() == [0, 1, 2]


def test_mnist_is_read(shared_data: Path):
    images = ImageSet.open(shared_data / "image" / "lossless" / "mnist" / "t10k-images-idx3-ubyte.gz")
    assert images.samples.shape == (10000, 28, 28, 1)


@pytest.mark.parametrize(("content", "words"), [
    (b"", "neither"), (b"hello, hello", "neither"), (idx(1, 1, data=b"1"), "neither"),
    (idx(1, 1, 1, magic=b"\0\0\x0d", data=b"1"), "neither"), (idx(0, 5, 5), "shape"), (idx(1, 1, 1, 2), "shape"),
    (idx(2, 2, 2, data=bytes(7)), "shorter"), (idx(2, 2, 2, data=bytes(9)), "longer"),
    (idx(2**32 - 1, 2**32 - 1, 2**32 - 1), "limit"), (idx(1, 2)[:9], "neither"),
    (gzip.compress(idx(9, 2**16, 2**16), mtime=0), "limit"),
    (gzip.compress(idx(2, 2, 2, data=bytes(8)), mtime=0)[:-9], "cannot be read"),
    (b"\x1f\x8brubbish", "cannot be read"),
])
def test_what_is_no_set_is_refused_with_a_sentence(content, words, tmp_path: Path):
    path = tmp_path / "some.idx"
    path.write_bytes(content)
    with pytest.raises(InputError, match=words):
        ImageSet.open(path)


def test_folders_of_unlike_images_are_refused(tmp_path: Path):
    with pytest.raises(InputError, match="no pictures"):
        ImageSet.open(tmp_path)
    PillowImage.fromarray(noise(4, 4)).save(tmp_path / "a.png")
    for other, words in ((noise(4, 5), "alike"), (noise(4, 4, 3), "alike"), (noise(4, 4, 4), "opacity")):
        PillowImage.fromarray(other).save(tmp_path / "b.png")
        with pytest.raises(InputError, match=words):
            ImageSet.open(tmp_path)
    with pytest.raises(InputError, match="limit"):
        ImageSet.open(tmp_path, max_pixels=20)
    with pytest.raises(InputError, match="cannot be read"):
        ImageSet.open(tmp_path / "none.idx")


@pytest.mark.parametrize("samples", [np.zeros((2, 3, 3), np.uint8), np.zeros((2, 3, 3, 2), np.uint8),
                                     np.zeros((0, 3, 3, 1), np.uint8), np.zeros((2, 3, 3, 1))])
def test_arrays_that_are_no_set(samples):
    with pytest.raises(InputError):
        ImageSet(samples)
