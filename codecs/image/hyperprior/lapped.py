"""The lapped orthogonal transform that analysis and synthesis start from.

H. S. Malvar and D. H. Staelin, "The LOT: transform coding without blocking effects" (IEEE Trans. ASSP, 1989).
"""

import numpy as np

from fewbits.codecs.image.hyperprior.config import HyperpriorConfig

BLOCK = HyperpriorConfig.BLOCK


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


# Indices `(component * 8 + vertical) * 8 + horizontal` of coefficients, most energetic first, in natural photos.
# Written down, since weights and files rely on it: energies of (u, v) and (v, u) differ by roundings alone, which no
# library promises.
ORDER = (
    0, 1, 8, 64, 2, 16, 3, 24, 128, 4, 32, 9, 5, 40, 6, 48, 7, 56, 65, 72, 10, 17, 66, 80, 11, 25, 136, 129, 67, 88, 12,
    33, 13, 41, 18, 96, 68, 14, 49, 15, 57, 73, 69, 104, 70, 112, 71, 120, 19, 26, 130, 144, 20, 34, 27, 131, 152, 21,
    42, 22, 50, 23, 58, 74, 81, 28, 35, 132, 160, 137, 29, 43, 133, 168, 30, 51, 134, 176, 31, 59, 36, 135, 184, 75, 89,
    37, 44, 45, 38, 52, 39, 60, 76, 97, 46, 53, 47, 61, 77, 105, 82, 54, 55, 62, 63, 78, 113, 79, 121, 138, 145, 83, 90,
    139, 153, 84, 98, 91, 85, 106, 140, 161, 86, 114, 141, 169, 87, 122, 146, 92, 99, 142, 177, 143, 185, 93, 107, 115,
    94, 123, 95, 100, 147, 154, 101, 108, 109, 102, 116, 103, 124, 148, 162, 155, 110, 117, 111, 125, 149, 170, 118,
    119, 126, 127, 150, 178, 151, 186, 156, 163, 157, 171, 158, 179, 159, 187, 164, 165, 172, 173, 166, 180, 167, 188,
    181, 174, 175, 189, 182, 183, 190, 191,
)


def lapped_colour_kernel() -> np.ndarray:
    """The transform from RGB to 192 coefficients, as a 2x2 convolution over blocks of 8 x 8 pixels.

    Blocks are what `torch.nn.functional.pixel_unshuffle` makes of the picture, offset by half a block.

    Returns:
        (coefficients, pixels of a block, 2, 2) float32, both of size 192; coefficients in `ORDER`.
        Orthonormal: the transposed convolution inverts it.
    """
    basis = lapped_basis(BLOCK).reshape(BLOCK, 2, BLOCK)
    kernel = np.einsum("oc,uai,vbj->ouvcijab", colour_basis(), basis, basis)
    size = 3 * BLOCK**2
    return kernel.reshape(size, size, 2, 2)[list(ORDER)].astype(np.float32)


def mirror_signs() -> np.ndarray:
    """Sign of each coefficient when the picture is mirrored (horizontally, vertically). (2, 192) float32."""
    order = np.array(ORDER)
    parity = np.stack([order % BLOCK % 2, order // BLOCK % BLOCK % 2])
    return (1 - 2 * parity).astype(np.float32)
