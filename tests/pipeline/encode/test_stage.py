"""From pictures to an embedding: counted, resumable, the same in any order; real files, real workers."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import odd
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result
from PIL import Image
from shard_files import img2dataset_shard, run_folder, tar

from visunex.aesthetic_embeddings import compare, load
from visunex.base.errors import UsageError
from visunex.base.files import write_json
from visunex.pipeline.cli import main
from visunex.pipeline.encode.reports import EncodeReport
from visunex.pipeline.encode.stage import encode
from visunex.pipeline.errors import EncodeError, StaleRunError
from visunex.pipeline.rundir import RunDir
from visunex.pipeline.shards import samples as shards
from visunex.pipeline.vectors.store import read_vectors
from visunex.recipes import Encode, Recipe, Reference, dumps
from visunex.recipes import load as load_recipe


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return odd.small_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("VISUNEX_MIRROR", raising=False)


def recipe(model: str, **settings: Any) -> Recipe:
    given: dict[str, Any] = {"model": model, "precision": "fp32", "workers": 0, **settings}
    return Recipe(name="test", encode=Encode(**given))


def picture(seed: int, size: tuple[int, int] = (48, 40)) -> bytes:
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return odd.file(Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC), "JPEG")


def folder_of(path: Path, files: Mapping[str, bytes]) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (path / name).write_bytes(data)
    return path


def pictures(path: Path, count: int = 6, first: int = 0) -> Path:
    return folder_of(path, {f"{index:03d}.jpg": picture(index) for index in range(first, first + count)})


def adds_up(report: EncodeReport) -> bool:
    return report.images == report.encoded + sum(report.failed.values())


def test_a_folder_becomes_one_embedding_and_nothing_else_is_left(tmp_path: Path, model: str) -> None:
    report = encode(None, recipe(model), images=[pictures(tmp_path / "mine")], out=tmp_path / "me.pt")
    assert (report.images, report.encoded, report.failed) == (6, 6, {})
    embedding = load(tmp_path / "me.pt")
    assert embedding.shape == (1, 24)
    assert embedding.norm == pytest.approx(1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["me.json", "me.pt", "mine"]
    story = embedding.provenance or {}
    assert story["images"] == {"used": 6, "failed": {}}
    assert story["reduction"] == "unit-mean"
    assert len(story["model"]["weights"]) == len(story["recipe_hash"]) == 64
    assert story["libraries"]["torch"]
    assert 0 < story["checks"]["mean_pairwise_cosine"] < 1
    assert "6 of 6 pictures" in report.as_text()
    json.dumps(report.as_dict())


def test_odd_pictures_are_encoded_and_bad_ones_counted_by_reason(tmp_path: Path, model: str) -> None:
    kinds = {name: data for name, data in odd.every_kind().items() if name != "huge.jpg"}
    bad = odd.no_pictures()
    folder = folder_of(tmp_path / "odd", kinds | {f"bad_{name}": data for name, (_, data) in bad.items()})
    report = encode(None, recipe(model, workers=1), images=[folder], out=tmp_path / "x.pt")
    assert report.encoded == len(kinds)
    assert report.failed == {"empty": 1, "not_an_image": 1, "truncated": 2, "too_many_pixels": 1}
    assert adds_up(report)
    assert report.examples["not_an_image"] == [str(folder / "bad_page.jpg")]
    assert "not_an_image, such as" in report.as_text()


@pytest.mark.parametrize("reduce", ["mean", "unit-mean", "score-weighted", "median"])
def test_the_embedding_is_what_its_vectors_say(tmp_path: Path, model: str, reduce: str) -> None:
    run = RunDir(run_folder(tmp_path / "run", []))
    img2dataset_shard(tmp_path / "plain", 0, 5)
    encode(run, recipe(model, reduce=reduce), images=[tmp_path / "plain"])
    vectors = read_vectors(run.vectors)
    table = pq.read_table(vectors.parts[0].metadata)
    assert table.column_names == ["image_path", "key", "caption", "url", "score", "norm"]
    assert table["key"].to_pylist() == [f"00000{row:04d}" for row in range(5)]
    units = np.load(vectors.parts[0].vectors)
    assert units.dtype == np.float32
    assert np.allclose(np.linalg.norm(units, axis=1), 1, atol=1e-6)
    norms = np.array(table["norm"].to_pylist())
    made = load(run.embedding).vector[0]
    if reduce == "mean":
        assert np.allclose(made, (units * norms[:, None]).mean(axis=0), atol=1e-5)
        assert load(run.embedding).norm > 2
    else:
        assert float(made @ units.mean(axis=0)) / np.linalg.norm(units.mean(axis=0)) > 0.999


def test_order_batches_and_workers_do_not_matter(tmp_path: Path, model: str) -> None:
    files = {f"{index}.jpg": picture(index) for index in range(12)}
    folder_of(tmp_path / "a", files)
    tar(tmp_path / "b.tar", dict(reversed(files.items())))
    for number, part in enumerate([list(files)[:5], list(files)[5:]]):
        tar(tmp_path / "c" / f"{number}.tar", {name: files[name] for name in part})
    made = []
    for place, settings in (
        ("a", {}),
        ("b.tar", {"batch_size": 5}),
        ("c", {"workers": 2, "batch_size": 3}),
        ("a", {"workers": 1, "batch_size": 1}),
    ):
        encode(None, recipe(model, **settings), images=[tmp_path / place], out=tmp_path / "x.pt")
        made.append((tmp_path / "x.pt").read_bytes())
    assert made == made[:1] * 4


def test_a_run_is_encoded_and_recorded(tmp_path: Path, model: str) -> None:
    run = RunDir(run_folder(tmp_path / "run", ["000000000", "000000002", "000010001"]))
    report = encode(run, recipe(model))
    assert report.images == report.encoded == 3
    assert run.reports()["encode"]["encoded"] == 3
    assert run.embedding.exists()
    assert run.provenance.exists()
    assert [len(np.load(part.vectors)) for part in read_vectors(run.vectors).parts] == [2, 1]


def test_chosen_pictures_that_went_missing_are_counted_and_the_exit_status_says_so(
    tmp_path: Path, model: str
) -> None:
    run = RunDir(run_folder(tmp_path / "run", ["000000000", "000010001", "000020000", "000020001"]))
    tar(run.shards / "00001.tar", {"000010002.jpg": picture(1)})
    with pytest.raises(EncodeError, match=r"3 of the 4 chosen pictures are not in .*put them back"):
        encode(run, recipe(model))
    report = run.reports()["encode"]
    assert (report["images"], report["encoded"]) == (4, 1)
    assert report["failed"] == {"missing_from_shard": 1, "missing_shard": 2}
    assert run.embedding.exists()


def test_finished_partitions_are_not_encoded_again(
    tmp_path: Path, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "PARTITION", 4)
    run, place = RunDir(tmp_path / "run"), pictures(tmp_path / "mine", 10)
    first = encode(run, recipe(model), images=[place])
    parts = read_vectors(run.vectors).parts
    assert (first.encoded_now, [len(np.load(part.vectors)) for part in parts]) == (10, [4, 4, 2])
    before = {
        path: path.read_bytes() for path in run.path.rglob("*") if path.suffix in {".npy", ".parquet", ".pt"}
    }
    assert parts[1].metadata is not None
    parts[1].metadata.unlink()  # as if killed between the two files of a part
    again = encode(run, recipe(model), images=[place])
    assert (again.encoded_now, again.encoded, again.images) == (4, 10, 10)
    assert {path: path.read_bytes() for path in before} == before


def test_another_reduction_needs_no_encoding(tmp_path: Path, model: str) -> None:
    run, place = RunDir(tmp_path / "run"), pictures(tmp_path / "mine")
    encode(run, recipe(model), images=[place])
    report = encode(run, recipe(model, reduce="mean"), images=[place])
    assert (report.encoded_now, report.encoded, report.reduction) == (0, 6, "mean")


def test_other_pictures_or_another_model_are_not_mixed_in(tmp_path: Path, model: str) -> None:
    run, place = RunDir(tmp_path / "run"), pictures(tmp_path / "mine", 3)
    encode(run, recipe(model), images=[place])
    other = odd.small_model(tmp_path / "other", seed=1)
    with pytest.raises(StaleRunError, match=r"model.*weights.*changed"):
        encode(run, recipe(other), images=[place])
    pictures(place, 5)
    with pytest.raises(StaleRunError, match="images changed"):
        encode(run, recipe(model), images=[place])
    before = load(run.embedding)
    report = encode(run, recipe(other), images=[place], overwrite=True)
    assert report.encoded_now == 5
    assert compare(before, load(run.embedding)) < 0.999


def test_vectors_of_the_exact_decode_are_not_mixed_with_others(tmp_path: Path, model: str) -> None:
    run, place = RunDir(tmp_path / "run"), pictures(tmp_path / "mine", 3)
    assert encode(run, recipe(model), images=[place]).encoded_now == 3
    assert json.loads(run.provenance.read_text())["model"]["preprocessing"]["decode"] == "reduced"
    exact = recipe(model, exact_decode=True)
    with pytest.raises(StaleRunError, match="preprocessing changed"):
        encode(run, exact, images=[place])
    assert encode(run, exact, images=[place], overwrite=True).encoded_now == 3
    assert json.loads(run.provenance.read_text())["model"]["preprocessing"]["decode"] == "exact"


def test_fewer_pictures_leave_no_old_parts(tmp_path: Path, model: str) -> None:
    run = RunDir(run_folder(tmp_path / "run", ["000000000", "000010001"]))
    encode(run, recipe(model))
    write_json(run.path / ".visunex" / "download.json", {"selection": "1"})
    encode(run, recipe(model), overwrite=True)
    run_folder(run.path, ["000000000"])  # the same download, fewer chosen
    assert encode(run, recipe(model)).images == 1
    assert len(read_vectors(run.vectors)) == 1


def test_another_choice_encodes_only_what_is_new(tmp_path: Path, model: str) -> None:
    run = RunDir(run_folder(tmp_path / "run", ["000000000", "000000002", "000010000"]))
    write_json(run.path / ".visunex" / "download.json", {"selection": "1"})
    encode(run, recipe(model))
    before = np.load(read_vectors(run.vectors).parts[0].vectors)
    run_folder(run.path, ["000000001", "000000002", "000010000"])
    report = encode(run, recipe(model))
    assert (report.encoded, report.encoded_now) == (3, 1)
    part = read_vectors(run.vectors).parts[0]
    assert pq.read_table(part.metadata)["key"].to_pylist() == ["000000001", "000000002"]
    assert np.array_equal(np.load(part.vectors)[1], before[1])


def test_a_contrast_stands_against_pictures_a_run_or_vectors(tmp_path: Path, model: str) -> None:
    wanted, others = pictures(tmp_path / "wanted", 4), pictures(tmp_path / "others", 5, first=50)
    run = RunDir(tmp_path / "runs" / "others")
    encode(run, recipe(model), images=[others])
    made = []
    for baseline in (str(others), "others", str(run.path), str(run.vectors)):
        settings = recipe(model, reduce="contrast", baseline=baseline)
        encode(None, settings, images=[wanted], out=tmp_path / "x.pt")
        made.append(load(tmp_path / "x.pt").vector)
    assert all(np.array_equal(made[0], other) for other in made[1:])
    encode(None, recipe(model), images=[wanted], out=tmp_path / "plain.pt")
    assert np.linalg.norm(made[0]) < 1
    kept = RunDir(tmp_path / "kept")
    encode(kept, recipe(model, reduce="contrast", baseline=str(others)), images=[wanted])
    assert len(read_vectors(kept.vectors)) == 4
    assert len(read_vectors(kept.vectors / "baseline")) == 5


def test_pictures_of_a_baseline_replaced_under_the_same_name_and_size_are_others(
    tmp_path: Path, model: str
) -> None:
    wanted, others = pictures(tmp_path / "wanted", 2), pictures(tmp_path / "others", 2, first=2)
    run, made = RunDir(tmp_path / "run"), []
    for seed in (5, 6, 6):
        (others / "002.jpg").write_bytes(picture(seed).ljust(2000, b"\0"))
        os.utime(others / "002.jpg", ns=(5, 5))
        encode(run, recipe(model, reduce="contrast", baseline=str(others)), images=[wanted])
        made.append(load(run.embedding).vector.tolist())
    assert made[0] != made[1] == made[2]


def test_a_baseline_of_another_tower_is_refused(tmp_path: Path, model: str) -> None:
    run = RunDir(tmp_path / "run")
    encode(run, recipe(odd.small_model(tmp_path / "other", seed=1)), images=[pictures(tmp_path / "mine", 2)])
    settings = recipe(model, reduce="contrast", baseline=str(run.path))
    with pytest.raises(EncodeError, match="come from another tower"):
        encode(None, settings, images=[tmp_path / "mine"], out=tmp_path / "x.pt")


def test_the_reference_of_a_recipe_is_compared_when_it_is_here(tmp_path: Path, model: str) -> None:
    place = [pictures(tmp_path / "mine", 2)]
    encode(RunDir(tmp_path / "runs" / "mine"), recipe(model), images=place)
    for reference, text in (
        (Reference(name="mine", tolerance=1e-6), "cosine 1.000000 to the published mine"),
        (Reference(name="mine", sha256="0" * 64), "another file than the mine"),
        (Reference(name="fantasy"), "not compared to fantasy: .*embeddings fetch"),
    ):
        given = recipe(model).model_copy(update={"reference": reference})
        report = encode(None, given, images=place, out=tmp_path / "x.pt")
        assert re.search(text, report.as_text())
    assert report.checks.reference is not None


def test_requests_that_make_no_sense_are_refused(tmp_path: Path, model: str) -> None:
    with pytest.raises(UsageError, match="--out"):
        encode(None, recipe(model), images=[tmp_path])
    with pytest.raises(UsageError, match=r"NAME\.pt"):
        encode(None, recipe(model), images=[tmp_path], out=tmp_path / "me.json")
    with pytest.raises(EncodeError, match="visunex-data download"):
        encode(RunDir(tmp_path / "run"), recipe(model))
    assert not (tmp_path / "run").exists()


def test_nothing_decodable_is_an_error_that_says_why(tmp_path: Path, model: str) -> None:
    folder = folder_of(tmp_path / "bad", {"a.jpg": b"", "b.jpg": b"<html>"})
    with pytest.raises(
        EncodeError, match=r"no picture in .*bad could be encoded \(1 empty; 1 not_an_image\)"
    ):
        encode(None, recipe(model), images=[folder], out=tmp_path / "x.pt")
    (tmp_path / "page.tar").write_bytes(b"<html>")
    with pytest.raises(EncodeError, match=r"page.tar: .*"):
        encode(None, recipe(model), images=[tmp_path / "page.tar"], out=tmp_path / "x.pt")
    with zipfile.ZipFile(tmp_path / "packed.zip", "w", zipfile.ZIP_BZIP2) as archive:
        archive.writestr("a.jpg", b"picture")
    with pytest.raises(EncodeError, match=r"packed.zip .*1 left out: other_compression"):
        encode(None, recipe(model), images=[tmp_path / "packed.zip"], out=tmp_path / "x.pt")
    with pytest.raises(EncodeError, match="there is none"):
        encode(None, recipe(model), images=[folder_of(tmp_path / "none", {})], out=tmp_path / "x.pt")


def test_a_cut_shard_gives_what_is_whole_and_is_named(tmp_path: Path, model: str) -> None:
    path = tar(tmp_path / "x.tar", {f"{index}.jpg": picture(index) for index in range(3)})
    path.write_bytes(path.read_bytes()[:4000])
    report = encode(None, recipe(model), images=[path], out=tmp_path / "x.pt")
    assert 1 <= report.encoded < 3
    assert report.left_out == {"cut_off": 1}
    assert str(path) in report.damaged
    assert "not whole" in report.as_text()


def visunex_data(*arguments: str) -> Result:
    """A command, in this process: starting another costs seconds of importing torch."""
    return CliRunner().invoke(main, list(arguments), prog_name="visunex-data")


def test_the_command_encodes_a_folder_with_the_tiny_model(tmp_path: Path) -> None:
    pictures(tmp_path / "mine", 3)
    done = visunex_data("encode", "--images", "mine", "--out", "me.pt", "--model", "visunex-tiny", "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["encoded"] == 3
    assert load("me.pt").dimension == 768
    assert not Path("runs").exists()
    assert "encode: " in done.stderr


def test_the_command_keeps_vectors_in_a_run(tmp_path: Path, model: str) -> None:
    pictures(tmp_path / "mine", 3)
    done = visunex_data(
        "encode", "--images", "mine", "--run", "r", "--model", model, "--set", "encode.workers=0"
    )
    assert done.exit_code == 0, done.output
    assert "3 of 3 pictures" in done.stdout
    assert len(read_vectors(Path("r/vectors"))) == 3
    done = visunex_data("encode", "--run", "r", "--model", model)
    assert done.exit_code == 1
    assert "visunex-data download" in done.stderr
    assert visunex_data("encode", "--batch-size", "0").exit_code == 2


def test_the_command_goes_by_the_recipe_of_its_run_and_notes_what_was_changed(
    tmp_path: Path, model: str
) -> None:
    run = RunDir(run_folder(tmp_path / "r", ["000000000", "000010001"]))
    run.recipe.write_text(dumps(recipe(model)))
    done = visunex_data("encode", "--run", "r", "--reduce", "mean", "--out", "copy.pt")
    assert done.exit_code == 0, done.output
    assert load_recipe(run.recipe).encode.reduce == "mean"
    assert Path("copy.pt").read_bytes() == run.embedding.read_bytes()


PROGRAM = """
import os, signal, sys, time
from pathlib import Path
from visunex.clip.preprocess import Preprocessing
from visunex.pipeline.encode.decoding.decode_pool import Decoders
from visunex.pipeline.shards.samples import samples, sources

if __name__ == "__main__":
    with Decoders([Preprocessing(size=32)], workers=2, prefetch=8) as pool:
        pairs = ((sample, (0,), None) for sample in samples(sources([sys.argv[1]])))
        for count, decoded in enumerate(pool.decode(pairs)):
            if count == 3:
                os.kill(pool._workers[0].process.pid, getattr(signal, sys.argv[2]))
"""


@pytest.mark.parametrize(("name", "sentence"), [("SIGKILL", "memory runs out"), ("SIGSEGV", "SIGSEGV")])
def test_a_decoder_that_dies_is_a_named_error_and_not_a_hang(
    tmp_path: Path, name: str, sentence: str
) -> None:
    pictures(tmp_path / "mine", 100)
    (tmp_path / "program.py").write_text(PROGRAM)
    command = [sys.executable, str(tmp_path / "program.py"), str(tmp_path / "mine"), name]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert "EncodeError: a process that decodes pictures was killed by" in last
    assert sentence in last
    assert "--workers" in last


def test_a_killed_job_goes_on_and_ends_the_same(tmp_path: Path, model: str) -> None:
    for number in range(6):
        img2dataset_shard(tmp_path / "plain", number, 10)
    command = [sys.executable, "-m", "visunex.pipeline", "encode", "--images", "plain", "--model", model]
    command += ["--precision", "fp32"]
    process = subprocess.Popen(
        [*command, "--run", "killed"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    marker = tmp_path / "killed" / "vectors" / "metadata"
    while process.poll() is None and not (marker.exists() and len(list(marker.iterdir())) >= 2):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    for run in ("killed", "whole"):
        with RunDir(tmp_path / run).locked():
            encode(RunDir(tmp_path / run), recipe(model), images=["plain"])
    killed, whole = (tmp_path / name for name in ("killed", "whole"))
    assert (killed / "embedding.pt").read_bytes() == (whole / "embedding.pt").read_bytes()
    names = {path.relative_to(killed) for path in killed.rglob("*")}
    assert names == {path.relative_to(whole) for path in whole.rglob("*")}
