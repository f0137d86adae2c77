"""MS-SSIM in the place of the squared error, for those who tune for the eye: through torch, with its gradient.

(Z. Wang, E. P. Simoncelli and A. C. Bovik, "Multi-scale structural similarity for image quality assessment", Asilomar
2003; five scales, over RGB, by `pytorch-msssim`, as the evaluation measures it.)
"""

from typing import TypeVar

import numpy as np
import pytorch_msssim
import torch
from torch import Tensor

MSSSIM_WEIGHT = 0.02
"""How large a mean squared error (of samples in 0..1) an MS-SSIM of 0 is worth. With it a lambda gives files of about
the same size as with the squared error: over the rates of WebP, MSE falls 0.012 times as fast as 1 - MS-SSIM for one
photo, and 0.07 times as fast for another."""

Value = TypeVar("Value", float, Tensor)


def ms_ssim(picture: Tensor, target: Tensor) -> Tensor:
    """MS-SSIM of two pictures, (3, H, W) in about 0..1, no side under 161; a scalar with gradient."""
    return pytorch_msssim.ms_ssim(picture[None], target[None], data_range=1.0)


def equivalent_error(value: Value, height: int, width: int) -> Value:
    """The sum of squared errors, over all samples, that an MS-SSIM counts as.

    The squared error enters the cost as `squared_error / 3`; what this gives enters as (1 - MS-SSIM) * H * W *
    `MSSSIM_WEIGHT`.
    """
    return (1 - value) * (3 * MSSSIM_WEIGHT * height * width)


def ms_ssim_gradient(picture: np.ndarray, target: np.ndarray) -> tuple[float, np.ndarray]:
    """MS-SSIM of a picture, on the CPU, and its derivatives by the picture's samples.

    Args:
        picture, target: (3, H, W) float32 in about 0..1, no side under 161.

    Returns:
        The value, at most 1, and its gradient, (3, H, W) float32. The gradient of `equivalent_error` of the value is
        that times -3 `MSSSIM_WEIGHT` H W.
    """
    leaf = torch.from_numpy(np.array(picture, np.float32)).requires_grad_()
    with torch.enable_grad():
        value = ms_ssim(leaf, torch.from_numpy(np.array(target, np.float32)))
        (gradient,) = torch.autograd.grad(value, leaf)
    return value.item(), gradient.numpy()
