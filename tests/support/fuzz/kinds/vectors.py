"""Vectors of our own and of others: `.npy`, folders in clip-retrieval's layout, rows looked up in them."""

import io
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ..loader import Seed, loader


def _npy(array: np.ndarray, version: tuple[int, int] | None = None) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array, version=version, allow_pickle=False)
    return buffer.getvalue()


def _header_bent(header: bytes) -> bytes:
    return b"\x93NUMPY\x01\x00" + min(len(header), 65535).to_bytes(2, "little") + header + bytes(64)


def _arrays(_: Path) -> Iterable[Seed]:
    array = np.arange(1, 17, dtype=np.float32).reshape(4, 4)
    for each in (array, array.astype(np.float16), np.asfortranarray(array), array.astype(">f8"), array[0]):
        for version in ((1, 0), (2, 0), (3, 0)):
            yield Seed("x.npy", _npy(each, version))
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (4, 4), }    \n"
    yield Seed("x.npy", header, _header_bent, "text")


@loader("npy", _arrays)
def _array(path: Path) -> None:
    from visunex.pipeline.vectors.catalog import read_published

    read_published(str(path))


def _folder(folder: Path) -> Iterable[Seed]:
    from visunex.pipeline.shards.samples import Sample
    from visunex.pipeline.vectors.store import part_paths, write_part

    place = folder / "vectors"
    rng = np.random.default_rng(0)
    for number in (0, 1):
        part = part_paths(place, number)
        part.vectors.parent.mkdir(parents=True, exist_ok=True)
        part.metadata.parent.mkdir(parents=True, exist_ok=True)
        pictures = [
            Sample(
                f"{number}{row}",
                "a.tar: 1",
                Path("a.tar"),
                0,
                9,
                "a caption",
                f"https://h/{number}{row}",
                7.0,
            )
            for row in range(5)
        ]
        made = {"stamp": "s", "tower": "t", "identity": {"model": "m"}, "places": [], "without_vector": []}
        write_part(part, rng.normal(size=(5, 8)).astype(np.float32), pictures, made)
        yield Seed(str(part.vectors.relative_to(folder)), part.vectors.read_bytes())
        yield Seed(str(part.metadata.relative_to(folder)), part.metadata.read_bytes())


@loader("vector folder", _folder, share=0.5)
def _read_folder(path: Path) -> None:
    from visunex.pipeline.reduce.nearest_words import captions_of
    from visunex.pipeline.vectors.store import read_vectors

    found = read_vectors(path.parents[1])
    for batches in (found.units(), found.raw()):
        for batch in batches:
            assert batch.dtype == np.float32
    found.scores()
    found.identities()
    captions_of(sorted((path.parents[1] / "metadata").glob("*.parquet")))


@loader("vectors looked up", _folder, share=0.5)
def _look_up(path: Path) -> None:
    from visunex.pipeline.vectors.lookup import look_up, read_rows
    from visunex.pipeline.vectors.remote_store import open_folder

    folder = open_folder(str(path.parents[1]))
    found = look_up(
        folder, pa.table({"url": [f"https://h/{part}{row}" for part in (0, 1) for row in range(5)]})
    )
    read_rows(folder, list(found.hits.values()))


def _layouts(folder: Path) -> Iterable[Seed]:
    """Arrays in .npz beside parquet of the same name, and a column of lists in the parquet itself."""
    rows = np.random.default_rng(0).standard_normal((40, 8)).astype(np.float32)
    names = {"url": [f"https://h/{row}" for row in range(40)], "caption": ["a caption"] * 40}
    for name, pack in (("stored", np.savez), ("packed", np.savez_compressed)):
        place = folder / name
        place.mkdir()
        pack(place / "0.npz", l14_img=rows, b32_img=rows[:, :4])
        pq.write_table(pa.table(names), place / "0.parquet")
        for path in sorted(place.iterdir()):
            yield Seed(str(path.relative_to(folder)), path.read_bytes())
    (folder / "column").mkdir()
    for number, kind in enumerate((pa.list_(pa.float16()), pa.list_(pa.float64(), 8))):
        column = pa.array(rows.astype(np.float16 if number == 0 else np.float64).tolist(), kind)
        pq.write_table(
            pa.table({**names, "clip": column}), folder / "column" / f"{number}.parquet", row_group_size=9
        )
        yield Seed(f"column/{number}.parquet", (folder / "column" / f"{number}.parquet").read_bytes())


@loader("vectors in npz and columns", _layouts, share=0.5)
def _read_layout(path: Path) -> None:
    from visunex.pipeline.vectors.lookup import look_up, read_rows
    from visunex.pipeline.vectors.remote_store import open_folder

    inside = "column=clip" if path.parent.name == "column" else "key=l14_img"
    folder = open_folder(f"{path.parent}#vector-{inside}")
    found = look_up(folder, pa.table({"url": [f"https://h/{row}" for row in range(0, 40, 3)]}))
    read_rows(folder, list(found.hits.values()))
