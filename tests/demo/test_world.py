"""The demo world's metadata: LAION's columns, the same every time, with its share of dead links."""

import io
from collections import Counter

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from visunex.demo.scenes import render
from visunex.demo.world import World, metadata, metadata_bytes, placeholder

DEAD = {"missing", "forbidden", "truncated", "html", "placeholder", "hanging"}


@pytest.fixture(scope="module")
def world() -> World:
    return World()


def test_the_columns_are_those_of_improved_aesthetics(world: World) -> None:
    table = metadata("http://127.0.0.1:1", world)
    columns = "URL TEXT WIDTH HEIGHT similarity punsafe pwatermark AESTHETIC_SCORE hash"
    assert table.column_names == columns.split()
    assert table.num_rows == 3000


def test_it_is_the_same_every_time() -> None:
    small = World(rows=100)
    assert metadata_bytes("http://a", small) == metadata_bytes("http://a/", World(rows=100))
    assert metadata_bytes("http://a", small) != metadata_bytes("http://a", World(seed=7, rows=100))
    assert metadata("http://a", World(rows=200)).slice(0, 100).equals(metadata("http://a", small))


def test_links_are_distinct_and_point_to_the_server(world: World) -> None:
    urls = metadata("http://127.0.0.1:8767", world)["URL"].to_pylist()
    assert len(set(urls)) == 3000
    assert all(url.startswith("http://127.0.0.1:8767/pictures/") for url in urls)


def test_values_are_in_range_and_vary(world: World) -> None:
    rows = pq.read_table(io.BytesIO(metadata_bytes("http://a", world))).to_pandas()
    assert rows["AESTHETIC_SCORE"].between(6.5, 8.2).all()
    assert rows[["punsafe", "pwatermark", "similarity"]].stack().between(0, 1).all()
    assert rows["TEXT"].nunique() > 2000
    assert 0 < rows["TEXT"].isna().sum() < 60
    assert rows["hash"].nunique() == 3000
    assert (rows["hash"] < 0).any()


def test_fifteen_in_a_hundred_links_are_dead(world: World) -> None:
    fates = Counter(entry.fate for entry in world.entries)
    dead = sum(count for fate, count in fates.items() if fate in DEAD)
    assert 0.13 < dead / 3000 < 0.17
    assert min(fates.values()) > 10


def test_a_few_pictures_are_posted_twice(world: World) -> None:
    pictures = Counter((entry.scene, entry.extension, entry.size) for entry in world.entries)
    assert 10 < sum(count > 1 for count in pictures.values()) < 60


def test_the_files_are_pictures_of_their_scenes(world: World) -> None:
    for entry in world.entries[:30]:
        image = Image.open(io.BytesIO(entry.image_file()))
        assert image.format == {"jpg": "JPEG", "png": "PNG", "webp": "WEBP"}[entry.extension]
        assert image.size == (entry.size, entry.size)
        drawn = np.asarray(render(entry.scene, entry.size), dtype=float)
        pixels = np.asarray(image.convert("RGB"), dtype=float)
        assert abs(pixels - drawn).mean() < 10  # JPEG and WebP halve the colours


def test_the_placeholder_is_a_picture() -> None:
    assert Image.open(io.BytesIO(placeholder())).size == (120, 90)
