"""Folders of vectors that lie elsewhere, and what may be there in their place."""

from pathlib import Path

import pytest
from pages import served
from published_vectors import published
from standin import Page, serving

from visunex.pipeline.errors import EncodeError, PipelineError
from visunex.pipeline.vectors.remote_store import PublishedFolder, open_folder


def opened(folder: Path, over_http: bool) -> PublishedFolder:
    pages = {f"/v/{file.relative_to(folder)}": file for file in folder.rglob("*.*")}
    with served(pages) as address:
        return open_folder(f"{address}/v" if over_http else str(folder))


@pytest.mark.parametrize("over_http", [False, True])
def test_parts_are_found_whatever_their_numbers(tmp_path: Path, over_http: bool) -> None:
    published(tmp_path, (5, 5, 5, 5, 5, 5))
    for number in (0, 2, 3):
        (tmp_path / f"img_emb/img_emb_{number}.npy").unlink()
        (tmp_path / f"metadata/metadata_{number}.parquet").unlink()
    folder = opened(tmp_path, over_http)
    assert [part.number for part in folder.parts] == [1, 4, 5]
    assert folder.missing == [2, 3]


@pytest.mark.parametrize("over_http", [False, True])
@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("img_emb/img_emb_1.npy", "metadata_1.parquet has no partner: img_emb/img_emb_1 is not there"),
        ("metadata/metadata_2.parquet", "img_emb_2.npy has no partner: metadata/metadata_2 is not there"),
    ],
)
def test_a_part_without_its_partner_is_named(tmp_path: Path, over_http: bool, file: str, said: str) -> None:
    published(tmp_path, (5, 5, 5))
    (tmp_path / file).unlink()
    with pytest.raises(EncodeError, match=said):
        opened(tmp_path, over_http)


@pytest.mark.parametrize(
    ("page", "said"),
    [
        (Page(token="good"), "it is private or gated: accept its terms at .*, then set HF_TOKEN"),
        (Page(status=403), "it is private or gated"),
        (Page(status=503), "the server answers with status 503"),
        (Page(b"x", ranges=False), "only whole"),
        (Page(status=404), "holds no img_emb"),
    ],
)
def test_what_the_hub_may_say_instead_of_vectors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, page: Page, said: str
) -> None:
    monkeypatch.setattr("visunex.net.range_file._RETRIES", 0)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    place = "hf://datasets/someone/vectors/v"
    with serving({}) as web:
        monkeypatch.setenv("HF_ENDPOINT", web.address)
        web.pages["/datasets/someone/vectors/resolve/main/v/metadata/metadata_0.parquet"] = page
        with pytest.raises(EncodeError, match=said):
            open_folder(place)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(PipelineError, match="HF_HUB_OFFLINE is set"):
        open_folder(place)
