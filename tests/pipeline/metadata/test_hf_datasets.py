"""Data sets through Hugging Face `datasets`: saved, in a folder, on the Hub."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from filtering import rows, select
from standin import Page, StandIn, serving
from standin_hub import publish

from visunex.pipeline.errors import SourceError
from visunex.pipeline.metadata.resolve import resolve_source

METADATA = rows("rose", None, 'a, "quoted" rose', "oak\nrose")
CSV = METADATA.write_csv().encode()


@pytest.fixture
def web() -> Iterator[StandIn]:
    with serving({}) as server:
        yield server


def data_set():  # type: ignore[no-untyped-def]
    datasets = pytest.importorskip("datasets")
    datasets.disable_progress_bars()
    return datasets.Dataset.from_polars(METADATA.with_columns(picture=pl.lit(b"not metadata")))


def test_a_folder_that_datasets_saved(tmp_path: Path) -> None:
    """Read as it is, without `datasets`: the files it names, not what else lies there."""
    data_set().save_to_disk(tmp_path / "saved", num_shards=2)
    (tmp_path / "saved/cache-0123.arrow").write_bytes(b"a leftover of map()")
    report, found = select(tmp_path / "run", tmp_path / "saved", keywords=["rose"])
    assert (report.rows, report.files) == (4, 2)
    assert found["caption"].to_list() == ["rose", 'a, "quoted" rose', "oak\nrose"]


def test_splits_that_datasets_saved(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    parts = {"train": data_set(), "test": data_set().select([0])}
    datasets.DatasetDict(parts).save_to_disk(tmp_path / "both")
    assert select(tmp_path / "a", tmp_path / "both")[0].rows == 4
    assert select(tmp_path / "b", tmp_path / "both/test")[0].rows == 1
    (tmp_path / "both/dataset_dict.json").write_text('{"splits": ["one", "two"]}')
    with pytest.raises(SourceError, match="several splits: give the folder of one, one, two"):
        resolve_source(str(tmp_path / "both"))
    (tmp_path / "both/dataset_dict.json").write_text('{"splits": [{}]}')
    with pytest.raises(SourceError, match="JSON files are broken"):
        resolve_source(str(tmp_path / "both"))


def loading_folder(path: Path) -> Path:
    """A folder in the form that `load_dataset` takes: two splits, and a script that must not run."""
    (path / "data").mkdir(parents=True)
    METADATA.write_csv(path / "data/train-0.csv")
    METADATA.head(1).write_csv(path / "data/test-0.csv")
    return path


def test_a_folder_through_datasets(tmp_path: Path) -> None:
    folder = loading_folder(tmp_path / "folder")
    report, found = select(tmp_path / "run", f"datasets://{folder}", keywords=["rose"])
    assert report.rows == 4
    assert found["caption"].to_list() == ["rose", 'a, "quoted" rose', "oak\nrose"]
    assert select(tmp_path / "test", f"datasets://{folder}?split=test")[0].rows == 1
    before = resolve_source(f"datasets://{folder}").identity
    METADATA.head(2).write_csv(folder / "data/test-0.csv")
    assert resolve_source(f"datasets://{folder}").identity != before


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("?split=none", "has no split 'none': name one of train, test"),
        ("?config=none", "cannot be read by datasets"),
        ("?other=1", "is not of the form datasets://OWNER/NAME"),
        ("/nowhere", "there is no folder"),
    ],
)
def test_what_datasets_cannot_read_is_said(tmp_path: Path, query: str, said: str) -> None:
    with pytest.raises(SourceError, match=said):
        select(tmp_path / "run", f"datasets://{loading_folder(tmp_path / 'folder')}{query}")


def test_a_script_in_a_data_set_never_runs(tmp_path: Path) -> None:
    folder = loading_folder(tmp_path / "evil")
    (folder / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    with pytest.raises(SourceError, match="scripts are no longer supported"):
        select(tmp_path / "run", f"datasets://{folder}")
    assert not (tmp_path / "ran").exists()


def test_without_the_extra_one_sentence_says_how_to_have_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(SourceError, match=r"not here: pip install 'visunex\[datasets\]'"):
        resolve_source(f"datasets://{tmp_path}")
    monkeypatch.undo()
    monkeypatch.setattr("importlib.metadata.version", lambda _: "3.6.0")
    with pytest.raises(SourceError, match=r"may run code .* pip install -U 'visunex\[datasets\]'"):
        resolve_source(f"datasets://{tmp_path}")


def test_a_name_on_the_hub_is_pinned_to_its_commit(
    web: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    monkeypatch.setenv("HF_ENDPOINT", web.address)
    publish(web, "someone/pictures", {"data/train.csv": CSV}, commit="abc")
    bare, named = resolve_source("someone/pictures"), resolve_source("datasets://someone/pictures")
    assert bare.identity == named.identity == [{"data set": "datasets://someone/pictures", "commit": "abc"}]
    with pytest.raises(SourceError, match="no such data set, or it is private"):
        resolve_source("someone/else")
    (tmp_path / "someone").mkdir()
    with pytest.raises(SourceError, match="no file, folder or known data set 'someone/pictures'"):
        resolve_source("someone/pictures")


def test_a_data_set_on_the_hub_through_datasets(web: StandIn, tmp_path: Path) -> None:
    """By the Hub's HTTP interface as `datasets` asks it, in a process that knows no other Hub."""
    commit, name = "0123456789012345678901234567890123456789", "data/train.csv"
    entry = {"type": "file", "path": name, "size": len(CSV), "oid": "f" * 40}
    about = {"id": "someone/pictures", "sha": commit, "siblings": [{"rfilename": name}], "private": False,
             "gated": False, "disabled": False, "tags": [], "downloads": 0, "likes": 0}  # fmt: skip
    base = "/api/datasets/someone/pictures"
    for page in (base, f"{base}/revision/main", f"{base}/revision/{commit}"):
        web.pages[page] = Page(json.dumps(about).encode())
    folder = {"type": "directory", "path": "data", "size": 0, "oid": "e" * 40}
    web.pages[f"{base}/tree/{commit}"] = Page(json.dumps([folder]).encode())
    web.pages[f"{base}/tree/{commit}/data"] = Page(json.dumps([entry]).encode())
    for absent in ("README.md", "pictures.py", ".huggingface.yaml", "dataset_infos.json"):
        page = Page(status=404, headers={"X-Error-Code": "EntryNotFound"})
        web.pages[f"/datasets/someone/pictures/resolve/{commit}/{absent}"] = page
    file = Page(CSV, headers={"ETag": f'"{"f" * 40}"', "X-Repo-Commit": commit})
    web.pages[f"/datasets/someone/pictures/resolve/{commit}/{name}"] = file
    environment = {
        **os.environ,
        "HF_ENDPOINT": web.address,
        "HF_HOME": str(tmp_path / "hub"),
        "HF_HUB_OFFLINE": "0",
    }
    command = [sys.executable, "-m", "visunex.pipeline", "filter", "someone/pictures"]
    command += ["--keywords", "rose", "--run", str(tmp_path / "run"), "--json"]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr + "\n".join(map(str, web.asked))
    assert json.loads(done.stdout)["selected"] == 3
