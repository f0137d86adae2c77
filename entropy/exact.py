"""Integer networks that give the same integers on every machine.

A layer holds integer weights and works on integer activations, but runs as an ordinary float convolution. That is
exact, and therefore independent of threads, summation order, memory layout and instruction set, as long as no
partial sum can leave the range in which the carrier type represents every integer: below 2**24 for float32, below
2**53 for float64. The bound is checked when a layer is built; a layer that could exceed it is refused.

After each sum the activation is scaled by a power of two, rounded half up and clamped, all exact too. Idea:
J. Balle, N. Johnston, D. Minnen, "Integer Networks for Data Compression with Latent-Variable Models" (ICLR 2019).
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

CARRIER_BITS = {torch.float32: 24, torch.float64: 53}
CARRIERS = tuple(CARRIER_BITS)

Kind = Literal["conv", "conv_transpose"]
KINDS: tuple[Kind, ...] = ("conv", "conv_transpose")


def accumulator_weight_sums(weight: Tensor, kind: Kind, stride: int) -> Tensor:
    """Largest sum of absolute weights that can meet in one output sample, per output channel.

    Args:
        weight: (out, in / groups, kh, kw), or (in, out, kh, kw) for a transposed convolution, of which only every
            `stride`-th tap meets the same output.
    """
    absolute = weight.abs()
    if kind == "conv":
        return absolute.sum([1, 2, 3])
    phases = [absolute[:, :, i::stride, j::stride].sum([0, 2, 3]) for i in range(stride) for j in range(stride)]
    return torch.stack(phases).amax(0)


@dataclass(frozen=True, eq=False)
class ExactLayer:
    """One integer layer: sum, scale by `2**-shift`, round half up, clamp to `low..high`.

    A 1x1 convolution is a linear layer at each position; `low == 0` makes the clamp a ReLU.

    Args:
        kind: "conv" or "conv_transpose" (one group).
        weight: int64, (out, in / groups, kh, kw) or (in, out, kh, kw).
        bias: (out,) int64, added to the sums.
        shift: (out,) int64, 0 to 24.
        input_low, input_high: (in,) int64, the range of each input channel; inputs outside it are the caller's error.
        carrier: `torch.float32` (sums below 2**24) or `torch.float64` (below 2**53).

    Raises:
        ValueError: if shapes disagree or a partial sum could leave the carrier's exact range.
    """

    kind: Kind
    weight: Tensor
    bias: Tensor
    shift: Tensor
    stride: int
    padding: int
    groups: int
    input_low: Tensor
    input_high: Tensor
    low: int
    high: int
    carrier: torch.dtype = torch.float32

    def __post_init__(self) -> None:
        if int(self.weight.abs().max()) >= 2**15:
            raise ValueError("weights must fit 16 bits")
        if self.kind == "conv_transpose" and self.groups != 1:
            raise ValueError("an exact transposed convolution has one group")
        outputs = self.weight.shape[1 if self.kind == "conv_transpose" else 0]
        inputs = self.weight.shape[0] if self.kind == "conv_transpose" else self.weight.shape[1] * self.groups
        if self.bias.shape != (outputs,) or self.shift.shape != (outputs,):
            raise ValueError(f"bias and shift need {outputs} entries")
        if self.input_low.shape != (inputs,) or self.input_high.shape != (inputs,):
            raise ValueError(f"the input range needs {inputs} entries")
        if self.shift.min() < 0 or self.shift.max() > 24:
            raise ValueError("shifts must be between 0 and 24")
        limit = 2 ** CARRIER_BITS[self.carrier]
        if int(self.largest_sum().max()) >= limit:
            raise ValueError(f"a partial sum could reach {int(self.largest_sum().max())}, and {self.carrier} is exact "
                             f"only below {limit}: use smaller weights, a narrower input range or float64")
        if max(abs(self.low), abs(self.high)) >= limit:
            raise ValueError("the output range is wider than the carrier's exact range")
        object.__setattr__(self, "_prepared", {})

    def to_arrays(self) -> dict[str, Tensor]:
        """The layer as compact integer tensors, for a weights file; `from_arrays` is the way back."""
        geometry = [KINDS.index(self.kind), self.stride, self.padding, self.groups, self.low, self.high,
                    CARRIERS.index(self.carrier)]
        return {
            "weight": self.weight.to(torch.int16), "bias": self.bias,
            "shift": self.shift.to(torch.uint8), "geometry": torch.tensor(geometry, dtype=torch.int32),
            "input_low": self.input_low.to(torch.int32), "input_high": self.input_high.to(torch.int32),
        }

    @classmethod
    def from_arrays(cls, arrays: dict[str, Tensor]) -> "ExactLayer":
        """Raises `ValueError` if the arrays are no layer, or one that could be inexact."""
        kind, stride, padding, groups, low, high, carrier = arrays["geometry"].tolist()
        weight, bias, shift, input_low, input_high = (
            arrays[name].to(torch.int64) for name in ("weight", "bias", "shift", "input_low", "input_high"))
        return cls(KINDS[kind], weight, bias, shift, stride, padding, groups, input_low, input_high, low, high,
                   CARRIERS[carrier])

    def _rounding(self) -> Tensor:
        """Half a unit of the scaled sum."""
        return torch.where(self.shift > 0, 2 ** (self.shift - 1).clamp(min=0), torch.zeros_like(self.shift))

    def largest_sum(self) -> Tensor:
        """Upper bound of any partial sum's magnitude, in any order of summation, per output channel. (out,) int64."""
        magnitude = torch.maximum(self.input_low.abs(), self.input_high.abs())
        if self.kind == "conv_transpose":
            reach = self.weight * magnitude[:, None, None, None]
        else:
            outputs = self.weight.shape[0]
            per_group = magnitude.view(self.groups, -1).repeat_interleave(outputs // self.groups, 0)
            reach = self.weight * per_group[:, :, None, None]
        return accumulator_weight_sums(reach, self.kind, self.stride) + self.bias.abs() + self._rounding()

    def _parameters(self, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
        """Weight, bias and scale as the carrier's floats, made once per device."""
        prepared: dict = self._prepared  # type: ignore[attr-defined]
        if device not in prepared:
            weight = self.weight.to(device, self.carrier)
            if weight.ndim == 4:
                weight = weight.contiguous(memory_format=torch.channels_last)
            bias = (self.bias + self._rounding()).to(device, self.carrier)
            prepared[device] = weight, bias, torch.exp2(-self.shift.to(device, self.carrier)).view(1, -1, 1, 1)
        return prepared[device]

    def __call__(self, x: Tensor) -> Tensor:
        """(N, in, H, W) integers in a float type -> (N, out, H', W') integers in the carrier type."""
        weight, bias, scale = self._parameters(x.device)
        x = x.to(self.carrier)
        if self.kind == "conv_transpose":
            sums = F.conv_transpose2d(x, weight, bias, self.stride, self.padding)
        else:
            sums = F.conv2d(x, weight, bias, self.stride, self.padding, groups=self.groups)
        return sums.mul_(scale).floor_().clamp_(self.low, self.high)
