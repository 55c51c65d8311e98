"""A full disk, for which a limit on the size of files stands: named, whichever library was writing."""

import resource
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner

from visunex.base.console import explain
from visunex.pipeline.cli import main
from visunex.pipeline.shards.samples import Sample
from visunex.pipeline.vectors.store import part_paths, read_provenance, write_part


@pytest.fixture
def limit() -> Iterator[Callable[[int], None]]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize(
    ("name", "command", "said"),
    [
        ("a.csv", "filter", "has no room for what is converted (File too large); make room"),
        ("a.arrow", "filter", "has no room for what is converted (File too large); make room"),
        ("a.parquet", "filter", "File too large: run/selected.parquet"),
        ("a.csv", "convert", "has no room for what is converted (File too large); make room"),
    ],
)
def test_metadata(
    name: str,
    command: str,
    said: str,
    limit: Callable[[int], None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    texts = [f"a flower {number * 7919 % 104729}" for number in range(3000)]
    rows = pl.DataFrame({"url": [f"http://x/{text}" for text in texts], "caption": texts})
    write = {"a.csv": rows.write_csv, "a.arrow": rows.write_ipc, "a.parquet": rows.write_parquet}[name]
    write(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    args = {"filter": ["filter", name, "--run", "run"], "convert": ["sources", "convert", name, "o.parquet"]}
    limit(4_000)
    done = CliRunner().invoke(main, args[command])
    assert done.exit_code == 1
    assert said in done.output
    assert "fault" not in done.output
    assert not [path for path in ("run/selected.parquet", "o.parquet") if Path(path).exists()]


@pytest.mark.parametrize(("count", "file"), [(100, "img_emb_0000.npy"), (8, "metadata_0000.parquet")])
def test_vectors(count: int, file: str, limit: Callable[[int], None], tmp_path: Path) -> None:
    samples = [Sample(str(n), f"{n}.jpg", tmp_path, 0, 1, f"caption {n * 7919}" * 99) for n in range(count)]
    part = part_paths(tmp_path, 0)
    limit(2_000)
    with pytest.raises(OSError, match="File too large") as caught:
        write_part(part, np.ones((count, 16), np.float32), samples, {})
    assert explain(caught.value).startswith("File too large: ")
    assert explain(caught.value).endswith(file)
    assert read_provenance(part) is None
    assert not [path for path in tmp_path.rglob("*.*") if path.name.startswith(".")]
