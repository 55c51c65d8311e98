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
    with np.errstate(over="ignore"):
        return rows.astype(np.float32)


def have_direction(rows: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Which of the rows [n, D] are vectors: finite, and not zero."""
    found = np.isfinite(rows).all(axis=1) & rows.any(axis=1)
    return np.asarray(found, np.bool_)
