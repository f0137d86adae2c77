"""The search for nearest entries: all versions choose the same entry, or one that is as near to within rounding."""

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from fewbits.kernels import vq

SHAPES = [(0, 3, 4), (1, 1, 1), (7, 8, 17), (300, 8, 64), (50, 5, 1000), (40, 48, 33)]


def random(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


def check_nearest(rows: Tensor, codebook: Tensor, found: Tensor) -> None:
    """What was found is as near as the nearest entry, by distances in float64."""
    assert found.dtype == torch.int64 and found.shape == (len(rows),)
    distances = torch.cdist(rows.cpu().double(), codebook.cpu().double()).square()
    least = distances.min(1).values if len(rows) else distances.sum(1)
    torch.testing.assert_close(distances.gather(1, found.cpu()[:, None])[:, 0], least, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("rows", "dimensions", "entries"), SHAPES)
@pytest.mark.parametrize("search", [vq.nearest, vq.nearest_reference])
def test_no_entry_is_nearer(search, rows, dimensions, entries):
    vectors, codebook = random(rows, dimensions), random(entries, dimensions)
    check_nearest(vectors, codebook, search(vectors, codebook))


def test_versions_agree_on_entries_that_are_far_apart():
    codebook = 10 * random(200, 8)
    truth = torch.arange(1000) % 200
    rows = codebook[truth] + 0.1 * random(1000, 8)
    assert torch.equal(vq.nearest(rows, codebook), truth)
    assert torch.equal(vq.nearest_reference(rows, codebook), truth)


def test_directions_are_found_whatever_the_length_of_rows():
    codebook, rows = F.normalize(random(100, 8), dim=-1), random(500, 8)
    found = vq.nearest(rows * torch.logspace(-3, 3, 500)[:, None], codebook)
    assert torch.equal(found, (F.normalize(rows, dim=-1) @ codebook.T).argmax(1))


@pytest.mark.parametrize("search", [vq.nearest, vq.nearest_reference])
def test_of_equal_entries_the_first_is_taken(search):
    codebook = torch.tensor([[4.0, 0], [1, 1], [0, 3], [1, 1]]).repeat(20, 1)
    assert search(torch.ones(3, 2), codebook).tolist() == [1, 1, 1]


def test_rows_that_are_not_numbers_get_some_entry():
    rows = torch.tensor([[np.nan, 0.0], [np.inf, 1.0], [-np.inf, np.inf], [3e38, 3e38]])
    assert vq.nearest(rows, random(5, 2)).lt(5).all()


@pytest.mark.parametrize(("rows", "codebook"), [((3, 2), (4, 3)), ((3,), (4, 3)), ((3, 2), (0, 2))])
def test_shapes_that_do_not_fit_are_refused(rows, codebook):
    with pytest.raises(ValueError, match="looked up"):
        vq.nearest(torch.zeros(rows), torch.zeros(codebook))


def test_other_types_are_refused():
    with pytest.raises(ValueError, match="float32"):
        vq.nearest(torch.zeros(1, 2, dtype=torch.bfloat16), torch.zeros(3, 2))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize(("rows", "dimensions", "entries"), SHAPES)
def test_gpus_find_the_same(rows, dimensions, entries):
    vectors, codebook = random(rows, dimensions), random(entries, dimensions)
    codebook[entries // 2] = codebook[0]
    check_nearest(vectors, codebook, vq.nearest(vectors.cuda(), codebook.cuda()))
