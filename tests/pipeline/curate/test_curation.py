"""An embedding made anew without some pictures of its run: `visunex-data curate`."""

import hashlib
import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner, Result

from visunex.aesthetic_embeddings import load, reduce
from visunex.demo.world import World
from visunex.pipeline.cli import main
from visunex.pipeline.vectors.store import read_vectors

COUNT = 40


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An encoded run of 40 pictures of the demo world, with groups."""
    folder = tmp_path_factory.mktemp("curated")
    (folder / "pictures").mkdir()
    for each in World().entries[:COUNT]:
        (folder / "pictures" / f"{each.row:02d}.{each.extension}").write_bytes(each.image_file())
    done(
        "encode",
        "--images",
        folder / "pictures",
        "--run",
        folder / "run",
        "--model",
        "visunex-tiny",
        "--workers",
        0,
    )
    return folder / "run"


def command(*arguments: object) -> Result:
    return CliRunner().invoke(main, [*map(str, arguments)])


def done(*arguments: object) -> Result:
    result = command(*arguments)
    assert result.exit_code == 0, result.output
    return result


def keys_and_units(run: Path) -> tuple[list[str], np.ndarray]:
    keys = pl.read_parquet(run / "vectors" / "metadata" / "metadata_0000.parquet")["key"].to_list()
    return keys, np.concatenate(list(read_vectors(run / "vectors").units()))


def files_of(run: Path) -> dict[str, str]:
    files = sorted(path for path in run.rglob("*") if path.is_file())
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_what_is_dropped_is_missing_from_the_mean_and_noted(run: Path, tmp_path: Path) -> None:
    before, out = files_of(run), tmp_path / "mine.pt"
    keys, units = keys_and_units(run)
    assert f"<code>{keys[3]}</code>" in (run / "report.html").read_text(encoding="utf-8")
    report = json.loads(
        done("curate", run, "--drop", keys[3], "--drop", keys[7], "--out", out, "--json").stdout
    )
    kept = [place for place in range(COUNT) if place not in (3, 7)]
    assert np.array_equal(load(out).vector, reduce([units[kept]], "unit-mean"))
    (made,) = report["embeddings"]
    assert (made["kept"], made["dropped"]) == (38, 2)
    said = load(out).provenance
    assert said is not None
    assert said["curated"]["dropped_keys"] == [keys[3], keys[7]]
    assert said["curated"]["embedding"] == load(run / "embedding.pt").provenance["sha256"]  # type: ignore[index]
    assert (said["images"]["used"], said["model"]["name"]) == (38, "visunex-tiny")
    assert "dropped 2" in done("embeddings", "show", out).output
    assert files_of(run) == before


def test_the_least_typical_are_those_farthest_from_the_rest(run: Path, tmp_path: Path) -> None:
    keys, units = keys_and_units(run)
    done("curate", run, "--drop-atypical", 0.1, "--out", tmp_path / "a.pt")
    order = np.argsort(units @ load(run / "embedding.pt").vector[0])
    said = load(tmp_path / "a.pt").provenance
    assert said is not None
    assert set(said["curated"]["dropped_keys"]) == {keys[place] for place in order[:4]}
    assert np.array_equal(load(tmp_path / "a.pt").vector, reduce([units[np.sort(order[4:])]], "unit-mean"))


def test_groups_are_dropped_kept_and_split(run: Path, tmp_path: Path) -> None:
    keys, units = keys_and_units(run)
    table = pl.read_parquet(run / "groups.parquet")
    groups = np.array([dict(table.iter_rows())[key] for key in keys])
    assert len(set(groups)) > 1
    done("curate", run, "--split", "--out", tmp_path / "t.pt")
    for each in set(groups):
        expected = reduce([units[groups == each]], "unit-mean")
        assert np.array_equal(load(tmp_path / f"t-{each}.pt").vector, expected)
    done("curate", run, "--keep-group", 0, "--out", tmp_path / "kept.pt")
    others = ",".join(str(each) for each in sorted(set(groups)) if each)
    done("curate", run, "--drop-group", others, "--out", tmp_path / "dropped.pt")
    for name in ("kept", "dropped"):
        assert (tmp_path / f"{name}.pt").read_bytes() == (tmp_path / "t-0.pt").read_bytes()


def test_it_is_reduced_as_the_run_was(run: Path, tmp_path: Path) -> None:
    """Against its baseline; and without the near copies that the run itself had left out."""
    pictures, asked = run.parent / "pictures", ("--model", "visunex-tiny", "--workers", 0)
    keys, units = keys_and_units(run)
    other, out = tmp_path / "contrast", tmp_path / "c.pt"
    against = ("--reduce", "contrast", "--baseline", run)
    done(
        "encode",
        "--images",
        pictures / keys[0],
        "--images",
        pictures / keys[1],
        "--run",
        other,
        *against,
        *asked,
    )
    done("curate", other, "--drop", keys[0], "--out", out)
    single = np.concatenate(list(read_vectors(other / "vectors").units()))[1:]
    assert np.array_equal(load(out).vector, reduce([single], "contrast", baseline=[units]))
    few = tmp_path / "few"
    done("encode", "--images", pictures, "--run", few, "--dedupe-vectors", 0.9, *asked)
    status = dict(pl.read_parquet(few / "choice.parquet").select("key", "status").iter_rows())
    chosen = [place for place in range(COUNT) if status[keys[place]] == "chosen"]
    assert 2 < len(chosen) < COUNT
    done("curate", few, "--drop", keys[chosen[0]], "--out", tmp_path / "f.pt")
    assert np.array_equal(load(tmp_path / "f.pt").vector, reduce([units[chosen[1:]]], "unit-mean"))


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ((), "say what to drop"),
        (("--drop", "no.jpg"), "has no picture 'no.jpg'"),
        (("--drop-group", "99"), "there is no group 99: there are 0, 1"),
        (("--keep-group", "one"), "groups are numbers"),
        (("--drop-atypical", "1"), "0<=x<1"),
    ],
    ids=["nothing", "key", "group", "word", "all"],
)
def test_what_cannot_be_meant_is_named(run: Path, tmp_path: Path, asked: tuple[str, ...], said: str) -> None:
    refused = command("curate", run, *asked, "--out", tmp_path / "x.pt")
    assert (refused.exit_code, said in " ".join(refused.output.split())) == (2, True), refused.output
    assert not (tmp_path / "x.pt").exists()


def test_the_run_and_files_of_others_stay(run: Path, tmp_path: Path) -> None:
    inside = command("curate", run, "--drop-atypical", 0.1, "--out", run / "embedding.pt")
    assert (inside.exit_code, "lies in the run" in inside.output) == (2, True)
    (tmp_path / "theirs.pt").write_bytes(b"weights")
    refused = command("curate", run, "--drop-atypical", 0.1, "--out", tmp_path / "theirs.pt")
    assert (refused.exit_code, (tmp_path / "theirs.pt").read_bytes()) == (1, b"weights")
    absent = command("curate", tmp_path / "nothing", "--split", "--out", tmp_path / "x.pt")
    assert (absent.exit_code, "is no run" in absent.output) == (2, True)


def test_what_is_no_file_for_an_embedding_is_said_before_any_work(run: Path) -> None:
    for out in (".", "x.bin", run.parent):
        result = command("curate", run, "--split", "--out", out)
        assert result.exit_code == 2
        assert f"--out {out}: an embedding's file is called NAME.pt" in result.output


def test_few_images_have_no_groups(run: Path, tmp_path: Path) -> None:
    few = tmp_path / "few"
    done("encode", "--images", run.parent / "pictures" / "00.jpg", "--run", few, "--model", "visunex-tiny")
    result = command("curate", few, "--split", "--out", tmp_path / "a.pt")
    assert result.exit_code == 2
    assert "has no groups: they are looked for among more than 36 pictures" in result.output
