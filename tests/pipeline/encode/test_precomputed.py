"""Vectors that others have computed: found by link or hash, only the rows wanted read, mixed with ours."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from downloads import ready_run, rows
from pages import served
from published_vectors import D, published, unit_mean, url
from standin import Page, StandIn, serving

from visunex.aesthetic_embeddings import load
from visunex.demo.world import World
from visunex.pipeline.cli import main
from visunex.pipeline.download.stage import download
from visunex.pipeline.encode.precomputed import encode_precomputed
from visunex.pipeline.encode.stage import encode
from visunex.pipeline.errors import EncodeError, StaleRunError
from visunex.pipeline.vectors.remote_store import open_folder
from visunex.pipeline.vectors.store import read_vectors
from visunex.recipes import Recipe, dumps, override
from visunex.recipes.schema import Reference


def a_run(path: Path, numbers: list[int], top: int, place: Path | str, **encoding: Any) -> tuple[Any, Recipe]:
    run, recipe = ready_run(path, [url(number) for number in numbers], top)
    settings = {"precomputed": str(place), "model": "visunex-tiny", **encoding}
    return run, override(recipe, {f"encode.{key}": value for key, value in settings.items()})


def test_an_embedding_without_any_picture(tmp_path: Path) -> None:
    vectors = published(tmp_path / "v", (100, 100))
    run, recipe = a_run(tmp_path / "run", [150, 999, 3, 4, 5], 3, tmp_path / "v")
    report = encode_precomputed(run, recipe)
    assert (report.precomputed, report.encoded, report.passed_over, report.images) == (3, 0, 1, 3)
    np.testing.assert_allclose(load(run.embedding).vector[0], unit_mean(vectors[[150, 3, 4]]), atol=1e-6)
    assert pq.read_table(run.vectors / "metadata/metadata_0000.parquet")["url"].to_pylist() == [
        url(150),
        url(3),
        url(4),
    ]
    before = run.embedding.read_bytes()
    encode_precomputed(run, recipe)
    assert run.embedding.read_bytes() == before
    with pytest.raises(StaleRunError):
        encode_precomputed(run, override(recipe, {"filter.top": 2}))


def test_mean_wants_raw_vectors_and_says_so(tmp_path: Path) -> None:
    published(tmp_path / "unit", (50,))
    run, recipe = a_run(tmp_path / "run", [1, 2, 3], 3, tmp_path / "unit", reduce="mean")
    with pytest.raises(EncodeError, match="normalised vectors and nothing says how long they were"):
        encode_precomputed(run, recipe)
    raw = published(tmp_path / "raw", (50,), "<f4", raw=True)
    run, recipe = a_run(tmp_path / "other", [1, 2, 3], 3, tmp_path / "raw", reduce="mean")
    encode_precomputed(run, recipe)
    np.testing.assert_allclose(load(run.embedding).vector[0], raw[[1, 2, 3]].mean(0), rtol=1e-5)
    lengths = np.linalg.norm(published(tmp_path / "noted", (50,), "<f4", raw=True), axis=1)
    vectors = published(tmp_path / "noted", (50,), "<f4", norm=lengths)
    run, recipe = a_run(tmp_path / "third", [1, 2, 3], 3, tmp_path / "noted", reduce="mean")
    encode_precomputed(run, recipe)
    expected = (vectors[1:4] * lengths[1:4, None]).mean(0)
    np.testing.assert_allclose(load(run.embedding).vector[0], expected, rtol=1e-5)


def test_another_model_is_refused(tmp_path: Path) -> None:
    published(tmp_path / "small", (50,), width=512)
    published(tmp_path / "v", (50,))
    run, recipe = a_run(tmp_path / "run", [1, 2], 2, tmp_path / "small", model="ViT-L-14")
    with pytest.raises(EncodeError, match="vectors of 512 dimensions, ViT-L-14 makes 768"):
        encode_precomputed(run, recipe)
    run, recipe = a_run(tmp_path / "first", [1, 2], 2, tmp_path / "v")
    encode_precomputed(run, recipe)
    again, other = a_run(tmp_path / "second", [1, 2], 2, run.vectors, model="ViT-B-32")
    with pytest.raises(EncodeError, match="holds vectors of visunex-tiny, the recipe wants ViT-B-32 openai"):
        encode_precomputed(again, other)


def test_some_rows_are_precomputed_and_the_rest_downloaded(tmp_path: Path) -> None:
    """The same pictures all encoded here, and with half of them taken from the first run's vectors."""
    pictures = {f"/{entry.row}.jpg": entry.image_file() for entry in World(rows=12).entries}
    with served(pictures) as address:
        urls = [f"{address}/{number}.jpg" for number in (*range(10), 404, 11)]
        whole, recipe = ready_run(tmp_path / "whole", urls, 11)
        recipe = override(
            recipe, {"encode.model": "visunex-tiny", "encode.reduce": "mean", "encode.workers": 0}
        )
        download(whole, recipe)
        encode(whole, recipe)
        half, half_recipe = ready_run(tmp_path / "half", urls[:5], 5)
        half_recipe = override(half_recipe, {"encode.model": "visunex-tiny", "encode.workers": 0})
        download(half, half_recipe)
        encode(half, half_recipe)
        mixed, _ = ready_run(tmp_path / "mixed", urls, 11)
        recipe = override(recipe, {"encode.precomputed": str(half.vectors)})
        address.sent.clear()
        downloaded = download(mixed, recipe)
        assert {path for path, _ in address.sent} == {f"/{n}.jpg" for n in (*range(5, 10), 11)}
    assert downloaded.chosen == 11
    assert [row["error_class"] for row in rows(mixed)[:5]] == ["precomputed"] * 5
    report = encode_precomputed(mixed, recipe)
    assert (report.precomputed, report.encoded, report.failed) == (5, 6, {})
    np.testing.assert_allclose(
        load(mixed.embedding).vector, load(whole.embedding).vector, rtol=1e-4, atol=1e-5
    )
    assert len(read_vectors(mixed.vectors)) == 11
    again = encode_precomputed(mixed, recipe)
    assert again.checks == report.checks
    array = next((half.vectors / "img_emb").glob("*.npy"))
    np.save(array, -np.load(array))  # under the same names, of the same size
    with pytest.raises(StaleRunError, match="rows changed"):
        encode_precomputed(mixed, recipe)
    assert encode_precomputed(mixed, recipe, overwrite=True).checks != report.checks
    shutil.rmtree(half.vectors)
    published(half.vectors, (3,))
    with pytest.raises(StaleRunError, match="published vectors changed"):
        download(mixed, recipe)


def test_the_command_says_what_it_took(tmp_path: Path) -> None:
    published(tmp_path / "v", (100,))
    run, recipe = a_run(tmp_path / "run", [1, 2, 3, 4], 3, tmp_path / "v")
    run.recipe.write_text(dumps(override(recipe, {"encode.precomputed": None})))
    arguments = ["encode", "--run", str(run.path), "--precomputed", str(tmp_path / "v")]
    done = CliRunner().invoke(main, [*arguments, "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["precomputed"] == 3
    assert "3 vectors taken from" in CliRunner().invoke(main, arguments).stdout


@pytest.mark.parametrize("model", ["ViT-L-14", "visunex-tiny"])
def test_the_command_loads_nothing_that_computes_with_pictures(
    tmp_path: Path, reference: Path, model: str
) -> None:
    """Ten million rows are looked through in less time and memory than importing torch takes."""
    published(tmp_path / "v", (100,))
    run, recipe = a_run(tmp_path / "run", [1, 2, 3, 4], 3, tmp_path / "v")
    recipe = recipe.model_copy(update={"reference": Reference(name="flower_plant")})
    recipe = override(recipe, {"encode.model": model})
    run.recipe.write_text(dumps(recipe))
    shutil.copytree(reference / "aesthetic_embeddings", tmp_path / "mirror/aesthetic_embeddings")
    program = (
        "import sys; from visunex.pipeline.cli import main\n"
        "main(['encode', '--run', 'run', '--json'], standalone_mode=False)\n"
        "heavy = {'torch', 'open_clip', 'datasets', 'transformers', 'img2dataset', 'polars', 'torchvision'}\n"
        "sys.exit(str(heavy & sys.modules.keys()) if heavy & sys.modules.keys() else 0)"
    )
    environment = {**os.environ, "VISUNEX_MIRROR": str(tmp_path / "mirror"), "XDG_CACHE_HOME": str(tmp_path)}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    compared = json.loads(done.stdout)["checks"]["reference"]
    if model == "visunex-tiny":  # of as many dimensions as the published one, and of another space
        assert (compared["cosine"], "of different models" in compared["note"]) == (None, True)
    else:
        assert compared["cosine"] is not None


def on_the_hub(web: StandIn, folder: Path, revision: str, token: str | None = None) -> None:
    """The files of a folder as the Hub serves them: behind a redirect, signed, at one revision."""
    for file in folder.rglob("*.*"):
        name = file.relative_to(folder)
        signed = f"/cdn/{name}?signature=1"
        base = f"/datasets/someone/vectors/resolve/{revision}"
        web.pages[f"{base}/vit-l-14/{name}"] = Page(location=signed, token=token)
        web.pages[signed] = Page(file.read_bytes())


@pytest.mark.parametrize("token", [None, "mine"])
@pytest.mark.parametrize(("at", "revision"), [("", "main"), ("@v2", "v2")])
def test_vectors_on_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: str, revision: str, token: str | None
) -> None:
    """By the Hub's HTTP interface ($HF_ENDPOINT), through its redirects, the token for its host alone."""
    vectors = published(tmp_path / "v", (100, 60), width=D)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    monkeypatch.setenv("HF_TOKEN", token or "")
    place = f"hf://datasets/someone/vectors{at}/vit-l-14"
    with serving({}) as web:
        monkeypatch.setenv("HF_ENDPOINT", web.address)
        on_the_hub(web, tmp_path / "v", revision, token)
        run, recipe = a_run(tmp_path / "run", [150, 3, 999, 4], 3, place)
        run.recipe.write_text(dumps(override(recipe, {"encode.precomputed": None})))
        done = CliRunner().invoke(main, ["encode", "--run", str(run.path), "--precomputed", place, "--json"])
        assert done.exit_code == 0, done.output
        assert json.loads(done.stdout)["place"] == place
        moved = [path for path, _ in web.asked if path.startswith("/cdn/img_emb")]
        assert len(moved) <= 2 * 2 + 3
    np.testing.assert_allclose(load(run.embedding).vector[0], unit_mean(vectors[[150, 3, 4]]), atol=1e-6)


def broken(folder: Path, how: str) -> None:
    vectors, metadata = folder / "img_emb/img_emb_0.npy", folder / "metadata/metadata_0.parquet"
    data = vectors.read_bytes()
    match how:
        case "cut off":
            vectors.write_bytes(data[:-100])
        case "no array":
            vectors.write_bytes(b"<html>not found</html>")
        case "a pickle":
            np.save(vectors, np.array([{"a": 1}] * 50, dtype=object), allow_pickle=True)
        case "a lying header":
            vectors.write_bytes(data.replace(b"(50, 768)", b"(50,-768)"))
        case "six bytes":
            vectors.write_bytes(data[:6])
        case "a header without an end":
            vectors.write_bytes(b"\x93NUMPY\x01\x00\x10\x00{'a':((((((((((((")
        case "no vectors":
            vectors.unlink()
        case "not a number":
            np.save(vectors, np.full((50, D), np.nan, np.float16))
        case "fewer vectors":
            np.save(vectors, np.ones((2, D), np.float16))
        case "broken metadata":
            metadata.write_bytes(metadata.read_bytes()[:500])
        case "no metadata":
            metadata.unlink()
        case "another column":
            pq.write_table(pa.table({"url": [[1.0]] * 50}), metadata)


@pytest.mark.parametrize(
    "how",
    [
        "cut off", "no array", "a pickle", "a lying header",
        "six bytes", "a header without an end", "no vectors",
        "not a number", "fewer vectors",
        "broken metadata", "no metadata", "another column",
    ],
)  # fmt: skip
def test_broken_folders_are_named(tmp_path: Path, how: str) -> None:
    published(tmp_path / "v", (50,))
    broken(tmp_path / "v", how)
    run, recipe = a_run(tmp_path / "run", [1, 2, 3], 3, tmp_path / "v")
    with pytest.raises(EncodeError):
        encode_precomputed(run, recipe)
    assert not run.embedding.exists()


def test_more_vectors_than_rows_are_refused(tmp_path: Path) -> None:
    published(tmp_path / "v", (50,))
    np.save(tmp_path / "v/img_emb/img_emb_0.npy", np.ones((70, D), np.float16))
    run, recipe = a_run(tmp_path / "run", [1, 2, 3], 3, tmp_path / "v")
    with pytest.raises(EncodeError, match=r"img_emb_0.npy holds 70 vectors, .*metadata_0.parquet 50 rows"):
        encode_precomputed(run, recipe)


def test_vectors_without_a_direction_are_left_out_and_named(tmp_path: Path) -> None:
    """The next best take their places; where pictures are downloaded these are encoded instead."""
    vectors = published(tmp_path / "v", (50,)).copy()
    vectors[1], vectors[2, 5], vectors[4, 0] = 0, np.nan, np.inf
    np.save(tmp_path / "v/img_emb/img_emb_0.npy", vectors)
    run, recipe = a_run(tmp_path / "run", [1, 2, 3, 4, 5, 6], 2, tmp_path / "v")
    report = encode_precomputed(run, recipe)
    assert (report.precomputed, len(report.dropped), report.passed_over) == (2, 3, 3)
    assert report.dropped[0].endswith("img_emb_0.npy row 1")
    assert "3  vectors left out, zero or not finite" in report.as_text()
    np.testing.assert_allclose(load(run.embedding).vector[0], unit_mean(vectors[[3, 5]]), atol=1e-6)
    against = recipe.model_copy(
        update={
            "encode": recipe.encode.model_copy(update={"reduce": "contrast", "baseline": str(tmp_path / "v")})
        }
    )
    contrast = encode_precomputed(run, against, overwrite=True)
    assert [name.rpartition(" ")[2] for name in contrast.baseline_dropped] == ["1", "2", "4"]
    assert "3  vectors of the baseline left out" in contrast.as_text()


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    published(tmp_path / "v", (50,))
    run, recipe = a_run(tmp_path / "run", [900, 901], 2, tmp_path / "v")
    with pytest.raises(EncodeError, match="none of the 2 rows has a vector"):
        encode_precomputed(run, recipe)
    with pytest.raises(EncodeError, match="holds no img_emb"):
        open_folder(str(tmp_path / "nowhere"))
    with served({}) as address, pytest.raises(EncodeError, match="holds no img_emb"):
        open_folder(f"{address}/v")
