"""The lapped orthogonal transform that analysis and synthesis start from.

H. S. Malvar and D. H. Staelin, "The LOT: transform coding without blocking effects" (IEEE Trans. ASSP, 1989).
"""

import numpy as np


def lapped_basis(block: int = 8, correlation: float = 0.95) -> np.ndarray:
    """Orthonormal lapped basis of `block` functions, each `2 * block` samples long.

    Optimal for a first-order Markov signal with the given correlation. Rows are sorted by energy; row `k` is
    symmetric for even `k` and antisymmetric for odd `k`.

    Returns:
        (block, 2 * block) float64; shifted by multiples of `block`, the rows form an orthonormal system.
    """
    n = np.arange(block)
    dct = np.sqrt(2 / block) * np.cos(np.pi * (2 * n[None] + 1) * n[:, None] / (2 * block))
    dct[0] /= np.sqrt(2)
    difference = (dct[0::2] - dct[1::2]).T  # (block, block / 2): even minus odd functions
    mirrored = difference[::-1]
    start = 0.5 * np.block([[difference, difference], [mirrored, -mirrored]])  # (2 * block, block)
    lags = np.abs(np.subtract.outer(np.arange(2 * block), np.arange(2 * block)))
    covariance = start.T @ correlation**lags @ start
    half = block // 2
    rows = []
    for part in (slice(0, half), slice(half, block)):  # symmetric functions, then antisymmetric ones
        energy, rotation = np.linalg.eigh(covariance[part, part])
        rows.append((start[:, part] @ rotation[:, np.argsort(-energy)]).T)
    basis = np.empty((block, 2 * block))
    basis[0::2], basis[1::2] = rows
    return basis * np.where(basis[:, block - 1 : block] < 0, -1.0, 1.0)


def colour_basis() -> np.ndarray:
    """Orthonormal rows: luminance, red minus blue, green against the other two. (3, 3) float64."""
    return np.array([[1, 1, 1], [1, 0, -1], [-1, 2, -1]]) / np.sqrt([[3], [2], [6]])


COLOUR_ENERGY = (1.0, 0.05, 0.01)  # of natural photos, for the order of channels only


def energy_order(block: int = 8, correlation: float = 0.95) -> np.ndarray:
    """Indices `(component * block + vertical) * block + horizontal`, most energetic coefficient first."""
    basis = lapped_basis(block, correlation)
    lags = np.abs(np.subtract.outer(np.arange(2 * block), np.arange(2 * block)))
    variance = np.diag(basis @ correlation**lags @ basis.T)
    energy = np.einsum("o,u,v->ouv", COLOUR_ENERGY, variance, variance).ravel()
    return np.argsort(-energy, kind="stable")


def lapped_colour_kernel(block: int = 8) -> np.ndarray:
    """The transform from RGB to `3 * block**2` coefficients, as a 2x2 convolution over blocks of pixels.

    Blocks are what `torch.nn.functional.pixel_unshuffle` makes of the picture, offset by half a block.

    Returns:
        (coefficients, pixels of a block, 2, 2) float32, both of size `3 * block**2`; coefficients in `energy_order`.
        Orthonormal: the transposed convolution inverts it.
    """
    basis = lapped_basis(block).reshape(block, 2, block)
    kernel = np.einsum("oc,uai,vbj->ouvcijab", colour_basis(), basis, basis)
    size = 3 * block**2
    return kernel.reshape(size, size, 2, 2)[energy_order(block)].astype(np.float32)


def mirror_signs(block: int = 8) -> np.ndarray:
    """Sign of each coefficient when the picture is mirrored (horizontally, vertically). (2, 3 * block**2) float32."""
    order = energy_order(block)
    parity = np.stack([order % block % 2, order // block % block % 2])
    return (1 - 2 * parity).astype(np.float32)
