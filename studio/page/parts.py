"""Pieces of the page as HTML, from a template that turns all that comes from outside into text."""

import functools
from importlib import resources
from typing import TYPE_CHECKING, Any

from visunex.base.text import printable

if TYPE_CHECKING:
    from jinja2 import Template

__all__ = ["part"]


def part(name: str, **values: Any) -> str:
    """The macro `name` of the template, with `values`."""
    return printable(str(getattr(_template().module, name)(**values)))


@functools.cache
def _template() -> "Template":
    from jinja2 import Environment, StrictUndefined

    text = resources.files(__package__).joinpath("parts.html.j2").read_text(encoding="utf-8")
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["printable"] = printable
    environment.filters["polyline"] = _polyline
    return environment.from_string(text)


def _polyline(curve: tuple[float, ...]) -> str:
    """The points of a curve in a box of 100 x 40."""
    step = 100 / max(1, len(curve) - 1)
    return " ".join(f"{number * step:.1f},{20 - 17 * each:.1f}" for number, each in enumerate(curve))
