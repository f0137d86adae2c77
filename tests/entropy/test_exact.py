"""Exact integer layers: the same integers whatever runs them, and a refusal where that could not be promised."""

import pytest
import torch
from torch.nn import functional as F

from fewbits.entropy.exact import ExactLayer


def random_layer(kind: str, seed: int = 0, carrier: torch.dtype = torch.float32, weight_limit: int = 60) -> ExactLayer:
    generator = torch.Generator().manual_seed(seed)

    def integers(low: int, high: int, *shape: int) -> torch.Tensor:
        return torch.randint(low, high, shape, generator=generator)

    if kind == "conv_transpose":
        weight, geometry = integers(-weight_limit, weight_limit + 1, 24, 32, 4, 4), (2, 1, 1)
    elif kind == "depthwise":
        weight, geometry = integers(-weight_limit, weight_limit + 1, 48, 1, 3, 3), (2, 0, 24)
    else:
        size = 1 if kind == "linear" else 3
        weight, geometry = integers(-weight_limit, weight_limit + 1, 32, 24, size, size), (1, size // 2, 1)
    outputs = weight.shape[1 if kind == "conv_transpose" else 0]
    stride, padding, groups = geometry
    return ExactLayer(
        kind="conv_transpose" if kind == "conv_transpose" else "conv", weight=weight,
        bias=integers(-5000, 5000, outputs), shift=integers(0, 12, outputs), stride=stride, padding=padding,
        groups=groups, input_low=torch.full((24,), -255), input_high=torch.full((24,), 255), low=0, high=1023,
        carrier=carrier,
    )


def reference(layer: ExactLayer, x: torch.Tensor) -> torch.Tensor:
    """The layer's definition in 64-bit integers."""
    if layer.kind == "conv_transpose":
        sums = F.conv_transpose2d(x, layer.weight, None, layer.stride, layer.padding)
    else:
        sums = F.conv2d(x, layer.weight, None, layer.stride, layer.padding, groups=layer.groups)
    sums = sums + layer.bias.view(1, -1, 1, 1)
    shift = layer.shift.view(1, -1, 1, 1)
    half = torch.where(shift > 0, 2 ** (shift - 1).clamp(min=0), torch.zeros_like(shift))
    return ((sums + half) >> shift).clamp(layer.low, layer.high)


def random_input(seed: int = 1) -> torch.Tensor:
    return torch.randint(-255, 256, (2, 24, 17, 21), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("kind", ["conv", "conv_transpose", "depthwise", "linear"])
@pytest.mark.parametrize("carrier", [torch.float32, torch.float64])
def test_layer_computes_its_integer_definition(kind, carrier):
    layer, x = random_layer(kind, carrier=carrier), random_input()
    y = layer(x.to(carrier))
    assert torch.equal(y.to(torch.int64), reference(layer, x))
    assert 0 < y.float().mean() < 1023  # neither everything clamped low nor high


@pytest.mark.parametrize("kind", ["conv", "conv_transpose", "depthwise", "linear"])
def test_same_integers_for_threads_libraries_and_memory_layouts(kind):
    layer, x = random_layer(kind, seed=3), random_input().float()
    expected = layer(x)
    threads = torch.get_num_threads()
    try:
        for count in (1, 2, 4):
            torch.set_num_threads(count)
            assert torch.equal(layer(x), expected)
    finally:
        torch.set_num_threads(threads)
    with torch.backends.mkldnn.flags(enabled=False):
        assert torch.equal(layer(x), expected)
    assert torch.equal(layer(x.contiguous(memory_format=torch.channels_last)), expected)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("kind", ["conv", "conv_transpose", "depthwise", "linear"])
def test_same_integers_on_a_gpu(kind):
    layer, x = random_layer(kind, seed=3), random_input().float()
    assert torch.equal(layer(x.cuda()).cpu(), layer(x))


@pytest.mark.parametrize("kind", ["conv", "conv_transpose", "depthwise", "linear"])
def test_bound_is_reached_by_the_worst_input(kind):
    """The checked bound is that of the worst input, not a loose one: some sample comes within 2 % of it."""
    layer = random_layer(kind, seed=5)
    if kind == "conv_transpose":
        x = torch.zeros(1, 24, 5, 5, dtype=torch.int64)
        best = torch.zeros(32)
        for output in range(32):
            for a in range(2):
                for b in range(2):
                    for i, u in enumerate(range(a, 4, 2)):
                        for j, v in enumerate(range(b, 4, 2)):
                            x[0, :, 2 - i, 2 - j] = 255 * layer.weight[:, output, u, v].sign()
                    sums = F.conv_transpose2d(x, layer.weight, None, 2, 1)[0, output].abs().max()
                    best[output] = max(best[output], float(sums))
        worst = best + layer.bias.abs()
    else:
        worst = 255 * layer.weight.abs().sum([1, 2, 3]) + layer.bias.abs()
    half = torch.where(layer.shift > 0, 2 ** (layer.shift - 1).clamp(min=0), torch.zeros_like(layer.shift))
    bound = layer.largest_sum()
    assert (bound >= worst).all()
    assert (bound <= (worst + half) * 1.02 + 1).all()


def test_layer_that_could_be_inexact_is_refused():
    with pytest.raises(ValueError, match="exact only below 16777216"):
        random_layer("conv", weight_limit=2000)
    random_layer("conv", weight_limit=2000, carrier=torch.float64)


def test_refusal_is_needed():
    """Beyond the bound, float32 really does give other integers: the check guards against something that happens."""
    weight = torch.full((1, 24, 3, 3), 32001)
    x = random_input(7)
    exact = F.conv2d(x, weight, None, 1, 1)
    carried = F.conv2d(x.float(), weight.float(), None, 1, 1).to(torch.int64)
    assert not torch.equal(exact, carried)


@pytest.mark.parametrize("change", [
    {"shift": torch.full((32,), 25)}, {"shift": torch.full((32,), -1)}, {"bias": torch.zeros(3, dtype=torch.int64)},
    {"input_low": torch.zeros(5, dtype=torch.int64)}, {"high": 2**24}, {"weight": torch.full((32, 24, 1, 1), 2**15)},
])
def test_wrong_parameters_are_refused(change):
    layer = random_layer("linear")
    fields = {name: getattr(layer, name) for name in layer.__dataclass_fields__}
    with pytest.raises(ValueError):
        ExactLayer(**fields | change)


@pytest.mark.parametrize("kind", ["conv", "conv_transpose", "depthwise", "linear"])
def test_arrays_hold_the_whole_layer(kind):
    layer, x = random_layer(kind), random_input().float()
    assert torch.equal(ExactLayer.from_arrays(layer.to_arrays())(x), layer(x))
