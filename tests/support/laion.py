"""Metadata in the schemas that the LAION family is published in."""

from pathlib import Path
from typing import Any

import pyarrow as pa

from visunex.recipes import Recipe

V2 = {
    "URL": pa.string(), "TEXT": pa.string(), "WIDTH": pa.float64(), "HEIGHT": pa.float64(),
    "similarity": pa.float64(), "punsafe": pa.float64(), "pwatermark": pa.float64(),
    "AESTHETIC_SCORE": pa.float64(), "hash": pa.int64(), "__index_level_0__": pa.int64(),
}  # fmt: skip
V1 = {
    "URL": pa.string(), "TEXT": pa.string(), "WIDTH": pa.int32(), "HEIGHT": pa.int32(),
    "similarity": pa.float64(), "LANGUAGE": pa.string(), "hash": pa.int64(), "pwatermark": pa.float32(),
    "punsafe": pa.float32(), "aesthetic": pa.float32(),
}  # fmt: skip
FAMILY = {
    "improved_aesthetics_6.5plus": {
        **V2,
        **dict.fromkeys(("punsafe", "pwatermark", "AESTHETIC_SCORE"), pa.float32()),
    },
    "aesthetics_v2_4.75": V2,
    "laion-art": V1,
    "laion2B-en-aesthetic": {name: kind for name, kind in V1.items() if name != "LANGUAGE"},
    "laion-high-resolution": {name: kind for name, kind in V1.items() if name != "aesthetic"},
}
TEXTS = [None, "a flower in a garden", "Floral dress", "a castle", "flower", "plant pot"]


def table(schema: dict[str, pa.DataType]) -> pa.Table:
    """Six rows; the second to last has no width, and one caption is null."""
    values: dict[str, list[Any]] = {
        "URL": [f"http://x/{row}.jpg" for row in range(6)],
        "TEXT": TEXTS,
        "WIDTH": [512, 256, 1024, 512, None, 640],
        "HEIGHT": [512, 256, 1024, 512, 512, 640],
        "LANGUAGE": ["en"] * 6,
        "hash": [-5, 2**62, 3, 4, 5, 6],
        "__index_level_0__": [9, 8, 7, 6, 5, 4],
    }
    scores = [6.5, 6.6, 6.7, 6.8, 6.9, 7.0]
    return pa.table({name: pa.array(values.get(name, scores), kind) for name, kind in schema.items()})


def recipe(data: Path | str, **wanted: Any) -> Recipe:
    """A recipe that filters this data set so."""
    return Recipe.model_validate({"name": "test", "source": {"data": str(data)}, "filter": wanted})
