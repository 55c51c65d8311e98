"""Rows found by link or hash among millions, and no more read than is wanted."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pages import served
from published_vectors import published, url

from visunex.pipeline.errors import EncodeError
from visunex.pipeline.vectors.lookup import Hit, Wanted, find, read_rows
from visunex.pipeline.vectors.remote_store import open_folder


@pytest.mark.parametrize("over_http", [False, True])
@pytest.mark.parametrize("kind", ["<f2", "<f4"])
def test_the_rows_wanted_are_found_wherever_they_lie(tmp_path: Path, kind: str, over_http: bool) -> None:
    vectors = published(tmp_path / "v", (100, 130, 50), kind)
    numbers = [279, 0, 99, 100, 101, 229, 230, 5, 4, 7000, 0]
    pages = {f"/v/{file.relative_to(tmp_path / 'v')}": file for file in (tmp_path / "v").rglob("*.*")}
    with served(pages) as address:
        folder = open_folder(f"{address}/v" if over_http else str(tmp_path / "v"))
        found = find(folder, Wanted([url(number) for number in numbers]))
        assert (found.by, found.rows) == ("url", 280)
        assert sorted(found.hits) == [0, 1, 2, 3, 4, 5, 6, 7, 8, 10]
        ranks = list(found.hits)
        read = read_rows(folder, [found.hits[rank] for rank in ranks])
    assert (read == vectors[[numbers[rank] for rank in ranks]].astype(np.float32)).all()


def test_rows_are_found_by_hash_where_there_is_no_link(tmp_path: Path) -> None:
    published(tmp_path, (60,), url=[])
    folder = open_folder(str(tmp_path))
    found = find(folder, Wanted([None, None], [7919 * 12, None]))
    assert (found.by, found.hits[0].row) == ("hash", 12)
    with pytest.raises(EncodeError, match="no column url, nor a hash"):
        find(folder, Wanted([url(1)]))
    with pytest.raises(EncodeError, match="another kind"):
        find(folder, Wanted([None], ["text"]))


@pytest.mark.parametrize(
    "kind",
    [
        pa.large_string(), pa.string_view(), pa.binary(), pa.large_binary(),
        pa.dictionary(pa.int32(), pa.string()),
    ],
    ids=str,
)  # fmt: skip
def test_links_of_every_type_for_text_are_found(tmp_path: Path, kind: pa.DataType) -> None:
    published(tmp_path, (60,))
    path = tmp_path / "metadata/metadata_0.parquet"
    links = pa.array([url(number) for number in range(59)] + [None])
    column = links.dictionary_encode() if pa.types.is_dictionary(kind) else links.cast(kind)
    pq.write_table(pa.table({"url": column}), path)
    found = find(open_folder(str(tmp_path)), Wanted([url(7), None, url(58), url(59)]))
    assert {rank: hit.row for rank, hit in found.hits.items()} == {0: 7, 2: 58}


@pytest.mark.parametrize("over_http", [False, True])
def test_arrays_in_fortran_order_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, over_http: bool
) -> None:
    monkeypatch.setattr("visunex.pipeline.vectors.lookup._BLOCK", 1000)
    vectors = published(tmp_path / "v", (60,))
    np.save(tmp_path / "v/img_emb/img_emb_0.npy", np.asfortranarray(vectors))
    pages = {f"/v/{file.relative_to(tmp_path / 'v')}": file for file in (tmp_path / "v").rglob("*.*")}
    with served(pages) as address:
        folder = open_folder(f"{address}/v" if over_http else str(tmp_path / "v"))
        read = read_rows(folder, [Hit(0, row, None) for row in (59, 0, 7)])
    assert (read == vectors[[59, 0, 7]].astype(np.float32)).all()


def test_over_http_little_more_than_the_rows_is_moved(tmp_path: Path) -> None:
    """1000 of 20000 vectors: at most three times their size, beside the one column of metadata."""
    vectors = published(tmp_path, (20_000,), width=768, caption=["a caption of some length"] * 20_000)
    numbers = np.random.default_rng(1).choice(20_000, 1000, replace=False).tolist()
    pages = {f"/{file.relative_to(tmp_path)}": file for file in tmp_path.rglob("*.*")}
    with served(pages) as address:
        folder = open_folder(str(address))
        found = find(folder, Wanted([url(number) for number in numbers]))
        of_metadata = address.bytes_sent
        address.sent.clear()
        read = read_rows(folder, [found.hits[rank] for rank in range(1000)])
        assert address.bytes_sent <= 3 * 1000 * 768 * 2
    assert (read == vectors[numbers].astype(np.float32)).all()
    file = pq.ParquetFile(tmp_path / "metadata/metadata_0.parquet").metadata
    at = file.schema.names.index("url")
    column = sum(
        file.row_group(group).column(at).total_compressed_size for group in range(file.num_row_groups)
    )
    assert of_metadata <= column + 2 * file.serialized_size + 3 * 65536
