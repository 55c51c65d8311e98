"""Local metadata: found by path, folder and pattern, told by its contents; what is said where it is not."""

import json
from pathlib import Path

import pytest
from filtering import rows, select

from visunex.pipeline.errors import SourceError
from visunex.pipeline.metadata.resolve import resolve_source


@pytest.fixture
def metadata(tmp_path: Path) -> Path:
    """A folder with files beside and below each other, and others than parquet."""
    folder = tmp_path / "meta[data]"
    for n, place in enumerate(["a.parquet", "b.parquet", "below/c.parquet"]):
        path = folder / place
        path.parent.mkdir(parents=True, exist_ok=True)
        rows("rose", URL=[f"u{n}"]).write_parquet(path)
    (folder / "README.md").write_text("not metadata")
    return folder


@pytest.mark.parametrize(
    ("address", "count"),
    [("", 3), ("a.parquet", 1), ("below", 1), ("below/../b.parquet", 1)],
)
def test_a_file_or_folder(address: str, count: int, metadata: Path, tmp_path: Path) -> None:
    report, _ = select(tmp_path / "run", metadata / address)
    assert (report.rows, report.files) == (count, count)


@pytest.mark.parametrize(("pattern", "count"), [("*.parquet", 2), ("**/*.parquet", 3), ("[ab].*", 2)])
def test_a_pattern(pattern: str, count: int, metadata: Path, tmp_path: Path) -> None:
    plain = metadata.rename(tmp_path / "plain")
    assert select(tmp_path / "run", plain / pattern)[0].rows == count


def test_the_home_folder_is_meant_by_a_tilde(
    metadata: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(metadata))
    assert select(tmp_path / "run", "~/a.parquet")[0].rows == 1


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("none.parquet", "there is no file, folder or known data set"),
        ("*.arrow", "no file matches"),
        ("empty", "is a folder without .parquet"),
        ("\0", "cannot be looked up|there is no file"),
        ("x" * 5000, "cannot be looked up|there is no file"),
    ],
)
def test_what_is_not_there_is_said(
    address: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match=said):
        resolve_source(address)


def test_a_misspelled_name_is_guessed_and_a_known_one_wins_over_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SourceError, match=r"did you mean improved_aesthetics_6\.5plus\?"):
        resolve_source("improved_aesthetic_6.5plus")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    rows("rose").write_parquet("laion-art")
    with pytest.raises(SourceError, match="HF_HUB_OFFLINE"):
        resolve_source("laion-art")
    assert resolve_source("./laion-art").paths == ("laion-art",)


def test_the_demo_world_says_who_serves_it() -> None:
    with pytest.raises(SourceError, match="visunex-data run demo_flower"):
        resolve_source("demo")


def test_the_identity_changes_with_the_contents_alone(tmp_path: Path) -> None:
    first, moved = tmp_path / "m.parquet", tmp_path / "elsewhere" / "m.parquet"
    rows("rose", "oak").write_parquet(first)
    before = resolve_source(str(first)).identity
    moved.parent.mkdir()
    moved.write_bytes(first.read_bytes())
    assert resolve_source(str(moved)).identity == before
    assert json.loads(json.dumps(before)) == before
    rows("rose", "elm").write_parquet(first)
    assert resolve_source(str(first)).identity != before


def test_a_folder_that_may_not_be_read(tmp_path: Path) -> None:
    rows("a").write_parquet(tmp_path / "m.parquet")
    (tmp_path / "dangling.parquet").symlink_to(tmp_path / "gone")
    with pytest.raises(SourceError, match=r"dangling\.parquet cannot be read: No such file"):
        select(tmp_path / "run", tmp_path)
