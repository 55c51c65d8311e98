"""What reading an .npy file that anyone may have written can raise, beside what its content is."""

import tokenize

__all__ = ["NPY_ERRORS"]

# numpy parses the header as Python: whatever that raises, and what numbers beyond a machine's raise.
NPY_ERRORS = (
    OSError, ValueError, EOFError, LookupError, TypeError, SyntaxError, ArithmeticError, MemoryError,
    RecursionError, AttributeError, tokenize.TokenError,
)  # fmt: skip
