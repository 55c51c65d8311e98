"""What a person sees of a run: `report.html` with its pictures, and contact sheets.

Reads all files of a run, writes `report.html`, `contact/` and `groups.parquet`; asked by commands and by
`run`, never by a stage. May import `reduce`, `aesthetic_embeddings` and what is below them.
"""

from typing import TYPE_CHECKING

from visunex.base.lazy import public

if TYPE_CHECKING:
    from .html import render as render
    from .html import reported as reported
    from .html import template as template
    from .html import write_page as write_page
    from .plots import Curve as Curve
    from .plots import curves_plot as curves_plot

__all__ = ["Curve", "curves_plot", "render", "reported", "template", "write_page"]

__getattr__, __dir__ = public(
    __name__,
    {
        "Curve": "plots",
        "curves_plot": "plots",
        **dict.fromkeys(("render", "reported", "template", "write_page"), "html"),
    },
)
