"""Grids of images: as the original drew them, and labelled, a column for each setting of a sweep."""

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

__all__ = ["labelled_grid", "tile"]

PAPER, INK = "white", "black"
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


def labelled_grid(
    rows: Sequence[Sequence[Image.Image]], columns: Sequence[str], row_labels: Sequence[str] = ()
) -> Image.Image:
    """Draw `rows` of images under the headings `columns`; a row's label, if any, stands above its row.

    All images are of one size. Labels that do not fit are shortened.
    """
    width, height = rows[0][0].size
    font = ImageFont.load_default(size=max(11, min(28, height // 16)))
    line = _line_height(font)
    above = line if any(row_labels) else 0
    across = GAP + len(columns) * (width + GAP)
    grid = Image.new("RGB", (across, GAP + line + len(rows) * (above + height + GAP)), PAPER)
    draw = ImageDraw.Draw(grid)
    for column, label in enumerate(columns):
        text = _shortened(label, width, font)
        left = GAP + column * (width + GAP) + (width - font.getlength(text)) / 2
        draw.text((left, GAP / 2), text, fill=INK, font=font)
    for number, row in enumerate(rows):
        top = GAP + line + number * (above + height + GAP)
        if above and row_labels[number]:
            draw.text((GAP, top), _shortened(row_labels[number], across - 2 * GAP, font), fill=INK, font=font)
        for column, image in enumerate(row):
            grid.paste(image, (GAP + column * (width + GAP), top + above))
    return grid


Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


def _line_height(font: Font) -> int:
    box = font.getbbox("Ájgy")
    return round(box[3]) + GAP


def _shortened(text: str, width: int, font: Font) -> str:
    """The text, or as much of it as fits `width` pixels with an ellipsis."""
    text = " ".join(text.split())
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "...") > width:
        text = text[:-1]
    return text + "..."
