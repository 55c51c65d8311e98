"""The first command that `docs/sources.md` has for a set runs on a table of that set's columns."""

import io
import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import odd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from standin import StandIn, serving
from standin_hub import COMMIT, publish

from visunex.pipeline.cli import main
from visunex.pipeline.metadata.catalog import DataSet, data_sets
from visunex.pipeline.metadata.catalog.page import commands

SETS = [name for name, named in data_sets().items() if any(map(re.compile("hf://").match, named.addresses))]
TEXTS = {
    "url": "https://example.org/a.jpg", "licensename": "CC0", "caption": "a flower", "text": "a flower",
    "blip2_caption": "a flower", "prompt": "a flower",
}  # fmt: skip
NUMBERS = {
    "label_0": 1, "clip_l14_similarity_score": 0.4, "watermark_score": 0.1, "punsafe": 0.1,
    "mean_score": 7, "aesthetic_score": 7, "aesthetic_score_laion_v2": 7, "aesthetic": 9, "total_votes": 200,
    "width": 700, "height": 700, "similarity": 0.4, "pwatermark": 0.1,
}  # fmt: skip


def table(named: DataSet) -> bytes:
    """One row in the set's columns; a link and a caption where none are known."""
    columns = named.columns or {"url": "string", "caption": "string"}
    label = {"names": ["ivan-aivazovsky"], "_type": "ClassLabel"}
    features = {name: label for name, kind in columns.items() if kind == "class label"}
    said = json.dumps({"info": {"features": features}})
    buffer = io.BytesIO()
    made = pa.table({name: _value(name, kind) for name, kind in columns.items()})
    pq.write_table(made.replace_schema_metadata({"huggingface": said}), buffer)
    return buffer.getvalue()


def _value(name: str, kind: str) -> Any:
    if kind == "image":
        return [{"bytes": odd.file(odd.gradient(), "JPEG"), "path": None}]
    if kind == "binary":
        return pa.array([odd.file(odd.gradient(), "JPEG")], pa.binary())
    if kind == "class label":
        return [0]
    if kind.startswith("list"):
        return [[1.0]]
    if name.lower() in NUMBERS or kind.startswith(("int", "uint", "float")):
        whole = kind.startswith(("int", "uint"))
        return pa.array([NUMBERS.get(name.lower(), 700)], pa.int64() if whole else pa.float64())
    return [True] if kind == "bool" else [TEXTS.get(name.lower(), "something")]


def place(address: str) -> tuple[str, str, str]:
    """The OWNER/NAME, revision and a path that an hf:// address means."""
    owner, name, *rest = address.removeprefix("hf://datasets/").split("/")
    name, _, revision = name.partition("@")
    path = "/".join(rest).replace("**/", "x/").replace("*", "a") or "data/train-00000-of-00001.parquet"
    return f"{owner}/{name}", revision or "main", path


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandIn]:
    with serving({}) as server, pytest.MonkeyPatch.context() as patch:
        for name in ("HF_HUB_OFFLINE", "HF_TOKEN", "HF_TOKEN_PATH"):
            patch.delenv(name, raising=False)
        patch.setenv("HF_HOME", str(tmp_path_factory.mktemp("hub")))
        patch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path_factory.getbasetemp() / "no"))
        patch.setenv("HF_ENDPOINT", server.address)
        yield server


@pytest.mark.parametrize("name", SETS)
def test_the_command_of_a_set_runs(name: str, hub: StandIn, tmp_path: Path) -> None:
    named = data_sets()[name]
    address = next(each for each in named.addresses if each.startswith("hf://"))
    repository, revision, path = place(address)
    commit = revision if len(revision) == len(COMMIT) else COMMIT
    publish(hub, repository, {path: table(named), "README.md": b"# A set"}, revision=revision, commit=commit)
    program, *arguments = shlex.split(commands(named)[0])
    assert program == "visunex-data"
    done = CliRunner().invoke(main, [*arguments, "--run", str(tmp_path / "run")])
    assert done.exit_code == 0, done.output
    assert "1  selected" in done.output
