"""Plots as SVG, drawn in the page's own colours, light and dark; nothing in them comes from a stranger."""

import math
from collections.abc import Iterable, Sequence
from html import escape

from .numbers import Convergence, Histogram

__all__ = ["convergence_plot", "histogram_plot"]

_WIDTH, _HEIGHT = 640, 250
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 12, 28, 50  # margins around the plotted box
_TICKS = 5


def histogram_plot(shown: Histogram, label: str) -> str:
    """Bars of all values, and of the chosen ones before them; the tallest reaches the top."""
    low, high = shown.edges[0], shown.edges[-1]
    tallest = max(shown.all) or 1
    bars = [
        _bar(kind, (left - low) / (high - low or 1), (right - low) / (high - low or 1), count / tallest)
        for kind, counts in (("all", shown.all), ("some", shown.chosen))
        for left, right, count in zip(shown.edges, shown.edges[1:], counts, strict=False)
        if count
    ]
    axes = [*_x_axis(_even(low, high), "score"), *_y_axis(_even(0, tallest), "pictures")]
    return _plot([*bars, *axes], label)


def convergence_plot(shown: Convergence, label: str) -> str:
    """The cosine over the number of pictures (logarithmic): a line for the best n, a band for any n."""
    most = math.log(shown.counts[-1]) or 1.0
    places = [math.log(count) / most for count in shown.counts]
    floor = max(0.0, math.floor(10 * min((*shown.low, *shown.first))) / 10)

    def height(value: float) -> float:
        return (value - floor) / (1 - floor or 1)

    upper = zip(places, map(height, shown.high), strict=True)
    lower = zip(reversed(places), map(height, reversed(shown.low)), strict=True)
    band = " ".join(_point(*each) for each in (*upper, *lower))
    line = " ".join(_point(*each) for each in zip(places, map(height, shown.first), strict=True))
    decades = [10**power for power in range(7) if 10**power <= shown.counts[-1]]
    ticks = [(math.log(each) / most, f"{each:,}") for each in {*decades, shown.counts[-1]}]
    parts = [f'<polygon class="band" points="{band}"/>', f'<polyline class="line" points="{line}"/>']
    axes = [*_x_axis(sorted(ticks), "pictures"), *_y_axis(_even(floor, 1.0), "cosine to the mean of all")]
    return _plot([*parts, *axes], label)


def _plot(parts: Iterable[str], label: str) -> str:
    box = f'viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(label)}"'
    return f'<svg class="plot" {box}>{"".join(parts)}</svg>'


def _place(x: float, y: float) -> tuple[float, float]:
    """A place in the plotted box, x and y from 0 to 1, in the drawing's own units, from its upper left."""
    return _LEFT + x * (_WIDTH - _LEFT - _RIGHT), _TOP + (1 - y) * (_HEIGHT - _TOP - _BOTTOM)


def _point(x: float, y: float) -> str:
    """The same as a point of a line."""
    across, down = _place(x, y)
    return f"{across:.1f},{down:.1f}"


def _bar(kind: str, left: float, right: float, height: float) -> str:
    (x, y), (end, floor) = _place(left, height), _place(right, 0.0)
    size = f'width="{max(0.5, end - x - 1):.1f}" height="{floor - y:.1f}"'
    return f'<rect class="{kind}" x="{x:.1f}" y="{y:.1f}" {size}/>'


def _even(low: float, high: float) -> list[tuple[float, str]]:
    """Ticks from `low` to `high`: places from 0 to 1, and what stands there."""
    places = [each / (_TICKS - 1) for each in range(_TICKS)] if high > low else [0.0]
    return [(place, _shown(low + place * (high - low))) for place in places]


def _shown(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 10 else f"{value:.3g}"


def _x_axis(ticks: Sequence[tuple[float, str]], name: str) -> list[str]:
    below = _text(_place(0.5, 0), name, "middle", 0, 40)
    return [below, *(_text(_place(place, 0), text, "middle", 0, 20) for place, text in ticks)]


def _y_axis(ticks: Sequence[tuple[float, str]], name: str) -> list[str]:
    lines = [
        f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        for y in (_place(0, place)[1] for place, _ in ticks)
    ]
    above = _text(_place(0, 1), name, "start", 0, -12)
    return [*lines, above, *(_text(_place(0, place), text, "end", -6, 4) for place, text in ticks)]


def _text(place: tuple[float, float], text: str, anchor: str, right: int, down: int) -> str:
    x, y = place
    return f'<text x="{x + right:.1f}" y="{y + down:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
