"""A narrower `hyperprior` model out of a trained one: the hidden units that matter most stay, and take over from the
others what can be had linearly.

What a layer reads is measured on pictures. An input matters as much as the power that it brings to the outputs; those
that go are replaced by the best linear guess from those that stay, which changes the layer's weights and bias alone
(as in optimal brain surgery: B. Hassibi, D. G. Stork, NIPS 1992).
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fewbits.codecs.image.hyperprior.entropy_model import PassNetwork
from fewbits.codecs.image.hyperprior.model import HyperpriorModel
from fewbits.codecs.image.hyperprior.transforms import ResidualBlock

RIDGE = 1e-4  # of the mean power, so that units in step do no harm


@torch.no_grad()
def narrow(wide: HyperpriorModel, model: HyperpriorModel, images: Tensor, quality: Tensor) -> None:
    """Gives a model what a wider one has learned: its first blocks, and the passes that both have.

    Args:
        images: (N, 3, H, W) in [0, 1], sides multiples of 64, to measure on.
        quality: (N,) in [0, 100].
    """
    kept = model.state_dict()
    model.load_state_dict(kept | {name: value for name, value in wide.state_dict().items()
                                  if name in kept and value.shape == kept[name].shape
                                  and not name.startswith("entropy_model.passes.")
                                  and not name.endswith((".fraction", ".peak"))})
    moments = measured(wide, images, quality)
    for part in ("analysis", "synthesis"):
        for source, target in zip(getattr(wide, part).blocks, getattr(model, part).blocks, strict=False):
            _narrow_block(source, target, moments)
    for target in model.entropy_model.passes:
        for source in (network for network in wide.entropy_model.passes if network.step == target.step):
            _narrow_pass(source, target, moments)


@dataclass
class Moments:
    """Mean (C,) and mean products (C, C) of what a layer reads."""

    mean: Tensor
    products: Tensor

    def matter(self, weight: Tensor) -> Tensor:
        """The power that each of the first inputs brings to the outputs of its weights (outputs, inputs)."""
        power = (self.products.diagonal() - self.mean.square()).clamp(min=0)
        return power[: weight.shape[1]] * weight.square().sum(0)

    def without_others(self, weight: Tensor, bias: Tensor, kept: Tensor) -> tuple[Tensor, Tensor]:
        """Weight (outputs, kept) and bias (outputs,) that come nearest to those of all inputs."""
        if len(kept) == len(self.mean):
            return weight, bias
        covariance = self.products - torch.outer(self.mean, self.mean)
        inner = covariance[kept][:, kept]
        ridge = (RIDGE * inner.diagonal().mean()).clamp(min=torch.finfo(inner.dtype).tiny)  # if no unit ever answers
        inner = inner + ridge * torch.eye(len(kept), dtype=inner.dtype)
        narrow = torch.linalg.solve(inner, covariance[kept] @ weight.double().T).T
        return narrow.float(), (bias + weight.double() @ self.mean - narrow @ self.mean[kept]).float()


def measured(model: HyperpriorModel, images: Tensor, quality: Tensor) -> dict[nn.Module, Moments]:
    """What the layers that read hidden units read, one picture after the other."""
    layers: list[nn.Module] = [block.project for part in (model.analysis, model.synthesis) for block in part.blocks]
    for network in model.entropy_model.passes:
        layers += [layer.operation for layer in (*network.hidden, network.mean)]
    rows: dict[nn.Module, list[Moments]] = {layer: [] for layer in layers}

    def note(layer: nn.Module, inputs: tuple[Tensor]) -> None:
        x = inputs[0] if isinstance(layer, nn.Linear) else inputs[0].permute(0, 2, 3, 1)
        flat = x.reshape(-1, x.shape[-1]).double()
        rows[layer].append(Moments(flat.mean(0), flat.T @ flat / len(flat)))

    handles = [layer.register_forward_pre_hook(note) for layer in layers]
    model.eval()
    for image, own in zip(images, quality, strict=True):
        model(image[None].contiguous(memory_format=torch.channels_last), own[None])
    for handle in handles:
        handle.remove()
    return {layer: Moments(torch.stack([r.mean for r in own]).mean(0), torch.stack([r.products for r in own]).mean(0))
            for layer, own in rows.items()}


def _narrow_block(wide: ResidualBlock, block: ResidualBlock, moments: dict[nn.Module, Moments]) -> None:
    own = moments[wide.project]
    units = _largest(own.matter(wide.project.weight), block.expand.out_features)
    block.expand.weight.copy_(wide.expand.weight[units])
    block.expand.bias.copy_(wide.expand.bias[units])
    block.modulation.scale.copy_(wide.modulation.scale[:, units])
    block.modulation.offset.copy_(wide.modulation.offset[:, units])
    _take(block.project, *own.without_others(wide.project.weight, wide.project.bias, units))


def _narrow_pass(wide: PassNetwork, network: PassNetwork, moments: dict[nn.Module, Moments]) -> None:
    spatial, first, second, mean, scale = (
        layer.operation for layer in (wide.spatial, *wide.hidden, wide.mean, wide.scale))
    context = _context(wide, network, moments[first])
    early = _largest(moments[second].matter(_matrix(second)), network.hidden[0].operation.out_channels)
    last = torch.cat([_matrix(mean), _matrix(scale)])
    hidden = second.out_channels
    late = _largest(moments[mean].matter(last[:, :hidden]), network.hidden[1].operation.out_channels)
    joined = torch.cat([late, hidden + context]) if wide.skip else late
    outputs = context[: network.spatial.operation.out_channels]
    _take(network.spatial.operation, spatial.weight[outputs], spatial.bias[outputs])
    for target, source, inputs, rows in ((network.hidden[0], first, context, early),
                                         (network.hidden[1], second, early, late),
                                         (network.mean, mean, joined, slice(None)),
                                         (network.scale, scale, joined, slice(None))):
        own = moments[mean if source is scale else source]
        weight, bias = own.without_others(_matrix(source), source.bias, inputs)
        _take(target.operation, weight[rows], bias[rows])


def _context(wide: PassNetwork, network: PassNetwork, moments: Moments) -> Tensor:
    """What stays of the context: of each channel's neighbourhood the features that matter most, and all the rest."""
    features, known = wide.spatial.operation.out_channels, wide.known
    matter = moments.matter(_matrix(wide.hidden[0].operation))[:features].view(known, -1)
    best = matter.topk(network.spatial.operation.out_channels // known, 1).indices.sort(1).values
    spatial = (best + torch.arange(known)[:, None] * matter.shape[1]).view(-1)
    return torch.cat([spatial, torch.arange(features, len(moments.mean))])


def _largest(matter: Tensor, count: int) -> Tensor:
    """Numbers of the units that matter most, in their order."""
    return matter.topk(count).indices.sort().values


def _matrix(layer: nn.Conv2d) -> Tensor:
    return layer.weight[:, :, 0, 0]


def _take(layer: nn.Conv2d | nn.Linear, weight: Tensor, bias: Tensor) -> None:
    layer.weight.copy_(weight.view_as(layer.weight))
    layer.bias.copy_(bias)
