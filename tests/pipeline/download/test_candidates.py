"""What is known of candidates beforehand: withdrawn links, hashes of files, columns for the shards."""

import hashlib
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from visunex.pipeline.download.candidates import Candidates, load_candidates
from visunex.pipeline.errors import DownloadError, UsageError
from visunex.recipes import Download

URLS = [f"http://example.org/{number}.jpg" for number in range(5)]


def load(path: Path, columns: dict[str, Any] | None = None, **settings: Any) -> Candidates:
    pq.write_table(
        pa.table({"url": URLS, "caption": list("abcde"), **(columns or {})}), path / "selected.parquet"
    )
    return load_candidates(path / "selected.parquet", Download(**{"shard_size": 10, **settings}))


def test_shards_and_keys_are_img2datasets(tmp_path: Path) -> None:
    candidates = load(tmp_path)
    assert (candidates.count, candidates.shards, candidates.ranks(0)) == (5, 1, range(5))
    assert candidates.key(3) == "000003"
    assert load(tmp_path, shard_size=1000).key(3) == "00000003"


def test_columns_that_json_holds_go_into_the_shards(tmp_path: Path) -> None:
    from datetime import datetime

    columns = {
        "width": [1] * 5, "key": list("abcde"), "score": [0.5] * 5, "seen": [datetime(2026, 1, 1)] * 5,
        "raw": [b"x"] * 5, "safe": [True] * 5, "status": ["x"] * 5,
    }  # fmt: skip
    assert load(tmp_path, columns).columns == ("score", "safe", "caption", "url")


@pytest.mark.parametrize("name", ["txt", "parquet", "hashes"])
def test_withdrawn_links(tmp_path: Path, name: str) -> None:
    md5 = hashlib.md5(URLS[2].encode()).hexdigest().upper()
    sha256 = hashlib.sha256(URLS[4].encode()).hexdigest()
    path = tmp_path / f"withdrawn.{name}"
    if name == "parquet":
        pq.write_table(
            pa.table({"url": [URLS[0], None, None], "md5": [None, md5, None], "n": [1, 2, 3]}), path
        )
    else:
        path.write_text(f"\ufeff{URLS[0]}\r\n  {md5} \n{sha256 if name == 'hashes' else ''}\n")
    excluded = load(tmp_path, exclude_urls=str(path)).excluded
    assert sorted(excluded) == ([0, 2, 4] if name == "hashes" else [0, 2])
    assert set(excluded.values()) == {"excluded: withdrawn (--exclude-urls)"}


def test_a_list_of_withdrawn_links_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--exclude-urls: .*nowhere.txt cannot be read: No such file"):
        load(tmp_path, exclude_urls=str(tmp_path / "nowhere.txt"))
    (tmp_path / "broken.parquet").write_bytes(b"PAR1")
    with pytest.raises(UsageError, match="--exclude-urls"):
        load(tmp_path, exclude_urls=str(tmp_path / "broken.parquet"))


def test_hashes_of_files(tmp_path: Path) -> None:
    hashes = ["A" * 32, None, "b" * 32, "", "c" * 32]
    candidates = load(tmp_path, {"file_md5": hashes}, verify_hash="file_md5:md5")
    assert candidates.expected == {0: "a" * 32, 2: "b" * 32, 4: "c" * 32}
    assert candidates.of_shard(candidates.expected, 0) == candidates.expected
    assert candidates.hash_type == "md5"


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (
            {"hash": [1, 2, 3, 4, 5]},
            r"column hash holds int64, no sha256 of a picture's file; in LAION's sets",
        ),
        ({"hash": list("abcde")}, r"column hash holds 'a', which is no sha256"),
        ({}, r"there is no column hash, only url, caption"),
    ],
)
def test_hashes_that_are_none(tmp_path: Path, column: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        load(tmp_path, column, verify_hash="hash:sha256")


def test_a_selection_without_links(tmp_path: Path) -> None:
    pq.write_table(pa.table({"link": ["http://a"]}), tmp_path / "selected.parquet")
    with pytest.raises(DownloadError, match="has no column url, only link"):
        load_candidates(tmp_path / "selected.parquet", Download())
