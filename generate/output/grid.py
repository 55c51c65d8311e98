"""Grids of images: as the original drew them, and labelled, a column for each setting of a sweep."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from PIL import Image

from .labels import Label, Scribe

__all__ = ["Grid", "labelled_grid", "tile"]

PAPER = "white"
GAP = 4


def tile(images: Sequence[Image.Image], per_row: int, padding: int = 2) -> Image.Image:
    """A grid as the original drew it: `per_row` images in a row, black lines of `padding` pixels about each.

    All images are of one size.
    """
    width, height = images[0].size
    columns = min(per_row, len(images))
    rows = -(-len(images) // columns)
    step = (width + padding, height + padding)
    grid = Image.new("RGB", (columns * step[0] + padding, rows * step[1] + padding))
    for place, image in enumerate(images):
        grid.paste(image, (padding + place % columns * step[0], padding + place // columns * step[1]))
    return grid


@dataclass(frozen=True)
class Grid:
    """A grid; `spelt` are labels whose letters no font here has, and what is written instead."""

    image: Image.Image
    spelt: Mapping[str, str] = field(default_factory=dict)


def labelled_grid(
    rows: Sequence[Sequence[Image.Image]], columns: Sequence[str], row_labels: Sequence[str] = ()
) -> Grid:
    """Draw `rows` of images under the headings `columns`; a row's label, if any, stands above its row.

    All images are of one size. Labels may be of any script; those that do not fit are shortened.
    """
    width, height = rows[0][0].size
    across = GAP + len(columns) * (width + GAP)
    scribe = Scribe((*columns, *row_labels), max(11, min(28, height // 16)))
    headings = [scribe.label(text, width) for text in columns]
    beside = [scribe.label(text, across - 2 * GAP) for text in row_labels if any(row_labels)]
    line, base = _line(scribe, headings)
    above, row_base = _line(scribe, beside)
    grid = Image.new("RGB", (across, GAP + line + len(rows) * (above + height + GAP)), PAPER)
    for column, label in enumerate(headings):
        left = GAP + column * (width + GAP) + (width - label.width) / 2
        label.draw(grid, left, GAP / 2 + base)
    for number, row in enumerate(rows):
        top = GAP + line + number * (above + height + GAP)
        if beside:
            beside[number].draw(grid, GAP, top + row_base)
        for column, image in enumerate(row):
            grid.paste(image, (GAP + column * (width + GAP), top + above))
    return Grid(grid, scribe.spelt)


def _line(scribe: Scribe, labels: Sequence[Label]) -> tuple[int, int]:
    """Height and baseline of a line of labels, with a gap below it; no room for none."""
    height, baseline = scribe.line(labels)
    return (height + GAP, baseline) if labels else (0, 0)
