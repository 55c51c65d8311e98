"""`report.html`: what a run did, for a person.

Reads the run's `report.json`, writes `report.html`; asked by commands and by `run`, never by a stage.
May import `rundir` and what is below it.
"""

from typing import TYPE_CHECKING

from visunex.base.lazy import public

if TYPE_CHECKING:
    from .html import render as render
    from .html import reported as reported
    from .html import write_page as write_page

__all__ = ["render", "reported", "write_page"]

__getattr__, __dir__ = public(__name__, dict.fromkeys(__all__, "html"))
