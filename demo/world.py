"""The demo world as a data set: 3000 pictures somewhere on a web, and metadata that lists them.

The metadata has the columns of LAION's improved_aesthetics_6.5plus. What becomes of each link is decided by
the world's seed, so that every run meets the same dead ones.
"""

import hashlib
import io
from dataclasses import dataclass
from functools import cached_property, lru_cache
from random import Random
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args

from .scenes import Scene, caption, random_scene, render

if TYPE_CHECKING:
    import pyarrow as pa
    from PIL import Image

T = TypeVar("T")

__all__ = ["FATES", "Entry", "Fate", "World", "metadata", "metadata_bytes", "placeholder"]

ROWS = 3000
SEED = 6

Fate = Literal[
    "fine", "redirect", "flaky", "missing", "forbidden", "truncated", "html", "placeholder", "hanging"
]
FATES: tuple[Fate, ...] = get_args(Fate)
# 15 % of the links are dead for good; `redirect` and `flaky` (500 at first) only look so.
_SHARES = (0.79, 0.03, 0.03, 0.045, 0.03, 0.025, 0.02, 0.02, 0.01)
_FORMATS = {"jpg": 0.6, "png": 0.2, "webp": 0.2}
_SIZES = {64: 0.7, 96: 0.2, 128: 0.1}
_SAVE: dict[str, dict[str, Any]] = {
    "jpg": {"format": "JPEG", "quality": 92},
    "png": {"format": "PNG"},
    "webp": {"format": "WEBP", "quality": 92},
}


@dataclass(frozen=True)
class Entry:
    """One row: a picture (`scene` at `size` x `size` pixels), its caption, and what becomes of its link."""

    row: int
    scene: Scene
    text: str | None
    extension: str
    size: int
    fate: Fate

    @property
    def path(self) -> str:
        """The path of the picture's URL."""
        return f"/pictures/{self.row:05d}.{self.extension}"

    def image_file(self) -> bytes:
        """The picture's file."""
        return encoded(render(self.scene, self.size), self.extension)


def encoded(image: "Image.Image", extension: str) -> bytes:
    """A Pillow image as the bytes of a file of that kind (`jpg`, `png` or `webp`)."""
    buffer = io.BytesIO()
    image.save(buffer, **_SAVE[extension])
    return buffer.getvalue()


@dataclass(frozen=True)
class World:
    """`rows` pictures and their links, all decided by `seed`."""

    seed: int = SEED
    rows: int = ROWS

    @cached_property
    def entries(self) -> tuple[Entry, ...]:
        """Every row. One in a hundred is a repost: the picture of an earlier row at another address."""
        entries: list[Entry] = []
        for row in range(self.rows):
            rng = Random(f"{self.seed}/{row}")  # noqa: S311
            entry = _entry(row, rng)
            if entries and rng.random() < 0.01:
                original = rng.choice(entries)
                entry = Entry(row, original.scene, entry.text, original.extension, original.size, entry.fate)
            entries.append(entry)
        return tuple(entries)

    @property
    def identity(self) -> dict[str, int]:
        """What tells one world's server from another's."""
        return {"visunex_demo_world": 1, "seed": self.seed, "rows": self.rows}


def _entry(row: int, rng: Random) -> Entry:
    scene = random_scene(rng)
    text = caption(scene, rng) if rng.random() < 0.995 else None  # some pictures of the web have no caption
    return Entry(row, scene, text, _pick(rng, _FORMATS), _pick(rng, _SIZES), rng.choices(FATES, _SHARES)[0])


def _pick(rng: Random, weights: dict[T, float]) -> T:
    return rng.choices(list(weights), list(weights.values()))[0]


def metadata(base_url: str, world: World | None = None) -> "pa.Table":
    """The world's metadata with links to `base_url`, in the columns of improved_aesthetics_6.5plus.

    URL, TEXT (null in places), WIDTH, HEIGHT, similarity, punsafe, pwatermark, AESTHETIC_SCORE, hash.
    """
    import pyarrow as pa

    world = world or World()
    schema = pa.schema(
        {
            "URL": pa.string(),
            "TEXT": pa.string(),
            "WIDTH": pa.int64(),
            "HEIGHT": pa.int64(),
            "similarity": pa.float64(),
            "punsafe": pa.float64(),
            "pwatermark": pa.float64(),
            "AESTHETIC_SCORE": pa.float64(),
            "hash": pa.int64(),
        }
    )
    return pa.Table.from_pylist([_row(base_url, world, entry) for entry in world.entries], schema=schema)


def _row(base_url: str, world: World, entry: Entry) -> dict[str, object]:
    rng = Random(f"{world.seed}/{entry.row}/scores")  # noqa: S311
    url = base_url.rstrip("/") + entry.path
    return {
        "URL": url,
        "TEXT": entry.text,
        "WIDTH": entry.size,
        "HEIGHT": entry.size,
        "similarity": round(rng.gauss(0.31, 0.03), 6),
        "punsafe": round(rng.random() ** 6, 6),
        "pwatermark": round(rng.random() ** 2, 6),
        "AESTHETIC_SCORE": round(6.5 + min(1.7, rng.expovariate(4)), 6),
        "hash": _signed_hash(f"{url}\n{entry.text}"),
    }


def _signed_hash(text: str) -> int:
    """As in LAION's sets: a number made from the link and the caption, and none of the picture's bytes."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big", signed=True)


def metadata_bytes(base_url: str, world: World | None = None) -> bytes:
    """`metadata` as the bytes of a parquet file; the same bytes for the same address and world."""
    import pyarrow.parquet as pq

    buffer = io.BytesIO()
    pq.write_table(metadata(base_url, world), buffer)
    return buffer.getvalue()


@lru_cache(maxsize=1)
def placeholder() -> bytes:
    """The one picture that a photo site serves in the place of all those it has deleted."""
    from PIL import Image, ImageDraw

    image = Image.new("RGB", (120, 90), (230, 230, 230))
    ImageDraw.Draw(image).text((10, 35), "no longer available", fill=(90, 90, 90))
    return encoded(image, "jpg")
