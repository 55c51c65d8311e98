"""`report.html`: what the run did, for a person. A plain page with no script and nothing to fetch."""

import html
from collections.abc import Mapping
from typing import Any

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #222 }
body { max-width: 52rem; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.6rem }
h2 { margin-top: 2rem; border-bottom: 1px solid #ddd; text-transform: capitalize }
h3 { margin: 1rem 0 .3rem; font-size: 1rem; color: #555 }
table { border-collapse: collapse; width: 100% }
td { padding: .15rem .6rem .15rem 0; vertical-align: top }
td:first-child { width: 14rem; color: #555 }
td.bar { width: 40% } .bar div { background: #c86; height: .8rem }
"""


def render(title: str, reports: Mapping[str, Mapping[str, Any]]) -> str:
    """The page for `report.json`'s content: one section per stage, in the order in which they ran."""
    sections = "\n".join(f"<h2>{_text(stage)}</h2>\n{_section(report)}" for stage, report in reports.items())
    return (
        f'<!doctype html>\n<html lang="en"><meta charset="utf-8"><title>{_text(title)}</title>'
        f"<style>{_STYLE}</style>\n<h1>{_text(title)}</h1>\n{sections}\n</html>\n"
    )


def _section(report: Mapping[str, Any]) -> str:
    plain = {key: value for key, value in report.items() if not isinstance(value, Mapping)}
    nested = {key: value for key, value in report.items() if isinstance(value, Mapping) and value}
    tables = "".join(f"<h3>{_label(key)}</h3>\n{_table(value)}" for key, value in nested.items())
    return _table(plain) + tables


def _table(values: Mapping[str, Any]) -> str:
    """Rows of name and value; counts among each other also get a bar."""
    counts = all(isinstance(value, int) and not isinstance(value, bool) for value in values.values())
    largest = max(values.values(), default=0) if counts else 0
    rows = (
        f"<tr><td>{_label(key)}</td><td>{_text(_value(value))}</td>{bar}</tr>"
        for key, value in values.items()
        for bar in [_bar(value, largest) if largest else ""]
    )
    return f"<table>{''.join(rows)}</table>\n"


def _bar(value: int, largest: int) -> str:
    return f'<td class="bar"><div style="width:{100 * value / largest:.1f}%"></div></td>'


def _label(key: str) -> str:
    return _text(key.replace("_", " "))


def _value(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list):
        return ", ".join(map(_value, value))
    return "-" if value is None else str(value)


def _text(value: str) -> str:
    return html.escape(str(value))
