"""`report.html`: what the run did, for a person. A plain page with no script and nothing to fetch."""

import contextlib
import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from visunex.base.files import write_text

from ..rundir import RunDir

if TYPE_CHECKING:
    from jinja2 import Template

__all__ = ["render", "reported", "write_page"]


@dataclass(frozen=True)
class Row:
    """A line of a table; `share` is the length of its bar in percent, None without a bar."""

    label: str
    value: str
    share: float | None


@dataclass(frozen=True)
class Section:
    """What one stage reports: its plain values, and a table for each value that is a mapping."""

    stage: str
    rows: list[Row]
    tables: dict[str, list[Row]]


@contextlib.contextmanager
def reported(run: RunDir) -> Iterator[None]:
    """Bring `run.report_page` up to date at the end of a block in which stages work, also when one fails."""
    before = _version(run.report)
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):  # why the stage failed matters more
            _update(run, before)
        raise
    _update(run, before)


def write_page(run: RunDir) -> None:
    """Write `run.report_page` from what the run's stages reported; nothing where none did."""
    if reports := run.reports():
        write_text(run.report_page, render(run.path.name, reports))


def render(title: str, reports: Mapping[str, Mapping[str, Any]]) -> str:
    """The page for `report.json`'s content: one section per stage, in the order in which they ran."""
    return _template().render(title=title, sections=[_section(*each) for each in reports.items()])


def _update(run: RunDir, before: tuple[int, int] | None) -> None:
    if _version(run.report) != before or not run.report_page.exists():
        write_page(run)


def _version(path: Path) -> tuple[int, int] | None:
    """What differs once the file was replaced; None where there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns


@functools.cache
def _template() -> "Template":
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.from_string(
        resources.files(__package__).joinpath("report.html.j2").read_text(encoding="utf-8")
    )


def _section(stage: str, report: Mapping[str, Any]) -> Section:
    plain = {key: value for key, value in report.items() if not isinstance(value, Mapping)}
    nested = {key: value for key, value in report.items() if isinstance(value, Mapping) and value}
    return Section(stage, _rows(plain), {_label(key): _rows(value) for key, value in nested.items()})


def _rows(values: Mapping[str, Any]) -> list[Row]:
    """Rows of name and value; counts among each other also get a bar."""
    counts = all(isinstance(value, int) and not isinstance(value, bool) for value in values.values())
    largest = max(values.values(), default=0) if counts else 0
    return [
        Row(_label(key), _value(value), 100 * value / largest if largest else None)
        for key, value in values.items()
    ]


def _label(key: str) -> str:
    return key.replace("_", " ")


def _value(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list):
        return ", ".join(map(_value, value))
    return "-" if value is None else str(value)
