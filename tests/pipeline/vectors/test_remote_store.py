"""Folders of vectors that lie elsewhere, and what may be there in their place."""

from pathlib import Path

import pytest
from standin import Page, serving

from visunex.pipeline.errors import EncodeError, PipelineError
from visunex.pipeline.vectors.remote_store import open_folder


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
