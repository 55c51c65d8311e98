"""The columns of the selection beside those that every selection has."""

from pathlib import Path

import polars as pl
from filtering import rows, select


def test_own_columns_never_take_the_names_of_ours(tmp_path: Path) -> None:
    own = {"url": ["other"], "key": ["k"], "score": [1], "source_score": [2], "nested": [[1]]}
    frame = rows("rose").with_columns(**{name: pl.Series(values) for name, values in own.items()})
    frame.rename({"URL": "LINK"}).write_parquet(tmp_path / "m.parquet")
    _, selected = select(tmp_path / "run", tmp_path / "m.parquet", columns={"url": "LINK"})
    row = selected.row(0, named=True)
    assert row["url"].startswith("https://example.org")
    assert (row["source_url"], row["source_key"]) == ("other", "k")
    assert (row["source_score"], row["source_source_score"]) == (2, 1)
    assert row["nested"] == [1]
