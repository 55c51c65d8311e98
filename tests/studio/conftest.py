"""A folder as a person works in: a run of pictures with captions, one of them hostile."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from visunex.demo.world import World
from visunex.pipeline.api import encode_images

COUNT = 60
EVIL = (
    "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\"> "
    "${document.title='owned'} {{7*7}}"
)


@pytest.fixture(scope="session")
def worked_in(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder, with `runs/garden`; tests leave the run as it is."""
    folder = tmp_path_factory.mktemp("studio")
    entries = [each for each in World().entries if each.text][:COUNT]
    images = [{"bytes": each.image_file(), "path": f"{each.row}.{each.extension}"} for each in entries]
    captions = [EVIL if number == 1 else each.text for number, each in enumerate(entries)]
    pq.write_table(pa.table({"image": images, "caption": captions}), folder / "set.parquet")
    encode_images(folder / "set.parquet", run=folder / "runs" / "garden", model="visunex-tiny", workers=0)
    return folder


@pytest.fixture
def here(worked_in: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working folder of a test's own, with that run in it."""
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "garden").symlink_to(worked_in / "runs" / "garden")
    monkeypatch.chdir(tmp_path)
    return tmp_path
