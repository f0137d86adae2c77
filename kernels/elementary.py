"""Powers and logarithms to base 2 that vectorise: polynomials instead of calls, good to about 1e-7.

For encoders only: their last bits differ between machines. What decides a probability never goes through here.
"""

import llvmlite.ir as ir
import numpy as np
from numba import njit, types
from numba.extending import intrinsic

_LIMIT = np.float32(126)
_HALF = np.float32(0.5)
_ONE = np.float32(1)
_ROOT = np.int32(0x3F3504F3)  # bits of sqrt(1/2)
_EXPONENT = np.int32(23)
_BIAS = np.int32(127)

# 2**f for -1/2 <= f <= 1/2: the Taylor series.
_E1, _E2, _E3 = np.float32(0.6931471806), np.float32(0.2402265070), np.float32(0.0555041087)
_E4, _E5, _E6 = np.float32(0.0096181291), np.float32(0.0013333558), np.float32(0.0001540353)

# log2((1 + t) / (1 - t)) = 2 / ln 2 * (t + t**3 / 3 + t**5 / 5 + ...)
_L1, _L3, _L5 = np.float32(2.8853900818), np.float32(0.9617966939), np.float32(0.5770780164)
_L7, _L9 = np.float32(0.4121985831), np.float32(0.3205988980)


@intrinsic
def _float_of_bits(typing_context, bits):  # type: ignore[no-untyped-def]
    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        return builder.bitcast(arguments[0], ir.FloatType())
    return types.float32(types.int32), generate


@intrinsic
def _bits_of_float(typing_context, value):  # type: ignore[no-untyped-def]
    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        return builder.bitcast(arguments[0], ir.IntType(32))
    return types.int32(types.float32), generate


@njit(inline="always")
def exp2(x):  # type: ignore[no-untyped-def]
    """2**x of a float32, x clamped to +-126."""
    x = min(max(x, -_LIMIT), _LIMIT)
    whole = np.floor(x + _HALF)
    f = x - whole
    power = _ONE + f * (_E1 + f * (_E2 + f * (_E3 + f * (_E4 + f * (_E5 + f * _E6)))))
    return power * _float_of_bits((np.int32(whole) + _BIAS) << _EXPONENT)


@njit(inline="always")
def log2(x):  # type: ignore[no-untyped-def]
    """Logarithm of a normal positive float32. It divides, so that callers vectorise with error_model="numpy" only."""
    bits = _bits_of_float(x)
    exponent = (bits - _ROOT) >> _EXPONENT
    mantissa = _float_of_bits(np.int32(bits - (exponent << _EXPONENT)))  # in sqrt(1/2) .. sqrt(2)
    t = (mantissa - _ONE) / (mantissa + _ONE)
    t2 = t * t
    return np.float32(exponent) + t * (_L1 + t2 * (_L3 + t2 * (_L5 + t2 * (_L7 + t2 * _L9))))
