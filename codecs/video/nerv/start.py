"""Where the fit of a group of frames begins."""

import torch
from torch import Tensor
from torch.nn import functional as F

from fewbits.codecs.randomness import own_randomness
from fewbits.codecs.video.nerv.config import NervConfig
from fewbits.codecs.video.nerv.decoder import Decoder
from fewbits.codecs.video.nerv.layout import EMBEDDING, layout_of

SPREAD = 0.5  # of the embedding
SIDE = 4  # pixels along a side that the embedding begins with at each place


def first_row(frames: Tensor, config: NervConfig) -> Tensor:
    """Numbers (size,) to begin with where nothing is known of frames (N, H, W, 3)."""
    with own_randomness():
        decoder = Decoder(config)
        decoder.begin()
    tensors = dict(decoder.named_parameters())
    if EMBEDDING in tensors:
        tensors[EMBEDDING] = principal_components(frames, config)
    return layout_of(config).row(tensors).detach()


def row_after(last: dict[str, Tensor], config: NervConfig) -> Tensor:
    """Those of another group's network. Its embedding is of other frames: all begin as its last one."""
    known = {}
    if EMBEDDING in last:
        known[EMBEDDING] = last[EMBEDDING][-1:].expand(config.embedding_steps, -1, -1, -1)
    return layout_of(config).row(last | known)


def principal_components(frames: Tensor, config: NervConfig) -> Tensor:
    """An embedding that follows the frames: what varies most in them, much reduced."""
    rows, columns = config.coarsest
    shown = frames[:: config.design.frames_a_step]
    small = torch.stack([F.adaptive_avg_pool2d(frame.permute(2, 0, 1) / 255.0, (SIDE * rows, SIDE * columns))
                         for frame in shown])
    features = F.pixel_unshuffle(small, SIDE).movedim(1, -1)
    flat = features.flatten(0, 2) - features.mean((0, 1, 2))
    channels = config.design.embedding_channels
    _, directions = torch.linalg.eigh(flat.T @ flat)
    found = flat @ directions.flip(1)[:, :channels]
    found = SPREAD * found / (found.std(0, correction=0) + 1e-3)
    embedding = torch.zeros(config.embedding_steps, channels, rows, columns)
    embedding[: len(shown), : found.shape[1]] = found.unflatten(0, features.shape[:3]).movedim(-1, 1)
    embedding[len(shown) :] = embedding[len(shown) - 1]
    return embedding
