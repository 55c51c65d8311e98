"""`report.html`: what the run did, for a person. One file with no script and nothing to fetch."""

import contextlib
import functools
from collections.abc import Iterator, Mapping
from importlib import resources
from typing import TYPE_CHECKING, Any

from visunex.base.files import write_text
from visunex.base.text import printable, shortened

from ..rundir import RunDir

if TYPE_CHECKING:
    from jinja2 import Template

    from .page import Page

__all__ = ["render", "reported", "template", "write_page"]

_LONGEST = 5000  # characters of a text that a stranger may have written


@contextlib.contextmanager
def reported(run: RunDir) -> Iterator[None]:
    """Bring `run.report_page` up to date at the end of a block in which stages work, also when one fails."""
    before = _version(run)
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):  # why the stage failed matters more
            _update(run, before)
        raise
    _update(run, before)


def write_page(run: RunDir) -> None:
    """Write `run.report_page` from the run's files; nothing where no stage reported."""
    from .page import page_of

    if reports := run.reports():
        write_text(run.report_page, render(page_of(run, reports)))


def render(page: "Page") -> str:
    """The page as HTML: all that comes from outside is text in it."""
    return template(__package__, "report.html.j2").render(page=page)


def _update(run: RunDir, before: tuple[int, int] | None) -> None:
    if _version(run) != before or not run.report_page.exists():
        write_page(run)


def _version(run: RunDir) -> tuple[int, int] | None:
    """What differs once the reports were replaced; None where there are none."""
    try:
        status = run.report.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns


@functools.cache
def template(package: str, name: str) -> "Template":
    """The template of that name among a package's files, in which all text is escaped and bounded.

    Its `style` is that of all our pages.
    """
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=_text,
    )
    environment.filters |= {"label": _label, "figure": _figure}
    style = resources.files(__package__).joinpath("page.css").read_text(encoding="utf-8")
    environment.globals["style"] = style
    return environment.from_string(resources.files(package).joinpath(name).read_text(encoding="utf-8"))


def _text(value: Any) -> Any:
    """What the template writes: no control characters, which turn text around, and nothing without end.

    What is markup already, ours, is of another type.
    """
    return printable(shortened(value, _LONGEST)) if type(value) is str else value


def _label(key: object) -> str:
    return str(key).replace("_", " ")


def _figure(value: Any) -> str:
    """A value of a report as a person writes it."""
    if value is None or value in ("", [], {}, ()):
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{_label(name)} {_figure(each)}" for name, each in value.items())
    if isinstance(value, list | tuple):
        return "; ".join(map(_figure, value))
    return str(value)
