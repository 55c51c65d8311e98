"""What a scene of the demo world is: a subject in the colours of a palette, with or without flowers."""

from dataclasses import dataclass

__all__ = ["FLOWER_COLOURS", "FLOWER_HEART", "PALETTES", "Palette", "Rgb", "Scene"]

Rgb = tuple[int, int, int]

# The only pinks of this world. No palette has them and none tints them, so that a picture's share of them
# says how much of it is flowers without asking any model.
FLOWER_COLOURS: tuple[Rgb, ...] = ((255, 40, 140), (236, 30, 190), (255, 95, 175), (226, 16, 92))
FLOWER_HEART: Rgb = (255, 226, 90)


@dataclass(frozen=True)
class Palette:
    """The colours of one time of day or season; `air` names what is in the sky."""

    sky: tuple[Rgb, Rgb]
    ground: tuple[Rgb, Rgb]
    wall: Rgb
    shade: Rgb
    roof: Rgb
    leaf: Rgb
    trunk: Rgb
    light: Rgb
    cap: Rgb
    disc: Rgb
    air: str


PALETTES: dict[str, Palette] = {
    "day": Palette(
        sky=((70, 150, 236), (206, 234, 252)), ground=((134, 200, 92), (86, 160, 66)),
        wall=(232, 222, 200), shade=(184, 170, 150), roof=(176, 78, 52), leaf=(52, 136, 62),
        trunk=(120, 82, 50), light=(90, 120, 160), cap=(255, 255, 255), disc=(244, 246, 250), air="clouds",
    ),
    "night": Palette(
        sky=((8, 12, 44), (40, 52, 108)), ground=((30, 52, 66), (16, 30, 44)),
        wall=(104, 108, 150), shade=(68, 72, 112), roof=(66, 50, 108), leaf=(36, 92, 84),
        trunk=(58, 46, 54), light=(255, 214, 96), cap=(150, 164, 206), disc=(246, 240, 206), air="stars",
    ),
    "sunset": Palette(
        sky=((96, 78, 128), (255, 172, 72)), ground=((128, 78, 62), (74, 46, 56)),
        wall=(150, 100, 86), shade=(106, 68, 70), roof=(76, 44, 60), leaf=(84, 72, 50),
        trunk=(62, 38, 42), light=(255, 226, 130), cap=(255, 208, 150), disc=(255, 232, 170), air="sun",
    ),
    "neon": Palette(
        sky=((6, 4, 18), (18, 62, 92)), ground=((8, 26, 40), (4, 10, 22)),
        wall=(20, 190, 200), shade=(14, 110, 150), roof=(120, 255, 60), leaf=(60, 230, 90),
        trunk=(30, 130, 200), light=(6, 10, 30), cap=(190, 255, 90), disc=(90, 250, 240), air="grid",
    ),
    "autumn": Palette(
        sky=((214, 190, 146), (250, 232, 190)), ground=((206, 160, 76), (160, 112, 50)),
        wall=(198, 164, 122), shade=(154, 120, 86), roof=(128, 60, 30), leaf=(222, 116, 24),
        trunk=(92, 60, 36), light=(255, 236, 160), cap=(244, 226, 180), disc=(255, 246, 216), air="leaves",
    ),
    "winter": Palette(
        sky=((150, 172, 194), (220, 228, 234)), ground=((244, 248, 252), (208, 222, 236)),
        wall=(172, 180, 190), shade=(128, 138, 152), roof=(238, 244, 250), leaf=(108, 142, 140),
        trunk=(92, 86, 88), light=(255, 230, 170), cap=(255, 255, 255), disc=(250, 252, 255), air="snow",
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Scene:
    """What is in an image. `subject` is a key of `demo.drawing.SUBJECTS`, `palette` one of `PALETTES`."""

    subject: str
    palette: str
    garden: bool
    seed: int

    @property
    def has_flowers(self) -> bool:
        """Whether flowers can be seen: a garden, or the flower itself."""
        return self.garden or self.subject == "flower"
