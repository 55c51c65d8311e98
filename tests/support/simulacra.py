"""A database and a tar of the shape of Simulacra Aesthetic Captions, drawn from the demo world."""

import io
import sqlite3
import tarfile
from dataclasses import dataclass
from pathlib import Path
from random import Random

from visunex.demo.world import World

SHAPE = """
CREATE TABLE generations(id INTEGER PRIMARY KEY, sid INTEGER, method INTEGER, prompt TEXT, verified INTEGER);
CREATE TABLE images(id INTEGER PRIMARY KEY, gid INTEGER, idx INTEGER);
CREATE TABLE paths(iid INTEGER, path TEXT);
CREATE TABLE ratings(sid INTEGER, iid INTEGER, rating INTEGER, verified INTEGER);
"""


@dataclass(frozen=True)
class Simulacra:
    """Where the two files lie, and what is in them: `pictures` by name, `ratings` (rater, image, rating)."""

    database: Path
    tar: Path
    pictures: dict[str, bytes]
    rows: int
    without: int


def simulacra(folder: Path, rows: int = 50) -> Simulacra:
    """`rows` images of which 28 in a hundred have no file; the demo world's flowers are rated best."""
    world = World(rows=rows)
    pictures: dict[str, bytes] = {}
    database = folder / "sac.sqlite"
    with sqlite3.connect(database) as connection:
        connection.executescript(SHAPE)
        for entry in world.entries:
            rng = Random(f"sac/{entry.row}")
            connection.execute("INSERT INTO generations VALUES (?, 1, 2, ?, 1)", (entry.row, entry.text))
            connection.execute("INSERT INTO images VALUES (?, ?, 0)", (entry.row, entry.row))
            if entry.row % 25 >= 7:  # 28 % have none
                name = f"{entry.row % 3:02d}/{entry.row:06d}.{entry.extension}"
                pictures[name] = entry.image_file()
                connection.execute("INSERT INTO paths VALUES (?, ?)", (entry.row, name))
            worst = 7 if "flower" in (entry.text or "") else 1
            for rater in range(rng.randrange(4)):
                rating = rng.randrange(worst, worst + 4)
                connection.execute("INSERT INTO ratings VALUES (?, ?, ?, 1)", (rater, entry.row, rating))
    connection.close()
    tar = folder / "sac.tar"
    with tarfile.open(tar, "w") as file:
        for name in sorted(pictures, reverse=True):
            add(file, f"sac/{name}", pictures[name])
    return Simulacra(database, tar, pictures, rows, rows - len(pictures))


def add(tar: tarfile.TarFile, name: str, data: bytes, **header: object) -> None:
    """Add a member with any header at all."""
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for key, value in header.items():
        setattr(info, key, value)
    tar.addfile(info, io.BytesIO(data))
