"""How the demo world looks: one short drawing function for each subject and each kind of sky.

Everything is drawn in units of the picture's width (0..1, y downwards), on a canvas three times too large
that is then averaged down, so that edges are smooth at any size.
"""

from collections.abc import Callable, Sequence
from math import cos, pi, sin
from random import Random

from PIL import Image, ImageDraw

from .scene import FLOWER_COLOURS, FLOWER_HEART, Palette, Rgb

__all__ = ["SUBJECTS", "SUPERSAMPLING", "Pen", "backdrop", "garden"]

Point = tuple[float, float]

SUPERSAMPLING = 3
HORIZON = 0.66


class Pen:
    """Draws in unit coordinates on a Pillow canvas."""

    def __init__(self, image: Image.Image) -> None:
        self._draw = ImageDraw.Draw(image)
        self._scale = image.width

    def polygon(self, points: Sequence[Point], colour: Rgb) -> None:
        """A filled polygon."""
        self._draw.polygon([(x * self._scale, y * self._scale) for x, y in points], fill=colour)

    def line(self, points: Sequence[Point], colour: Rgb, width: float) -> None:
        """A line through the points, `width` in units."""
        pixels = [(x * self._scale, y * self._scale) for x, y in points]
        self._draw.line(pixels, fill=colour, width=max(1, round(width * self._scale)))

    def box(self, left: float, top: float, right: float, bottom: float, colour: Rgb) -> None:
        """A filled upright rectangle."""
        self.polygon([(left, top), (right, top), (right, bottom), (left, bottom)], colour)

    def disc(self, x: float, y: float, radius: float, colour: Rgb, squash: float = 1.0) -> None:
        """A filled circle, or with `squash` an ellipse that many times as tall as wide."""
        s, tall = self._scale, radius * squash
        self._draw.ellipse(((x - radius) * s, (y - tall) * s, (x + radius) * s, (y + tall) * s), fill=colour)


def mix(first: Rgb, second: Rgb, share: float) -> Rgb:
    """`first` with `share` (0..1) of `second` in it."""
    r, g, b = (round(a + (z - a) * share) for a, z in zip(first, second, strict=True))
    return r, g, b


def gradient(size: int, top: Rgb, bottom: Rgb, height: float) -> Image.Image:
    """A strip, `size` wide and `height * size` tall, from one colour to another."""
    column = Image.new("RGB", (1, 16))
    column.putdata([mix(top, bottom, step / 15) for step in range(16)])
    return column.resize((size, max(1, round(height * size))), Image.Resampling.BILINEAR)


# --- sky and ground -------------------------------------------------------------------------------------


def backdrop(palette: Palette, size: int, rng: Random) -> Image.Image:
    """Sky above the horizon, ground below it, and whatever is in the air."""
    image = Image.new("RGB", (size, size))
    horizon = HORIZON + rng.uniform(-0.02, 0.02)
    image.paste(gradient(size, *palette.sky, horizon + 0.02), (0, 0))
    image.paste(gradient(size, *palette.ground, 1.02 - horizon), (0, round(horizon * size)))
    pen = Pen(image)
    AIRS[palette.air](pen, palette, rng, horizon)
    return image


def clouds(pen: Pen, _palette: Palette, rng: Random, _horizon: float) -> None:
    """White puffs of three discs."""
    for _ in range(rng.randint(2, 4)):
        x, y, r = rng.uniform(0, 1), rng.uniform(0.05, 0.34), rng.uniform(0.04, 0.07)
        for dx, grow in ((-1.1, 0.75), (0.0, 1.0), (1.1, 0.7)):
            pen.disc(x + dx * r, y, r * grow, (250, 252, 255), squash=0.7)


def stars(pen: Pen, _palette: Palette, rng: Random, horizon: float) -> None:
    """Bright dots above the horizon."""
    for _ in range(rng.randint(16, 26)):
        bright = rng.randint(170, 255)
        pen.disc(
            rng.random(), rng.uniform(0, horizon - 0.05), rng.uniform(0.004, 0.011), (bright, bright, 235)
        )


def low_sun(pen: Pen, palette: Palette, rng: Random, horizon: float) -> None:
    """A sun half behind the horizon, to one side."""
    x, r = rng.choice((rng.uniform(0.08, 0.3), rng.uniform(0.7, 0.92))), rng.uniform(0.08, 0.11)
    for grow, share in ((1.6, 0.35), (1.0, 1.0)):
        pen.disc(x, horizon - 0.03, r * grow, mix(palette.sky[1], (255, 240, 150), share))
    pen.box(0, horizon, 1, horizon + 0.14, palette.ground[0])


def grid(pen: Pen, _palette: Palette, rng: Random, horizon: float) -> None:
    """A glowing floor in perspective."""
    glow, vanishing = (20, 150, 190), rng.uniform(0.35, 0.65)
    for step in range(-6, 7):
        pen.line([(vanishing + step * 0.06, horizon), (vanishing + step * 0.3, 1.0)], glow, 0.007)
    for row in (0.0, 0.04, 0.11, 0.22):
        pen.line([(0, horizon + row), (1, horizon + row)], glow, 0.007)


def falling(pen: Pen, rng: Random, colours: Sequence[Rgb], count: int, squash: float) -> None:
    """Small things all over the picture."""
    for _ in range(count):
        pen.disc(rng.random(), rng.random() * 0.92, rng.uniform(0.009, 0.016), rng.choice(colours), squash)


def leaves(pen: Pen, _palette: Palette, rng: Random, _horizon: float) -> None:
    """Falling leaves."""
    falling(pen, rng, ((214, 104, 20), (232, 160, 40), (170, 80, 24)), rng.randint(14, 22), 0.7)


def snow(pen: Pen, _palette: Palette, rng: Random, _horizon: float) -> None:
    """Snowflakes."""
    falling(pen, rng, ((255, 255, 255), (246, 250, 255)), rng.randint(24, 36), 1.0)


AIRS: dict[str, Callable[[Pen, Palette, Random, float], None]] = {
    "clouds": clouds, "stars": stars, "sun": low_sun, "grid": grid, "leaves": leaves, "snow": snow,
}  # fmt: skip


# --- subjects -------------------------------------------------------------------------------------------


def window(pen: Pen, palette: Palette, x: float, y: float, r: float) -> None:
    """A lit (or by day a dark) window around a point."""
    pen.box(x - r, y - r * 1.4, x + r, y + r * 1.4, palette.light)


def blossom(pen: Pen, x: float, y: float, radius: float, colour: Rgb, turn: float, petals: int = 5) -> None:
    """One flower head: a ring of petals around a yellow heart."""
    for petal in range(petals):
        angle = turn + 2 * pi * petal / petals
        pen.disc(x + 0.62 * radius * cos(angle), y + 0.62 * radius * sin(angle), 0.5 * radius, colour)
    pen.disc(x, y, radius * 0.34, FLOWER_HEART)


def flower(pen: Pen, palette: Palette, rng: Random) -> None:
    """One great bloom, or a bouquet of three."""
    base = rng.uniform(0.42, 0.58)
    heads = [(base + rng.uniform(-0.08, 0.08), rng.uniform(0.28, 0.38), rng.uniform(0.21, 0.27))]
    if rng.random() < 0.35:
        heads = [(base + dx, rng.uniform(0.24, 0.44), rng.uniform(0.13, 0.16)) for dx in (-0.25, 0.25, 0.0)]
    stem = mix(palette.leaf, (40, 140, 60), 0.3)
    for x, y, _ in heads:
        pen.line([(base, 0.9), (base + (x - base) * 0.4, 0.62), (x, y)], stem, 0.028)
    for side in (-1, 1):
        pen.polygon([(base, 0.84), (base + side * 0.1, 0.66), (base + side * 0.25, 0.64),
                     (base + side * 0.17, 0.76)], stem)  # fmt: skip
    for x, y, r in heads:
        colour, petals, turn = rng.choice(FLOWER_COLOURS), rng.randint(5, 8), rng.uniform(0, pi)
        blossom(pen, x, y, r * 1.04, mix(colour, (150, 0, 80), 0.35), turn + pi / petals, petals)
        blossom(pen, x, y, r, colour, turn, petals)


def tree(pen: Pen, palette: Palette, rng: Random) -> None:
    """A trunk under a crown of leaves in three shades."""
    x, foot, r = rng.uniform(0.35, 0.65), rng.uniform(0.76, 0.84), rng.uniform(0.16, 0.21)
    top = foot - rng.uniform(0.34, 0.42)
    pen.polygon([(x - 0.055, foot), (x - 0.025, top), (x + 0.025, top), (x + 0.055, foot)], palette.trunk)
    pen.line([(x, top + 0.14), (x + r * 0.8, top)], palette.trunk, 0.022)
    dark, bright = mix(palette.leaf, (0, 0, 0), 0.22), mix(palette.leaf, (255, 255, 190), 0.2)
    for tint, shift, grow in ((dark, 0.03, 1.0), (palette.leaf, 0.0, 0.95), (bright, -0.045, 0.55)):
        for dx, dy in ((-0.75, 0.15), (0.75, 0.15), (-0.38, -0.5), (0.42, -0.46), (0.0, 0.05)):
            pen.disc(x + dx * r + shift, top + dy * r + shift, r * 0.68 * grow, tint)


def turret(pen: Pen, palette: Palette, x: float, foot: float, top: float, half: float) -> None:
    """A tower with a pointed roof."""
    pen.box(x - half, top, x + half, foot, palette.wall)
    pen.box(x + half * 0.3, top, x + half, foot, palette.shade)
    pen.polygon([(x - half * 1.35, top), (x, top - half * 2.6), (x + half * 1.35, top)], palette.roof)
    window(pen, palette, x - half * 0.1, top + half * 1.3, half * 0.26)


def castle(pen: Pen, palette: Palette, rng: Random) -> None:
    """A keep, a crenellated wall, a gate, two towers."""
    x, foot, half = rng.uniform(0.42, 0.58), rng.uniform(0.74, 0.8), rng.uniform(0.22, 0.28)
    wall_top = foot - rng.uniform(0.24, 0.3)
    turret(pen, palette, x, foot, wall_top - rng.uniform(0.12, 0.2), rng.uniform(0.08, 0.11))
    pen.box(x - half, wall_top, x + half, foot, palette.wall)
    teeth = 7
    for tooth in range(0, teeth, 2):
        left = x - half + 2 * half * tooth / teeth
        pen.box(left, wall_top - 0.035, left + 2 * half / teeth, wall_top + 0.01, palette.wall)
    pen.box(x - half, foot - 0.05, x + half, foot, palette.shade)
    for side in (-1, 1):
        turret(
            pen, palette, x + side * half, foot, wall_top - rng.uniform(0.03, 0.12), rng.uniform(0.07, 0.09)
        )
    pen.disc(x, foot - 0.12, 0.055, mix(palette.trunk, (0, 0, 0), 0.4))
    pen.box(x - 0.055, foot - 0.12, x + 0.055, foot, mix(palette.trunk, (0, 0, 0), 0.4))
    window(pen, palette, x - half * 0.5, foot - 0.16, 0.02)
    window(pen, palette, x + half * 0.5, foot - 0.16, 0.02)


def peak(pen: Pen, palette: Palette, rng: Random, x: float, top: float, half: float, foot: float) -> None:
    """One mountain with its shaded side and a ragged cap of snow."""
    pen.polygon([(x - half, foot), (x, top), (x + half, foot)], palette.wall)
    pen.polygon(
        [(x, top), (x + half, foot), (x + half * 0.1, foot), (x - half * 0.08, top + 0.2)], palette.shade
    )
    snowline, k = rng.uniform(0.11, 0.17), half / (foot - top)
    ragged = [(x + k * snowline * t, top + snowline + (0.03 if i % 2 else -0.015))
              for i, t in enumerate((0.82, 0.4, 0.0, -0.4, -0.82))]  # fmt: skip
    pen.polygon(
        [(x, top), (x + k * snowline, top + snowline), *ragged, (x - k * snowline, top + snowline)],
        palette.cap,
    )


def mountain(pen: Pen, palette: Palette, rng: Random) -> None:
    """A high peak between two lower ones."""
    x, foot = rng.uniform(0.36, 0.64), rng.uniform(0.7, 0.76)
    for side in (-1, 1):
        shift = side * rng.uniform(0.26, 0.38)
        peak(pen, palette, rng, x + shift, rng.uniform(0.32, 0.44), rng.uniform(0.26, 0.34), foot)
    peak(pen, palette, rng, x, rng.uniform(0.1, 0.2), rng.uniform(0.36, 0.46), foot)


def waves(pen: Pen, palette: Palette, rng: Random, top: float) -> None:
    """A sea in the palette's own blue, from `top` to the lower edge."""
    deep = mix(palette.sky[0], (20, 80, 130), 0.6)
    pen.box(0, top, 1, 1, deep)
    crest = mix(deep, palette.cap, 0.4)
    for _ in range(rng.randint(9, 13)):
        x, y, w = rng.random(), rng.uniform(top + 0.03, 0.99), rng.uniform(0.04, 0.1)
        pen.line([(x - w, y), (x, y - 0.012), (x + w, y)], crest, 0.011)


def ship(pen: Pen, palette: Palette, rng: Random) -> None:
    """A sailing ship on the sea."""
    waves(pen, palette, rng, HORIZON)
    x, deck, half = rng.uniform(0.4, 0.6), rng.uniform(0.62, 0.68), rng.uniform(0.23, 0.29)
    way, top = rng.choice((-1, 1)), deck - rng.uniform(0.42, 0.5)
    pen.line([(x, deck), (x, top)], palette.trunk, 0.024)
    sail = mix(palette.wall, palette.cap, 0.6)
    pen.polygon(
        [(x + way * 0.02, top + 0.02), (x + way * 0.27, deck - 0.06), (x + way * 0.02, deck - 0.05)], sail
    )
    pen.polygon([(x - way * 0.02, top + 0.08), (x - way * 0.2, deck - 0.07), (x - way * 0.02, deck - 0.05)],
                mix(sail, palette.shade, 0.4))  # fmt: skip
    keel = deck + 0.12
    pen.polygon(
        [(x - half, deck), (x + half, deck), (x + half * 0.7, keel), (x - half * 0.7, keel)], palette.trunk
    )
    pen.line([(x - half, deck + 0.012), (x + half, deck + 0.012)], palette.roof, 0.024)
    pen.polygon([(x, top), (x - way * 0.09, top + 0.03), (x, top + 0.06)], palette.roof)


def moon(pen: Pen, palette: Palette, rng: Random) -> None:
    """A great moon with craters and a halo."""
    x, y, r = rng.uniform(0.36, 0.64), rng.uniform(0.28, 0.36), rng.uniform(0.2, 0.25)
    pen.disc(x, y, r * 1.18, mix(palette.sky[0], palette.disc, 0.35))
    pen.disc(x, y, r, palette.disc)
    crater = mix(palette.disc, mix(palette.sky[0], (90, 90, 90), 0.4), 0.28)
    for _ in range(rng.randint(4, 6)):
        angle, away = rng.uniform(0, 2 * pi), rng.uniform(0.1, 0.65) * r
        pen.disc(x + away * cos(angle), y + away * sin(angle), rng.uniform(0.1, 0.22) * r, crater)


def house(pen: Pen, palette: Palette, rng: Random) -> None:
    """A house with a gable, a chimney, two windows."""
    x, foot, half = rng.uniform(0.42, 0.58), rng.uniform(0.78, 0.82), rng.uniform(0.2, 0.26)
    top = foot - rng.uniform(0.22, 0.27)
    chimney = x + rng.choice((-1, 1)) * half * 0.55
    pen.box(chimney - 0.035, top - 0.2, chimney + 0.035, top, palette.shade)
    pen.box(x - half, top, x + half, foot, palette.wall)
    pen.box(x - half, foot - 0.035, x + half, foot, palette.shade)
    ridge = top - rng.uniform(0.2, 0.26)
    pen.polygon([(x - half * 1.22, top), (x, ridge), (x + half * 1.22, top)], palette.roof)
    pen.box(x - 0.045, foot - 0.14, x + 0.045, foot, palette.trunk)
    for side in (-1, 1):
        window(pen, palette, x + side * half * 0.6, top + 0.1, 0.04)


def lighthouse(pen: Pen, palette: Palette, rng: Random) -> None:
    """A striped tower on a rock, its beam to one side."""
    x, foot = rng.uniform(0.38, 0.62), rng.uniform(0.74, 0.8)
    top, low, high = foot - rng.uniform(0.46, 0.52), rng.uniform(0.095, 0.115), rng.uniform(0.06, 0.075)
    beam, way = mix(palette.sky[1], (255, 244, 170), 0.7), rng.choice((-1, 1))
    pen.polygon([(x, top - 0.05), (x + way * 0.7, top - 0.17), (x + way * 0.7, top + 0.04)], beam)
    pen.disc(x, foot + 0.02, 0.26, palette.shade, squash=0.3)
    stripes = 5
    for stripe in range(stripes):
        upper, lower = stripe / stripes, (stripe + 1) / stripes
        a, b = high + (low - high) * upper, high + (low - high) * lower
        t, u = top + (foot - top) * upper, top + (foot - top) * lower
        tint = palette.roof if stripe % 2 == 0 else palette.cap
        pen.polygon([(x - a, t), (x + a, t), (x + b, u), (x - b, u)], tint)
    pen.box(x - high * 1.3, top - 0.015, x + high * 1.3, top + 0.012, palette.trunk)
    pen.box(x - high * 0.7, top - 0.09, x + high * 0.7, top - 0.015, (255, 236, 130))
    pen.polygon([(x - high, top - 0.09), (x, top - 0.16), (x + high, top - 0.09)], palette.trunk)


SUBJECTS: dict[str, Callable[[Pen, Palette, Random], None]] = {
    "flower": flower, "tree": tree, "castle": castle, "mountain": mountain,
    "ship": ship, "moon": moon, "house": house, "lighthouse": lighthouse,
}  # fmt: skip


def garden(pen: Pen, palette: Palette, rng: Random) -> None:
    """Rows of flowers over a hedge along the lower edge, nearer ones larger."""
    hedge = mix(palette.leaf, (30, 110, 50), 0.45)
    for step in range(7):
        pen.disc(step / 6, 1.0 + rng.uniform(-0.02, 0.02), 0.14, hedge, squash=rng.uniform(1.0, 1.3))
    for y, radius, count in ((0.83, 0.054, 5), (0.93, 0.074, 5)):
        start = rng.uniform(0.0, 0.1)
        for spot in range(count):
            x, dy = start + (spot + rng.uniform(-0.25, 0.25)) / (count - 0.6), rng.uniform(-0.035, 0.035)
            blossom(
                pen,
                x,
                y + dy,
                radius * rng.uniform(0.85, 1.2),
                rng.choice(FLOWER_COLOURS),
                rng.uniform(0, pi),
            )
