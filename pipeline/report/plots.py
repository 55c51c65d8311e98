"""Plots as SVG, drawn in the page's own colours, light and dark; nothing in them comes from a stranger."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

from .numbers import Convergence, Histogram

__all__ = ["Curve", "convergence_plot", "curves_plot", "histogram_plot"]

_WIDTH, _HEIGHT = 640, 250
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 12, 28, 50  # margins around the plotted box
_TICKS = 5
_COLOURS = 6  # of curves, as the page's style has them


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
    places = tuple(math.log(count) / most for count in shown.counts)
    floor = max(0.0, math.floor(10 * min((*shown.low, *shown.first))) / 10)
    decades = [10**power for power in range(7) if 10**power <= shown.counts[-1]]
    ticks = [(math.log(each) / most, f"{each:,}") for each in {*decades, shown.counts[-1]}]
    axes = [*_x_axis(sorted(ticks), "pictures"), *_y_axis(_even(floor, 1.0), "cosine to the mean of all")]
    curve = Curve("", places, shown.first, shown.low, shown.high)
    return _plot([*_drawn(curve, (0.0, 1.0), (floor, 1.0)), *axes], label)


@dataclass(frozen=True)
class Curve:
    """A line through points, and around it a band from `low` to `high`.

    Each point has one of the `labels`, or where there are none the line's end its `name`.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] = ()
    high: Sequence[float] = ()
    labels: Sequence[str] = ()


def curves_plot(curves: Sequence[Curve], x_name: str, y_name: str, label: str) -> str:
    """Curves over the same two axes, which reach from the least to the greatest of their values."""
    across, up = (
        (min(values), max(values))
        for values in (
            [each for curve in curves for each in curve.x],
            [each for curve in curves for each in (*curve.y, *curve.low, *curve.high)],
        )
    )
    lines = [part for number, curve in enumerate(curves) for part in _drawn(curve, across, up, number)]
    axes = [*_x_axis(_even(*across), x_name), *_y_axis(_even(*up), y_name)]
    return _plot([*lines, *axes], label)


def _drawn(curve: Curve, across: tuple[float, float], up: tuple[float, float], number: int = 0) -> list[str]:
    """A curve's band, its line or, where it is of one point, a dot, and its name."""

    def at(x: float, y: float) -> tuple[float, float]:
        return _within(x, across), _within(y, up)

    points = [at(*each) for each in zip(curve.x, curve.y, strict=True)]
    above = [at(*each) for each in zip(curve.x, curve.high or curve.y, strict=True)]
    below = [at(*each) for each in zip(curve.x, curve.low or curve.y, strict=True)]
    kind = f"n{number % _COLOURS}"
    parts = [f'<polyline class="line {kind}" points="{" ".join(_point(*each) for each in points)}"/>']
    if curve.low:
        band = " ".join(_point(*each) for each in (*above, *reversed(below)))
        parts.insert(0, f'<polygon class="band {kind}" points="{band}"/>')
    if curve.name:
        for x, y in (_place(*each) for each in points):
            parts.append(f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="3"/>')
    texts = zip(points, curve.labels, strict=True) if curve.labels else [(points[-1], curve.name)]
    return [*parts, *(_beside(point, text, number) for point, text in texts if text)]


def _beside(point: tuple[float, float], text: str, number: int) -> str:
    """A text beside a point, to the side on which there is room; above it, or below it at the top."""
    anchor, right = ("end", -6) if point[0] > 0.5 else ("start", 6)
    return _text(_place(*point), text, anchor, right, (14 if point[1] > 0.9 else -6) - 12 * (number % 2))


def _within(value: float, ends: tuple[float, float]) -> float:
    """Where from 0 to 1 a value lies between two ends; in the middle where these are one."""
    low, high = ends
    return (value - low) / (high - low) if high > low else 0.5


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
    ends = [(place, text, ("end", _RIGHT) if place == 1 else ("middle", 0)) for place, text in ticks]
    return [below, *(_text(_place(place, 0), text, *end, 20) for place, text, end in ends)]


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
