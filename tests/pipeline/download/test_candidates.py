"""What is known of candidates beforehand: withdrawn links, hashes of files, columns for the shards."""

import gzip
import hashlib
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from visunex.pipeline.download.candidates import Candidates, load_candidates, with_hash_of_set
from visunex.pipeline.errors import DownloadError, UsageError
from visunex.pipeline.metadata.withdrawn import Withdrawn
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


URL = "http://example.org/1.jpg"
ROWS = f"{URL},dmca,2025-01-01\nHTTP://Example.org:80/3.jpg#x,privacy,\n"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("lines.txt", f"# withdrawn\n  {URL} \n\nHTTP://EXAMPLE.org:80/3.jpg#part\n"),
        ("quoted.txt", f"\"{URL}\"\n'http://example.org/./3.jpg'\n"),
        ("columns.csv", f"url,reason,date\n{ROWS}"),
        ("last.csv", f"reason;url\ndmca;{URL}\n;http://example.org/3.jpg\n"),
        ("headless.csv", ROWS),
        ("columns.txt", f"url,reason,date\n{ROWS}"),
        ("columns.tsv", f'reason\turl\nhe said "no\t{URL}\nx\thttp://example.org/3.jpg\n'),
        (
            "lines.jsonl",
            json.dumps({"url": URL}) + "\n" + json.dumps({"a": [{"u": "http://example.org/3.jpg"}]}),
        ),
        ("array.json", json.dumps([URL, "http://example.org/3.jpg"], indent=1)),
        ("bare.json", json.dumps([{"url": URL}, {"url": "http://example.org/3.jpg"}])),
        (
            "hashes.txt",
            hashlib.md5(URL.encode()).hexdigest() + "\n" + hashlib.sha256(URLS[3].encode()).hexdigest(),
        ),
    ],
)
def test_a_list_of_withdrawn_links_may_have_any_form(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content)
    (tmp_path / f"{name}.gz").write_bytes(gzip.compress(content.encode()))
    for path in (name, f"{name}.gz"):
        candidates = load(tmp_path, exclude_urls=str(tmp_path / path))
        assert sorted(candidates.excluded) == [1, 3]
        assert candidates.withdrawn == Withdrawn(frozenset({1, 3}), 2, 2)


def test_a_candidates_link_is_compared_as_it_is_fetched(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text(
        "http://example.org/a?x=1&y=2\nhttp://example.org/b\nhttp://example.org/c\n"
    )
    urls = [
        " HTTP://example.org:80/b#top ",
        "http://example.org/a?x=1&amp;y=2",
        None,
        "http://example.org/bb",
        "no",
    ]
    candidates = load(tmp_path, {"url": urls}, exclude_urls=str(tmp_path / "list.txt"))
    assert candidates.withdrawn == Withdrawn(frozenset({0, 1}), 3, 2)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        (
            "a.txt",
            b"http://a.org/x\nexample.org/1.jpg\n",
            r"a\.txt, line 2: 'example.org/1.jpg' is neither an address",
        ),
        ("a.txt", b"0123456789abcdef0123456789abcdef01234567\n" * 2, "neither an address"),
        ("a.csv", b"url,why\nhttp://a.org/x,y\n,z\n", "line 3"),
        ("a.jsonl", b'{"url": 5}\n', "line 1"),
        ("a.jsonl", b"{url}\n", "cannot be read"),
        ("a.json", b"[" * 100_000, "cannot be read"),
        ("a.txt", b"\xff\xfeh\0t\0", "cannot be read"),
        ("a.txt.gz", gzip.compress(b"http://a.org/x\n", mtime=0)[:-9], "cannot be read"),
    ],
)
def test_lines_that_are_no_address_or_hash_are_refused(
    tmp_path: Path, name: str, content: bytes, said: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UsageError, match=said):
        load(tmp_path, exclude_urls=str(tmp_path / name))


def test_a_list_of_withdrawn_links_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--exclude-urls: .*nowhere.txt cannot be read: No such file"):
        load(tmp_path, exclude_urls=str(tmp_path / "nowhere.txt"))
    (tmp_path / "broken.parquet").write_bytes(b"PAR1")
    with pytest.raises(UsageError, match="--exclude-urls"):
        load(tmp_path, exclude_urls=str(tmp_path / "broken.parquet"))


@pytest.mark.parametrize(("kind", "digits"), [("md5", 32), ("sha256", 64), ("sha512", 128)])
def test_hashes_of_files(tmp_path: Path, kind: str, digits: int) -> None:
    hashes = ["A" * digits, None, "b" * digits, "", "c" * digits]
    candidates = load(tmp_path, {"file_hash": hashes}, verify_hash=f"file_hash:{kind}")
    assert candidates.expected == {0: "a" * digits, 2: "b" * digits, 4: "c" * digits}
    assert candidates.of_shard(candidates.expected, 0) == candidates.expected
    assert candidates.hash_type == kind


@pytest.mark.parametrize(
    ("source", "asked", "insisted"),
    [
        ("PD3M", None, "hash:md5"),
        ("PD12M", None, "hash:md5"),
        ("PD3M", "none", None),
        ("PD3M", "hash:sha512", "hash:sha512"),
        ("improved_aesthetics_6.5plus", None, None),
        ("my/own.parquet", None, None),
    ],
)
def test_hashes_that_the_catalogue_says_are_the_files(
    tmp_path: Path, source: str, asked: str | None, insisted: str | None
) -> None:
    load(tmp_path, {"hash": ["a" * 32] * 5})
    settings = Download(verify_hash=asked)
    assert with_hash_of_set(settings, source, tmp_path / "selected.parquet").verify_hash == insisted


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
