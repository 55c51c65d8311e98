"""The groups of a run as one taste, `RUN#groups`: what `encode` writes is moved towards, and repeated."""

import base64
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from visunex.aesthetic_embeddings import EmbeddingError, save
from visunex.generate import Taste
from visunex.generate.adapters import image_vector
from visunex.generate.cli import main
from visunex.generate.errors import UsageError
from visunex.generate.output.png_text import read_record
from visunex.pipeline.reduce.groups import Groups, write_groups

CENTRES = np.eye(3, 768, dtype=np.float32)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run's embedding and its three groups, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    folder = Path("runs/gardens")
    folder.mkdir(parents=True)
    save(folder / "embedding.pt", CENTRES.mean(0), {"model": {"name": "visunex-tiny"}})
    groups = Groups(np.array([0, 1, 2, 0]), CENTRES, 0.5)
    write_groups(folder / "groups.parquet", ["a", "b", "c", "d"], groups)
    return folder


def draw(*options: object) -> str:
    given = ["--model", "visunex-tiny", "--device", "cpu", "--ddim_steps", "2", *map(str, options)]
    result = CliRunner().invoke(main, given)
    return "" if result.exit_code == 0 else result.output


def test_groups_are_a_taste_of_several_vectors_and_repeated(run: Path) -> None:
    assert torch.equal(Taste.load("gardens#groups").embedding, torch.from_numpy(CENTRES))
    assert not draw(
        "--prompt", "a castle", "--aesthetic_embedding", "gardens#groups=1", "--aesthetic_steps", 2
    )
    made = Path("outputs/samples/00000.png")
    record = read_record(made)
    assert record.taste is not None
    assert (record.taste.name, len(record.climbs)) == ("gardens#groups", 0)
    assert not draw("--from-image", made, "--outdir", "again")
    one, other = (np.asarray(Image.open(path)) for path in (made, Path("again/samples/00000.png")))
    assert np.array_equal(one, other)
    taste = ("--aesthetic_embedding", "gardens#groups")
    assert not draw("--prompt", "a castle", *taste, "--best-of", 2, "--outdir", "best")
    pooled = draw("--prompt", "a castle", *taste, "--method", "pooled")
    assert "fault in VisuNex" not in pooled
    with pytest.raises(UsageError, match="has 3 vectors, of which steering takes the nearest"):
        image_vector(Taste.load("gardens#groups"), 768, wanted_by="an adapter")
    write_groups(run / "groups.parquet", ["a"], Groups(np.array([0]), CENTRES[::-1], 0.5))
    assert "is another one now" in draw("--from-image", made)


def test_groups_that_are_not_there_are_named(run: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with pytest.raises(EmbeddingError, match="no embedding called 'meadows'"):
        Taste.load("meadows#groups")
    table = pa.table({"key": ["a"], "group": [0]})
    centres = base64.b64encode(np.full((1, 768), np.nan, "<f4").tobytes())
    wrong = {b"visunex.centres": centres, b"visunex.dimension": b"768"}
    for metadata, said in (
        ({}, "encode --overwrite"),
        (wrong, "no directions"),
        (wrong | {b"visunex.dimension": b"7"}, "cannot be read"),
        (wrong | {b"visunex.centres": b"\xff"}, "cannot be read"),
        (wrong | {b"visunex.dimension": b"-1"}, "cannot be read|no directions|other"),
    ):
        pq.write_table(table.replace_schema_metadata(metadata), run / "groups.parquet")
        with pytest.raises(EmbeddingError, match=said):
            Taste.load("gardens#groups")
    (run / "groups.parquet").write_bytes(b"PAR1 and no more")
    assert "cannot be read" in draw("--prompt", "a castle", "--aesthetic_embedding", "gardens#groups")
    (run / "groups.parquet").unlink()
    assert "there is no groups.parquet beside" in draw(
        "--prompt", "x", "--aesthetic_embedding", "gardens#groups"
    )


def test_more_layers_left_out_than_there_are_is_said_in_the_options_words(run: Path) -> None:
    assert "--clip_skip 9 leaves out more layers than visunex-tiny has: give 1 to 4" in draw(
        "--prompt", "a castle", "--clip_skip", 9
    )
