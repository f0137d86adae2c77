"""Parameters of circuits as integers of one byte: floating point with a mantissa of four bits, eight to an octave.

Rows of probabilities are shipped as codes and used as the integers that these stand for, over their sum, so that every
machine has the same ones.
"""

import numpy as np

MANTISSA_BITS = 3  # of a code; the other five are the exponent
CODES = 256
WEIGHTS = np.array([((1 << MANTISSA_BITS) + code % (1 << MANTISSA_BITS)) << (code >> MANTISSA_BITS)
                    for code in range(CODES)], np.float64)
"""What codes stand for."""

_BOUNDARIES = np.sqrt(WEIGHTS[:-1] * WEIGHTS[1:])


def codes_of(probabilities: np.ndarray, largest: int = CODES - 1) -> np.ndarray:
    """Codes of rows of probabilities (over the last axis), uint8. The largest of a row gets the code `largest`."""
    share = probabilities / probabilities.max(axis=-1, keepdims=True)
    return np.searchsorted(_BOUNDARIES, share * WEIGHTS[largest]).astype(np.uint8)


def normalised(codes: np.ndarray) -> np.ndarray:
    """Probabilities, float64, of rows of codes (over the last axis). The sums are of integers, and so exact."""
    weights = WEIGHTS[codes]
    return weights / weights.sum(axis=-1, keepdims=True)
