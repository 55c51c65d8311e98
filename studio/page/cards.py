"""Cards of what there is."""

from ..work.shelf import shelf
from ..work.state import Studio
from .parts import part

__all__ = ["shelf_html"]

_KINDS = (("run", "Runs"), ("saved", "Saved here"), ("published", "Published"))


def shelf_html(studio: Studio) -> str:
    """The cards of all tastes."""
    there = shelf(studio.places)
    return part("shelf", groups=[(title, [e for e in there if e.kind == kind]) for kind, title in _KINDS])
