"""Training of hidden Chow-Liu tree circuits by expectation-maximisation, on batches of images, on a CPU or a GPU.

The E-step goes up the tree and down again, level by level, all nodes of a level in one batched matrix product. Messages
are probabilities, not logarithms, brought to a largest one of 1 at each node. What it counts, for every parameter, is
how often it was used: the expected number, given the images. The M-step makes counts into probabilities; in between,
counts of batches may be averaged (O. Cappé, E. Moulines, "On-line expectation-maximization algorithm for latent data
models", 2009), which learns much faster than one step for a pass over all images.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from fewbits.codecs.circuit.circuit import Circuit
from fewbits.codecs.circuit.tree import Tree
from fewbits.kernels.tree_circuit import VALUES

TINY = 1e-30  # probabilities below it count as that, so that nothing is divided by 0
FLOOR = 1e-9  # the least probability that smoothing leaves, beside those of its row


@dataclass(frozen=True)
class Parameters:
    """Probabilities of a circuit in rows over their last axis, or counts for them; float32, nodes as in `Expectation`.

    Attributes:
        root: (M,).
        transitions: (D, M, M), from the parent's state (rows) to the node's; those of the root are not used.
        leaves: (D, M, K), from states to components.
        components: (K, 256).
    """

    root: Tensor
    transitions: Tensor
    leaves: Tensor
    components: Tensor

    @property
    def tensors(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        return self.root, self.transitions, self.leaves, self.components

    @classmethod
    def random(cls, images: Tensor, states: int, components: int, seed: int) -> "Parameters":
        """Where training begins: random rows, and components around values that divide all samples alike.

        Args:
            images: (N, D) uint8; some of them say which values occur.
        """
        generator = torch.Generator().manual_seed(seed)

        def rows(*shape: int) -> Tensor:
            random = torch.rand(shape, generator=generator) ** 4 + 0.01
            return (random / random.sum(-1, keepdim=True)).to(images.device)

        share = np.bincount(images[:1000].cpu().numpy().reshape(-1), minlength=VALUES) + 1.0
        share = np.sqrt(share / share.sum())
        middles = (np.cumsum(share) - share / 2) / share.sum()
        centres = np.interp((np.arange(components) + 0.5) / components, middles, np.arange(VALUES))
        around = share * np.exp(-np.abs(np.arange(VALUES) - centres[:, None]) / 8) + 1e-5
        around /= around.sum(1, keepdims=True)
        nodes = images.shape[1]
        return cls(rows(states), rows(nodes, states, states), rows(nodes, states, components),
                   torch.from_numpy(around).float().to(images.device))

    @classmethod
    def zeros_like(cls, other: "Parameters") -> "Parameters":
        """No counts yet."""
        return cls(*(torch.zeros_like(tensor) for tensor in other.tensors))

    def probabilities(self, pseudocount: float) -> "Parameters":
        """From counts. Each row gets `pseudocount` more, spread as the rows of its node are on average."""
        return Parameters(*(_smoothed(tensor, pseudocount) for tensor in self.tensors))

    def average_with(self, batch: "Parameters", factor: float, share: float) -> None:
        """Moves counts in place, by `share` of the way, to those of a batch times `factor`."""
        for mine, other in zip(self.tensors, batch.tensors, strict=True):
            mine.lerp_(other * factor, share)


def _smoothed(counts: Tensor, pseudocount: float) -> Tensor:
    if counts.ndim == 3:
        average = counts.sum(1, keepdim=True)
        average = average / average.sum(2, keepdim=True).clamp_min(TINY)
    else:
        average = torch.full_like(counts, 1 / counts.shape[-1])
    smooth = counts + pseudocount * average + FLOOR * (1 + counts.sum(-1, keepdim=True))
    return smooth / smooth.sum(-1, keepdim=True)


@dataclass(frozen=True)
class _Level:
    """Nodes of one depth: places `begin` to `end`, those with most children first.

    Attributes:
        parents: (nodes,) int64, places of their parents; empty for the root.
        children: the first children of all nodes that have one, (nodes,) int64, then the second ones, and so on.
    """

    begin: int
    end: int
    parents: Tensor
    children: tuple[Tensor, ...]


class Expectation:
    """The E-step for one tree. Nodes stand level by level, so that a level is a slice of the parameters."""

    def __init__(self, tree: Tree, device: str = "cpu") -> None:
        self.tree, self.device = tree, device
        parents = tree.parents()
        children: list[list[int]] = [[] for _ in range(len(tree))]
        for node in range(1, len(tree)):
            children[parents[node]].append(node)
        self.order = np.array(sorted(range(len(tree)), key=lambda n: (tree.depths[n], -len(children[n]))))
        self._places = np.argsort(self.order)

        def places_of(nodes: list[int]) -> Tensor:
            return torch.from_numpy(self._places[nodes]).to(device)

        bounds = np.searchsorted(tree.depths[self.order], np.arange(tree.depths.max() + 2))
        self._levels = []
        for begin, end in pairwise(bounds.tolist()):
            nodes = self.order[begin:end].tolist()
            below = tuple(places_of([children[n][i] for n in nodes if len(children[n]) > i])
                          for i in range(len(children[nodes[0]])))
            self._levels.append(_Level(begin, end, places_of([parents[n] for n in nodes] if begin else []), below))

    def arranged(self, images: np.ndarray) -> Tensor:
        """Images (N, ...) uint8 as (N, D), on the device, their samples in the order of the nodes."""
        flat = images.reshape(len(images), -1)
        return torch.from_numpy(flat[:, self.tree.pixels[self.order]]).to(self.device)

    def circuit(self, probabilities: Parameters, shape: tuple[int, int, int]) -> Circuit:
        """The circuit, with integers for parameters, over images of a shape (height, width, channels)."""
        root, transitions, leaves, components = (t.double().cpu().numpy() for t in probabilities.tensors)
        return Circuit.from_probabilities(shape, self.tree, root, transitions[self._places], leaves[self._places],
                                          components)

    def __call__(self, parameters: Parameters, images: Tensor, counts: Parameters | None = None) -> Tensor:
        """Log-likelihood of each image, (N,) float64 in nats. Expected counts are added to `counts`.

        Args:
            parameters: probabilities.
            images: (N, D) uint8, as `arranged`.
        """
        values = images.t().contiguous().long()
        emitted = parameters.components.t().contiguous()[values]
        log_likelihood, ratio = self.infer(parameters, emitted, counts)
        if counts is not None:
            _count_leaves(parameters, counts, ratio, emitted, values)
        return log_likelihood

    def infer(self, parameters: Parameters, emitted: Tensor, counts: Parameters | None) -> tuple[Tensor, Tensor]:
        """Up and down the tree. Expected counts of the root and the transitions are added to `counts`.

        Args:
            emitted: (D, N, K), how likely each component makes what is seen of each node.

        Returns:
            Log-likelihood of each image as above and, where there are counts, beliefs in states over the likelihoods
            that leaves give them, (D, M, N).
        """
        likelihood = torch.bmm(parameters.leaves, emitted.transpose(1, 2))  # (D, M, N)
        up, sent = torch.empty_like(likelihood), torch.empty_like(likelihood)
        scales = torch.empty(emitted.shape[:2], device=self.device)
        for level in reversed(self._levels):
            here = slice(level.begin, level.end)
            message = up[here].copy_(likelihood[here])
            for children in level.children:
                message[: len(children)] *= sent[children]
            scales[here] = message.amax(1).clamp_min_(TINY)
            message /= scales[here, None]
            if level.begin:
                torch.bmm(parameters.transitions[here], message, out=sent[here]).clamp_min_(TINY)
        belief = parameters.root[:, None] * up[0]
        total = belief.sum(0).clamp_min_(TINY)
        if counts is not None:
            up[0] = belief / total
            counts.root.add_(up[0].sum(1))
            self._descend(parameters, counts, up, sent)
            up.div_(likelihood)
        return scales.double().log_().sum(0) + total.double().log_(), up

    def _descend(self, parameters: Parameters, counts: Parameters, up: Tensor, sent: Tensor) -> None:
        """Counts transitions; messages `up` (D, M, N) become beliefs. `sent` is used up."""
        for level in self._levels[1:]:
            here = slice(level.begin, level.end)
            transitions = parameters.transitions[here]
            above = torch.div(up[level.parents], sent[here], out=sent[here])
            counts.transitions[here].addcmul_(transitions, torch.bmm(above, up[here].transpose(1, 2)))
            up[here] *= torch.bmm(transitions.transpose(1, 2), above)


def _count_leaves(parameters: Parameters, counts: Parameters, ratio: Tensor, emitted: Tensor, values: Tensor) -> None:
    """Counts leaves and components from beliefs over likelihoods (D, M, N), and from the probabilities (D, N, K) of
    the values (D, N). `emitted` is used up."""
    counts.leaves.addcmul_(parameters.leaves, torch.bmm(ratio, emitted))
    emitted *= torch.bmm(ratio.transpose(1, 2), parameters.leaves)
    by_value = torch.zeros(VALUES, emitted.shape[2], device=emitted.device)
    by_value.index_add_(0, values.reshape(-1), emitted.view(-1, emitted.shape[2]))
    counts.components.add_(by_value.t())


def log_likelihood(expectation: Expectation, parameters: Parameters, images: Tensor, batch: int,
                   counts: Parameters | None = None, report: Callable[[float], None] = lambda share: None) -> float:
    """Sum over all images, in nats, batch by batch; counts as in `Expectation`."""
    total = 0.0
    for begin in range(0, len(images), batch):
        total += float(expectation(parameters, images[begin : begin + batch], counts).sum())
        report(min(begin + batch, len(images)) / len(images))
    return total
