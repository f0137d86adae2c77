"""From a float layer to an exact integer layer: calibration, fake quantisation for fine-tuning, conversion.

A `QuantisableLayer` is trained in three stages: as an ordinary float layer; then, after `calibrate`, in simulation
(weights and activations rounded as the integer layer will round them, with straight-through gradients); at last
`to_exact` yields the integer layer that encoder and decoder run. Follows J. Balle, N. Johnston, D. Minnen,
"Integer Networks for Data Compression with Latent-Variable Models" (ICLR 2019), with power-of-two steps throughout.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fewbits.entropy.exact import CARRIER_BITS, ExactLayer, accumulator_weight_sums

WEIGHT_BITS = 14  # more brings nothing: activations carry fewer
MAX_FRACTION = 10  # of calibrated activations: those that are always tiny need no finer steps


@dataclass(frozen=True)
class FixedPoint:
    """Fixed-point format of an activation tensor, one entry per channel: real value = integer * 2**-fraction."""

    fraction: Tensor  # (C,) int64
    low: Tensor  # (C,) int64, smallest integer
    high: Tensor  # (C,) int64, largest integer

    @classmethod
    def uniform(cls, channels: int, fraction: int, low: int, high: int) -> "FixedPoint":
        return cls(*(torch.full((channels,), v, dtype=torch.int64) for v in (fraction, low, high)))

    @property
    def magnitude(self) -> Tensor:
        return torch.maximum(self.low.abs(), self.high.abs())

    def joined(self, *others: "FixedPoint") -> "FixedPoint":
        """The format of channels joined in this order."""
        parts = (self, *others)
        return FixedPoint(*(torch.cat([getattr(p, f) for p in parts]) for f in ("fraction", "low", "high")))

    def rounded(self, x: Tensor) -> Tensor:
        """x (N, C, ...) rounded half up and clamped to this format, with straight-through gradients."""
        shape = (1, -1) + (1,) * (x.ndim - 2)
        scale = torch.exp2(self.fraction.to(x)).view(shape)
        integers = torch.floor(x.detach() * scale + 0.5)
        low, high = self.low.to(x).view(shape), self.high.to(x).view(shape)
        value = torch.minimum(torch.maximum(integers, low), high) / scale
        # a clamped activation passes no gradient, a rounded one does
        inside = (integers >= low) & (integers <= high)
        return value + torch.where(inside, x - x.detach(), torch.zeros_like(x))


class QuantisableLayer(nn.Module):
    """A convolution or transposed convolution with optional ReLU that can become an `ExactLayer`.

    Args:
        operation: `nn.Conv2d` or `nn.ConvTranspose2d`, zero padding, dilation 1.
        low, high: range of the output integers; `low == 0` makes it a ReLU layer.
        fraction: fraction bits of the output, or None to have `calibrate` choose them.
        carrier: float type of the integer layer's sums; float64 takes twice the time and leaves room for fine
            activations and fine weights at once.
    """

    def __init__(self, operation: nn.Conv2d | nn.ConvTranspose2d, low: int, high: int,
                 fraction: int | None = None, carrier: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.operation, self.low, self.high, self.carrier = operation, low, high, carrier
        self.register_buffer("fraction", torch.tensor(-1 if fraction is None else fraction))
        self.calibrated = fraction is not None
        self.register_buffer("peak", torch.zeros(()))

    @property
    def output_format(self) -> FixedPoint:
        return FixedPoint.uniform(self.operation.out_channels, int(self.fraction), self.low, self.high)

    def forward(self, x: Tensor, input_format: FixedPoint | None = None) -> Tensor:
        """Float layer, or its simulated integer twin where `input_format` is given."""
        if input_format is None:
            y = self.operation(x)
            if self.training:
                self.peak.mul_(0.99).clamp_(min=y.detach().float().abs().amax())
            return torch.relu(y) if self.low == 0 else y
        weight, bias, scale = self._integer_parameters(input_format)
        float_weight, float_bias = self.operation.weight, self.operation.bias
        per_weight = self._per_weight(input_format.fraction)
        dequantised = weight / self._per_output(scale) * torch.exp2(per_weight)
        simulated = torch.func.functional_call(self.operation, {
            "weight": float_weight + (dequantised - float_weight).detach(),
            "bias": float_bias + (bias / scale - float_bias).detach(),
        }, (x,))
        return self.output_format.rounded(simulated)

    def calibrate(self) -> None:
        """Chooses the fraction bits so that the range seen in training fits the output integers."""
        if not self.calibrated:
            limit = max(abs(self.low), abs(self.high))
            bits = int(torch.floor(torch.log2(limit / self.peak.clamp(min=1e-6))))
            self.fraction.fill_(min(bits, MAX_FRACTION))

    def to_exact(self, input_format: FixedPoint) -> ExactLayer:
        """The integer layer. Raises `ValueError` if its partial sums could leave the exact range."""
        weight, bias, scale = self._integer_parameters(input_format)
        shift = torch.log2(scale).to(torch.int64) - self.fraction
        op = self.operation
        return ExactLayer(
            kind="conv_transpose" if isinstance(op, nn.ConvTranspose2d) else "conv",
            weight=weight.to(torch.int64), bias=bias.to(torch.int64), shift=shift,
            stride=op.stride[0], padding=op.padding[0], groups=op.groups,
            input_low=input_format.low, input_high=input_format.high, low=self.low, high=self.high,
            carrier=self.carrier,
        )

    @torch.no_grad()
    def take_exact(self, layer: ExactLayer, input_format: FixedPoint) -> None:
        """Inverse of `to_exact`: parameters whose integer layer is this one.

        How many fraction bits the output had is not in the integers and makes no difference to them. Where it is free,
        it is chosen so that the weights have about the size that training begins with.

        Raises:
            ValueError: if the layer is of another shape.
        """
        op = self.operation
        if layer.weight.shape != op.weight.shape:
            raise ValueError("it holds another model")
        weight = layer.weight.to(op.weight) * torch.exp2(self._per_weight(input_format.fraction))
        weight = weight / self._per_output(torch.exp2(layer.shift.to(weight)))
        if not self.calibrated:
            fan_in = op.weight[0].numel() if self._kind == "conv" else op.weight[:, 0].numel() / op.stride[0] ** 2
            bits = torch.round(torch.log2(weight.square().mean().sqrt() * fan_in**0.5))
            self.fraction.copy_(bits.clamp(0, MAX_FRACTION))
        unit = torch.exp2(self.fraction.to(weight))
        op.weight.copy_(weight / unit)
        op.bias.copy_(layer.bias / torch.exp2(layer.shift.to(weight)) / unit)

    def _per_output(self, v: Tensor) -> Tensor:
        """(out,) -> broadcasts against the weight."""
        return v.view(1, -1, 1, 1) if isinstance(self.operation, nn.ConvTranspose2d) else v.view(-1, 1, 1, 1)

    def _per_weight(self, v: Tensor) -> Tensor:
        """(in,) -> broadcasts against the weight."""
        op = self.operation
        if isinstance(op, nn.ConvTranspose2d):
            return v.to(op.weight).view(-1, 1, 1, 1)
        inputs = v.to(op.weight).view(op.groups, -1)  # (groups, in / groups)
        return inputs.repeat_interleave(op.out_channels // op.groups, 0)[:, :, None, None]

    @torch.no_grad()
    def _integer_parameters(self, input_format: FixedPoint) -> tuple[Tensor, Tensor, Tensor]:
        """Integer weight, integer bias, and the power of two (per output channel) that real sums are scaled by."""
        op = self.operation
        weight = op.weight / torch.exp2(self._per_weight(input_format.fraction))  # acts on input integers
        sums = accumulator_weight_sums(weight * self._per_weight(input_format.magnitude), self._kind, op.stride[0])
        sums = sums + op.bias.abs()
        room = 2.0 ** (CARRIER_BITS[self.carrier] - 1)  # the other half is for rounding
        bits = torch.floor(torch.log2(room / sums.clamp(min=1e-9)))
        largest = weight.abs().amax([0, 2, 3] if self._kind == "conv_transpose" else [1, 2, 3])
        bits = torch.minimum(bits, torch.floor(torch.log2((2.0**WEIGHT_BITS - 1) / largest.clamp(min=1e-9))))
        bits = torch.maximum(bits.clamp(max=self.fraction + 20.0), self.fraction.to(bits))
        scale = torch.exp2(bits)
        return torch.round(weight * self._per_output(scale)), torch.round(op.bias * scale), scale

    @property
    def _kind(self) -> str:
        return "conv_transpose" if isinstance(self.operation, nn.ConvTranspose2d) else "conv"
