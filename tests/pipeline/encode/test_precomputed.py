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
from standin import Page, StandIn, serving

from visunex.aesthetic_embeddings import load
from visunex.demo.world import World
from visunex.net.range_file import coalesced
from visunex.pipeline.cli import main
from visunex.pipeline.download.stage import download
from visunex.pipeline.encode.precomputed import encode_precomputed
from visunex.pipeline.encode.stage import encode
from visunex.pipeline.errors import EncodeError, PipelineError, StaleRunError
from visunex.pipeline.vectors.lookup import Wanted, find, read_rows
from visunex.pipeline.vectors.remote_store import open_folder
from visunex.pipeline.vectors.store import read_vectors
from visunex.recipes import Recipe, dumps, override
from visunex.recipes.schema import Reference

D = 768  # visunex-tiny's, too


def url(number: int) -> str:
    return f"http://pictures.example/{number:07d}.jpg"


def published(
    folder: Path, sizes: tuple[int, ...], kind: str = "<f2", raw: bool = False, width: int = D, **columns: Any
) -> np.ndarray:
    """A folder as clip-retrieval's inference writes it; returns its vectors."""
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(sum(sizes), width)) * 3
    vectors = (vectors if raw else vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(kind)
    begin = 0
    for number, size in enumerate(sizes):
        (folder / "img_emb").mkdir(parents=True, exist_ok=True)
        (folder / "metadata").mkdir(exist_ok=True)
        np.save(folder / f"img_emb/img_emb_{number}.npy", vectors[begin : begin + size])
        own = range(begin, begin + size)
        table = {
            "image_path": [f"{row:09d}" for row in own],
            "caption": [f"picture {row}" if row % 5 else None for row in own],
            "url": [url(row) for row in own],
            "hash": pa.array([row * 7919 for row in own], pa.int64()),
        }
        table |= {name: value[begin : begin + size] for name, value in columns.items()}
        kept = {name: value for name, value in table.items() if value is not None and len(value)}
        pq.write_table(pa.table(kept), folder / f"metadata/metadata_{number}.parquet", row_group_size=40)
        begin += size
    return vectors


def a_run(path: Path, numbers: list[int], top: int, place: Path | str, **encoding: Any) -> tuple[Any, Recipe]:
    run, recipe = ready_run(path, [url(number) for number in numbers], top)
    settings = {"precomputed": str(place), "model": "visunex-tiny", **encoding}
    return run, override(recipe, {f"encode.{key}": value for key, value in settings.items()})


def unit_mean(vectors: np.ndarray) -> np.ndarray:
    wide = vectors.astype(np.float64)
    mean = (wide / np.linalg.norm(wide, axis=1, keepdims=True)).mean(0)
    return mean / np.linalg.norm(mean)


@pytest.mark.parametrize("over_http", [False, True])
@pytest.mark.parametrize("kind", ["<f2", "<f4"])
def test_the_rows_wanted_are_found_wherever_they_lie(tmp_path: Path, kind: str, over_http: bool) -> None:
    vectors = published(tmp_path / "v", (100, 130, 50), kind)
    numbers = [279, 0, 99, 100, 101, 229, 230, 5, 4, 7000, 0]
    pages = {f"/v/{file.relative_to(tmp_path / 'v')}": file for file in (tmp_path / "v").rglob("*.*")}
    with served(pages) as address:
        folder = open_folder(f"{address}/v" if over_http else str(tmp_path / "v"))
        found = find(folder, Wanted([url(number) for number in numbers]))
        assert (found.by, found.rows) == ("url", 280)
        assert sorted(found.hits) == [0, 1, 2, 3, 4, 5, 6, 7, 8, 10]
        ranks = list(found.hits)
        read = read_rows(folder, [found.hits[rank] for rank in ranks])
    assert (read == vectors[[numbers[rank] for rank in ranks]].astype(np.float32)).all()


def test_rows_are_found_by_hash_where_there_is_no_link(tmp_path: Path) -> None:
    published(tmp_path, (60,), url=[])
    folder = open_folder(str(tmp_path))
    found = find(folder, Wanted([None, None], [7919 * 12, None]))
    assert (found.by, found.hits[0].row) == ("hash", 12)
    with pytest.raises(EncodeError, match="no column url, nor a hash"):
        find(folder, Wanted([url(1)]))
    with pytest.raises(EncodeError, match="another kind"):
        find(folder, Wanted([None], ["text"]))


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
    assert json.loads(done.stdout)["checks"]["reference"]["cosine"] is not None


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


def test_over_http_little_more_than_the_rows_is_moved(tmp_path: Path) -> None:
    """1000 of 20000 vectors: at most three times their size, beside the one column of metadata."""
    vectors = published(tmp_path, (20_000,), width=768, caption=["a caption of some length"] * 20_000)
    numbers = np.random.default_rng(1).choice(20_000, 1000, replace=False).tolist()
    pages = {f"/{file.relative_to(tmp_path)}": file for file in tmp_path.rglob("*.*")}
    with served(pages) as address:
        folder = open_folder(str(address))
        found = find(folder, Wanted([url(number) for number in numbers]))
        of_metadata = address.bytes_sent
        address.sent.clear()
        read = read_rows(folder, [found.hits[rank] for rank in range(1000)])
        assert address.bytes_sent <= 3 * 1000 * 768 * 2
    assert (read == vectors[numbers].astype(np.float32)).all()
    file = pq.ParquetFile(tmp_path / "metadata/metadata_0.parquet").metadata
    at = file.schema.names.index("url")
    column = sum(
        file.row_group(group).column(at).total_compressed_size for group in range(file.num_row_groups)
    )
    assert of_metadata <= column + 2 * file.serialized_size + 3 * 65536


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
        case "columns first":
            vectors.write_bytes(data.replace(b"'fortran_order': False", b"'fortran_order': True "))
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
        "cut off", "no array", "a pickle", "a lying header", "columns first", "not a number", "fewer vectors",
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


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    published(tmp_path / "v", (50,))
    run, recipe = a_run(tmp_path / "run", [900, 901], 2, tmp_path / "v")
    with pytest.raises(EncodeError, match="none of the 2 rows has a vector"):
        encode_precomputed(run, recipe)
    with pytest.raises(EncodeError, match="holds no img_emb"):
        open_folder(str(tmp_path / "nowhere"))
    with served({}) as address, pytest.raises(EncodeError, match="holds no img_emb"):
        open_folder(f"{address}/v")


def test_ranges_are_put_together_where_little_lies_between() -> None:
    assert coalesced([(0, 10), (10, 20), (25, 30), (50, 60)], gap=5) == [(0, 30), (50, 60)]
