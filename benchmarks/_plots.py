"""Horizontal bars as an SVG, from a line that a benchmark prints or from a column of its table.

A benchmark asks for a plot with a line of its output, which Markdown does not show:

    print(plot("Times faster than pandas", {"visunex": "31x", "polars": "34x"}, target=">= 20"))

Without one, the first column of ratios in its table is plotted (see `from_table`).
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

_LINE = re.compile(r"<!-- plot: (.*) -->")
_NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?")
_RATIO = re.compile(r"ratio|against|speed-?up|faster", re.IGNORECASE)
_WIDTH, _BAR, _GAP, _TOP, _LETTER = (
    760,
    18,
    10,
    44,
    7.4,
)  # pixels; letters of 13 pixels are at most about so wide
_STYLE = """
text { font: 13px system-ui, "Segoe UI", Helvetica, Arial, sans-serif; fill: #1f2328 }
.title { font-weight: 600 } .target { fill: #bc4c00 }
rect { fill: #0969da } line { stroke: #bc4c00; stroke-width: 2; stroke-dasharray: 5 4 }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 } .target { fill: #f0883e } rect { fill: #4493f8 } line { stroke: #f0883e }
}
"""


@dataclass(frozen=True)
class Plot:
    """A title, bars as (label, value with its unit), and a target such as `>= 0.92`, or none."""

    title: str
    bars: tuple[tuple[str, str], ...]
    target: str = ""

    def line(self) -> str:
        """The plot as a line of Markdown that is not shown."""
        parts = [self.title, *([self.target] if self.target else []), *map(" = ".join, self.bars)]
        return f"<!-- plot: {' | '.join(parts)} -->"


def plot(title: str, bars: Mapping[str, str], target: str = "") -> str:
    """The line with which a benchmark asks for a plot; values are numbers with their unit, as text."""
    return Plot(title, tuple(bars.items()), target).line()


def plots(section: str) -> list[Plot]:
    """The plots that a section asks for; else the one that its table is good for, if it is."""
    asked = [_parsed(found[1]) for found in _LINE.finditer(section)]
    return asked or [found for found in [from_table(section)] if found is not None]


def without_lines(section: str) -> str:
    """The section as it is shown."""
    return re.sub(rf"\n*{_LINE.pattern}", "", section)


def _parsed(line: str) -> Plot:
    title, *parts = (part.strip() for part in line.split(" | "))
    target = next((part for part in parts if part.startswith((">=", "<="))), "")
    bars = (part.rpartition(" = ") for part in parts if part != target)
    return Plot(title, tuple((label, value) for label, _, value in bars), target)


def from_table(section: str) -> Plot | None:
    """The first column whose heading speaks of a ratio, with the first column as labels."""
    rows = [_cells(line) for line in section.splitlines() if line.startswith("|")]
    rows = [row for row in rows if not all(set(cell) <= set("-: ") for cell in row)]
    for place, heading in enumerate(rows[0] if rows else ()):
        values = [row[place] for row in rows[1:] if len(row) > place]
        if place and _RATIO.search(heading) and values and all(map(_NUMBER.search, values)):
            labels = [row[0] for row in rows[1:] if len(row) > place]
            return Plot(heading, tuple(zip(labels, values, strict=True)))
    return None


def _cells(line: str) -> list[str]:
    return [cell.strip().strip("*`") for cell in line.strip().strip("|").split("|")]


def number(text: str) -> float:
    """The number in a value. Raises ValueError when there is none."""
    found = _NUMBER.search(text.replace(",", ""))
    if found is None:
        raise ValueError(f"a plot's value has no number in it: {text!r}")
    return float(found[0])


def svg(wanted: Plot) -> str:
    """The drawing: the same bytes for the same plot, legible on light and dark pages."""
    left = 24 + _LETTER * max(len(label) for label, _ in wanted.bars)
    room = _WIDTH - left - 24 - _LETTER * max(len(value) for _, value in wanted.bars)
    limit = [number(wanted.target)] if wanted.target else []
    scale = room / (max([*(number(value) for _, value in wanted.bars), *limit]) or 1)
    height = _TOP + len(wanted.bars) * (_BAR + _GAP) + (24 if limit else 6)
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}" '
            f'viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{escape(wanted.title)}">',
            f"<style>{_STYLE}</style>",
            f'<text class="title" x="12" y="24">{escape(wanted.title)}</text>',
            *_bars(wanted.bars, left, scale),
            *(_target(wanted.target, left + limit[0] * scale, height) if limit else ()),
            "</svg>\n",
        ]
    )


def _bars(bars: Sequence[tuple[str, str]], left: float, scale: float) -> list[str]:
    lines = []
    for place, (label, value) in enumerate(bars):
        top, length = _TOP + place * (_BAR + _GAP), max(number(value), 0) * scale
        lines += [
            f'<text x="{left - 10:.1f}" y="{top + 14}" text-anchor="end">{escape(label)}</text>',
            f'<rect x="{left:.1f}" y="{top}" width="{max(length, 1):.1f}" height="{_BAR}" rx="2"/>',
            f'<text x="{left + length + 8:.1f}" y="{top + 14}">{escape(value)}</text>',
        ]
    return lines


def _target(text: str, x: float, height: int) -> list[str]:
    words = text.replace(">=", "at least").replace("<=", "at most")
    half = len(words) * _LETTER / 2
    middle = min(max(x, half), _WIDTH - half)
    return [
        f'<line x1="{x:.1f}" y1="{_TOP - 6}" x2="{x:.1f}" y2="{height - 18}"/>',
        f'<text class="target" x="{middle:.1f}" y="{height - 5}" text-anchor="middle">{escape(words)}</text>',
    ]
