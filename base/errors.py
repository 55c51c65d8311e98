"""The errors a user can cause, and checks of what functions are given that raise them.

The library raises them; only a command line turns them into messages.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_LONGEST = 60  # characters of a value that is shown


class VisunexError(Exception):
    """A failure with a reason: what was wrong, where, and what to do next, in one or two lines."""

    exit_code = 1


class UsageError(VisunexError):
    """The request itself makes no sense (an empty keyword, top < 1), whatever the data."""

    exit_code = 2


class FewerImagesError(VisunexError):
    """The work is done and kept, but it gave fewer images than the recipe asks for at least."""


def first_line(error: BaseException) -> str:
    """The first line of what an error of a library says, of at most 200 characters; else its class.

    One that ends in a colon is only a heading: the line after it belongs to it.
    """
    lines = [line for each in str(error).splitlines() if (line := each.strip())]
    heading = len(lines) > 1 and lines[0].endswith(":")
    return (" ".join(lines[: 2 if heading else 1]) or type(error).__name__)[:200]


def require(
    value: Any,
    name: str,
    kinds: type | tuple[type, ...],
    wanted: str,
    error: Callable[[str], VisunexError] = UsageError,
) -> None:
    """Raise `error`, saying what the argument `name` is and what is `wanted`, for a value of other types."""
    if not isinstance(value, kinds) or (isinstance(value, bool) and kinds is not bool):
        raise error(f"{name} is {described(value)}: give {wanted}")


def require_number(value: Any, name: str, wanted: str, *, whole: bool = False) -> None:
    """Raise UsageError where the argument `name` is no number; numpy's count."""
    methods = ("__index__",) if whole else ("__index__", "__float__")
    shown = getattr(value, "shape", ()) != () or isinstance(value, bool | str)
    if shown or not any(hasattr(value, method) for method in methods):
        raise UsageError(f"{name} is {described(value)}: give {wanted}")


def numbers(
    given: Any, name: str, wanted: str, error: Callable[[str], VisunexError]
) -> "NDArray[np.float64]":
    """An array, a tensor on any device or nested lists as float64; raises `error` for anything else."""
    import numpy as np

    try:
        found = given.detach().cpu() if hasattr(given, "detach") else given
        if hasattr(found, "is_complex"):
            found = found.numpy() if found.is_complex() else found.double().numpy()
        found = np.asarray(found)
        if found.dtype.kind not in "fiu":
            raise TypeError
        return found.astype(np.float64, copy=False)
    except (TypeError, ValueError, RuntimeError):
        raise error(f"{name} is {described(given)}: give {wanted}") from None


def described(value: Any) -> str:
    """A value for a message: an array by its type, shape, dtype and device; the rest by type and value."""
    kind = type(value).__name__
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        device = f" on {value.device}" if hasattr(value, "is_cuda") else ""
        return f"a {kind} of {str(value.dtype).removeprefix('torch.')} {list(value.shape)}{device}"
    if value is None:
        return "None"
    if isinstance(value, bool | int | float | complex | str | bytes):
        text = repr(value)
        return f"{kind} {text if len(text) <= _LONGEST else text[:_LONGEST] + '...'}"
    return f"a {kind}"
