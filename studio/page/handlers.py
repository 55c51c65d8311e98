"""What handlers of the page share: errors as sentences on it, and what the page's own events bring."""

import contextlib
import functools
import html
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from visunex.base.console import explain
from visunex.base.errors import UsageError
from visunex.base.text import printable

__all__ = ["event_value", "explained", "explained_steps"]

F = TypeVar("F", bound=Callable[..., Any])
_LONGEST = 4096  # characters of a text that an event brings


def explained(function: F) -> F:
    """The function, whose errors gradio shows as text."""

    @functools.wraps(function)
    def careful(*args: Any, **kwargs: Any) -> Any:
        with _explained():
            return function(*args, **kwargs)

    return careful  # type: ignore[return-value]


def explained_steps(function: F) -> F:
    """A generator function, whose errors gradio shows as text."""

    @functools.wraps(function)
    def careful(*args: Any, **kwargs: Any) -> Any:
        with _explained():
            yield from function(*args, **kwargs)

    return careful  # type: ignore[return-value]


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    import gradio as gr

    try:
        yield
    except gr.Error:
        raise
    except Exception as error:
        raise gr.Error(html.escape(printable(explain(error))), title="", print_exception=False) from error


def event_value(event: Any, name: str) -> str:
    """A text that an event of the page's own brings. Raises UsageError for anything else."""
    value = (event._data or {}).get(name) if isinstance(event._data, dict) else None
    if not isinstance(value, str) or len(value) > _LONGEST:
        raise UsageError("the page sent what it should not: load it again")
    return value
