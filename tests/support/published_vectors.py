"""Folders of vectors as clip-retrieval publishes them, for rows that are numbered."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

D = 768  # visunex-tiny's, too


def url(number: int) -> str:
    return f"http://pictures.example/{number:07d}.jpg"


def published(
    folder: Path, sizes: tuple[int, ...], kind: str = "<f2", raw: bool = False, width: int = D, **columns: Any
) -> np.ndarray:
    """A folder as clip-retrieval's inference writes it; returns its vectors."""
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(sum(sizes), width)) * 3
    vectors = (vectors if raw else vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(kind)
    begin = 0
    for number, size in enumerate(sizes):
        (folder / "img_emb").mkdir(parents=True, exist_ok=True)
        (folder / "metadata").mkdir(exist_ok=True)
        np.save(folder / f"img_emb/img_emb_{number}.npy", vectors[begin : begin + size])
        own = range(begin, begin + size)
        table = {
            "image_path": [f"{row:09d}" for row in own],
            "caption": [f"picture {row}" if row % 5 else None for row in own],
            "url": [url(row) for row in own],
            "hash": pa.array([row * 7919 for row in own], pa.int64()),
        }
        table |= {name: value[begin : begin + size] for name, value in columns.items()}
        kept = {name: value for name, value in table.items() if value is not None and len(value)}
        pq.write_table(pa.table(kept), folder / f"metadata/metadata_{number}.parquet", row_group_size=40)
        begin += size
    return vectors


def unit_mean(vectors: np.ndarray) -> np.ndarray:
    wide = vectors.astype(np.float64)
    mean = (wide / np.linalg.norm(wide, axis=1, keepdims=True)).mean(0)
    return mean / np.linalg.norm(mean)
