"""Choosing by looks: likeness to words and pictures, by vectors that somebody has published."""

import itertools
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result
from pages import served

from visunex import recipes
from visunex.clip.factory import load_image_encoder, load_text_encoder
from visunex.demo.world import World, metadata
from visunex.pipeline.cli import main
from visunex.pipeline.run import run_recipe
from visunex.pipeline.rundir import RunDir
from visunex.pipeline.shards.samples import Sample
from visunex.pipeline.vectors import measured
from visunex.pipeline.vectors.store import part_paths, write_part

ROWS = 120
WORLD = World(rows=ROWS)


class Drawn:
    """The demo world with the vectors of its pictures published: every tenth is missing."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.metadata, self.vectors, self.picture = folder / "m.parquet", folder / "v", folder / "flowers.png"
        table = metadata("http://demo.invalid", WORLD)
        pq.write_table(table, self.metadata)
        self.urls: list[str] = table["URL"].to_pylist()
        self.scores = dict(zip(self.urls, table["AESTHETIC_SCORE"].to_pylist(), strict=True))
        encoder = load_image_encoder("visunex-tiny")
        scenes = [entry.scene for entry in WORLD.entries]
        from visunex.demo.scenes import render

        pictures = [render(scene) for scene in scenes]
        self.shown = dict(zip(self.urls, scenes, strict=True))
        raw = encoder.encode(np.stack([encoder.preprocessing.square(picture) for picture in pictures]))
        self.raw = dict(zip(self.urls, raw, strict=True))
        self.has = [n for n in range(ROWS) if n % 10]
        for number, own in enumerate((self.has[:50], self.has[50:])):
            samples = [Sample(str(n), "", Path(), 0, 0, "", self.urls[n], 1.0) for n in own]
            notes = {"model": ["visunex-tiny", ""]}
            write_part(part_paths(self.vectors, number), raw[own], samples, notes)
        pictures[next(n for n, scene in enumerate(scenes) if scene.has_flowers)].save(self.picture)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Drawn:
    return Drawn(tmp_path_factory.mktemp("drawn"))


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["filter", *map(str, arguments)])


def choose(drawn: Drawn, run: Path, *arguments: object) -> tuple[dict[str, Any], pl.DataFrame]:
    """Filter by the command, with the tiny model; the report and the selection."""
    usual = (drawn.metadata, "--model", "visunex-tiny", "--precomputed", drawn.vectors, "--run", run)
    done = invoke(*usual, *arguments, "--json")
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert report["rows"] == sum(report["dropped"].values()) + report["selected"]
    return report, pl.read_parquet(run / "selected.parquet")


def unit(vectors: Any) -> Any:
    wide = np.asarray(vectors, dtype=np.float64)
    return wide / np.linalg.norm(wide, axis=-1, keepdims=True)


def test_flowers_come_first_when_asked_for(drawn: Drawn, tmp_path: Path) -> None:
    report, rows = choose(drawn, tmp_path, "--like", "a flower field", "--top", 8)
    assert all(drawn.shown[url].has_flowers for url in rows["url"][:8])
    assert report["dropped"]["no_vector"] == ROWS - len(drawn.has)
    text = unit(load_text_encoder("visunex-tiny").encode(["a flower field"]))[0]
    expected = sorted((-unit(drawn.raw[drawn.urls[n]]) @ text, drawn.urls[n]) for n in drawn.has)[:32]
    np.testing.assert_allclose(rows["likeness"], [-value for value, _ in expected], atol=2e-6)
    assert (report["ranked_by"], report["best_likeness"]) == ("likeness", rows["likeness"][0])
    assert report["best_score"] is None
    assert rows["score"].to_list() == pytest.approx([drawn.scores[url] for url in rows["url"]])


def test_texts_and_pictures_are_averaged(drawn: Drawn, tmp_path: Path) -> None:
    arguments = ("--like", "a castle, at night", "--like", "stars", "--like-image", drawn.picture)
    _, rows = choose(drawn, tmp_path, *arguments)
    encoder = load_image_encoder("visunex-tiny", precision="fp32")
    pixels = encoder.preprocessing.pixels(drawn.picture.read_bytes())
    texts = load_text_encoder("visunex-tiny").encode(["a castle, at night", "stars"])
    query = unit(unit(np.concatenate([texts, encoder.encode(pixels[None])])).mean(0))
    own = [float(unit(drawn.raw[url]) @ query) for url in rows["url"]]
    np.testing.assert_allclose(rows["likeness"], own, atol=2e-5)
    assert recipes.load(tmp_path).filter.like == ("a castle, at night", "stars")


def test_what_is_most_like_a_picture_comes_first(drawn: Drawn, tmp_path: Path) -> None:
    _, rows = choose(drawn, tmp_path, "--like-image", drawn.picture, "--top", 5)
    assert all(drawn.shown[url].has_flowers for url in rows["url"][:5])


def test_what_is_unlike_comes_last(drawn: Drawn, tmp_path: Path) -> None:
    liked = ("--like", "a castle", "--top", ROWS)
    _, plain = choose(drawn, tmp_path / "plain", *liked)
    report, rows = choose(drawn, tmp_path / "unlike", *liked, "--unlike", "night", "--unlike-weight", 1)
    texts = unit(load_text_encoder("visunex-tiny").encode(["a castle", "night"]))
    query = unit(texts[0] - texts[1])
    own = [float(unit(drawn.raw[url]) @ query) for url in rows["url"]]
    np.testing.assert_allclose(rows["likeness"], own, atol=2e-5)

    def rank_of_nights(rows: pl.DataFrame) -> float:
        nights = [drawn.shown[url].palette == "night" for url in rows["url"]]
        return float(np.flatnonzero(nights).mean())

    assert rank_of_nights(rows) > rank_of_nights(plain) + 5
    alone, away = choose(drawn, tmp_path / "alone", "--unlike", "night", "--top", 20)
    assert not any(drawn.shown[url].palette == "night" for url in away["url"][:10])
    assert alone["ranked_by"] == report["ranked_by"] == "likeness"
    same = invoke(drawn.metadata, "--model", "visunex-tiny", "--precomputed", drawn.vectors,
                  "--like", "night", "--unlike", "night", "--unlike-weight", 1)  # fmt: skip
    assert (same.exit_code, "nothing is left to look for" in same.output) == (2, True)


def test_likeness_combines_with_words_and_scores(drawn: Drawn, tmp_path: Path) -> None:
    words = ("--keywords", "castle,flower,garden", "--min-score", 5)
    plain, all_rows = choose(drawn, tmp_path / "plain", *words, "--top", ROWS)
    report, rows = choose(drawn, tmp_path / "liked", *words, "--top", ROWS, "--like", "flowers")
    dropped = report["dropped"]
    assert [dropped[name] for name in ("min_score", "keywords")] == [
        plain["dropped"][name] for name in ("min_score", "keywords")
    ]
    assert set(rows["url"]) == set(all_rows["url"]) & {drawn.urls[n] for n in drawn.has}
    bound = rows["likeness"][rows.height // 2]
    report, rows = choose(drawn, tmp_path / "bound", *words, "--like", "flowers", "--min-likeness", bound)
    assert min(rows["likeness"]) == bound
    assert report["dropped"]["min_likeness"] > 0
    arguments = ("--like", "flowers", "--min-likeness", bound, "--rank", "score")
    report, by_score = choose(drawn, tmp_path / "score", *words, *arguments)
    assert sorted(by_score["url"]) == sorted(rows["url"])
    assert by_score["score"].to_list() == sorted(by_score["score"], reverse=True)
    assert (report["best_score"], report["best_likeness"]) == (by_score["score"][0], None)


def test_equal_likeness_is_ranked_by_link_however_rows_are_cut(
    drawn: Drawn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every picture twice, under two links; in one part and several, in one block and many."""
    urls = [f"http://x.invalid/{n:03d}" for n in range(40)]
    pl.DataFrame({"url": urls[::-1], "caption": ["a"] * 40}).write_parquet(tmp_path / "m.parquet")
    raw = np.stack([drawn.raw[drawn.urls[n // 2]] for n in range(40)])
    found = []
    for block, cuts in ((measured.BLOCK, [0, 40]), (1, [0, 13, 14, 40]), (7, [0, 20, 40])):
        monkeypatch.setattr(measured, "BLOCK", block)
        place = tmp_path / f"v{block}"
        for number, (a, b) in enumerate(itertools.pairwise(cuts)):
            peer(place, number, raw[a:b].astype("<f2" if block == 7 else "<f4"), url=urls[a:b])
        arguments = ("--like", "flowers", "--precomputed", place, "--model", "visunex-tiny")
        done = invoke(tmp_path / "m.parquet", *arguments, "--run", tmp_path / f"r{block}")
        assert done.exit_code == 0, done.output
        found.append(pl.read_parquet(tmp_path / f"r{block}/selected.parquet"))
    assert all(a < b for a, b in zip(found[0]["url"][::2], found[0]["url"][1::2], strict=True))
    assert found[0]["url"].to_list() == found[1]["url"].to_list()
    np.testing.assert_allclose(found[0]["likeness"], found[1]["likeness"], atol=2e-6)
    np.testing.assert_allclose(found[0].sort("url")["likeness"], found[2].sort("url")["likeness"], atol=1e-3)


def peer(folder: Path, number: int, vectors: np.ndarray, **columns: Any) -> None:
    """One part as clip-retrieval writes it."""
    (folder / "img_emb").mkdir(parents=True, exist_ok=True)
    (folder / "metadata").mkdir(exist_ok=True)
    np.save(folder / f"img_emb/img_emb_{number}.npy", vectors)
    pq.write_table(pa.table(columns), folder / f"metadata/metadata_{number}.parquet")


@pytest.mark.parametrize(
    "kind", [pa.large_string(), pa.string_view(), pa.binary(), pa.dictionary(pa.int32(), pa.string())]
)
def test_links_of_every_type_for_text_are_compared(drawn: Drawn, tmp_path: Path, kind: pa.DataType) -> None:
    own = drawn.has[:20]
    links = pa.array([drawn.urls[n] for n in own]).cast(kind)
    peer(tmp_path / "v", 0, np.stack([drawn.raw[drawn.urls[n]] for n in own]), url=links)
    report, _ = choose(drawn, tmp_path / "r", "--like", "a flower", "--precomputed", tmp_path / "v")
    assert report["dropped"]["no_vector"] == ROWS - 20


def test_a_folder_of_vectors_is_a_source_itself(drawn: Drawn, tmp_path: Path) -> None:
    place = tmp_path / "laion"
    raw = np.stack([drawn.raw[url] for url in drawn.urls])
    captions = [f"picture {n}" for n in range(ROWS)]
    for number, own in enumerate((slice(0, 70), slice(70, ROWS))):
        peer(place, number, raw[own].astype("<f2"), url=drawn.urls[own], caption=captions[own])
    done = invoke(place, "--like", "flowers", "--model", "visunex-tiny", "--top", 5, "--run", tmp_path / "r")
    assert done.exit_code == 0, done.output
    assert "likeness 0." in done.stdout
    rows = pl.read_parquet(tmp_path / "r/selected.parquet")
    assert all(drawn.shown[url].has_flowers for url in rows["url"][:5])


def test_vectors_behind_an_address_and_found_by_hash(drawn: Drawn, tmp_path: Path) -> None:
    """Of 120 rows four are in the source, so little is fetched; two of them have no sound vector."""
    table = pl.read_parquet(drawn.metadata).with_row_index("n")
    table.filter(pl.col("n").is_in([3, 4, 50, 90])).write_parquet(tmp_path / "m.parquet")
    raw = np.stack([drawn.raw[url] for url in drawn.urls])
    raw[4], raw[50] = 0, np.nan
    peer(tmp_path / "v", 0, raw, hash=table["hash"].to_arrow())
    pages = {f"/v/{file.relative_to(tmp_path / 'v')}": file for file in (tmp_path / "v").rglob("*.*")}
    with served(pages) as address:
        arguments = ("--like", "flowers", "--precomputed", f"{address}/v", "--model", "visunex-tiny")
        done = invoke(tmp_path / "m.parquet", *arguments, "--run", tmp_path / "r", "--json")
        assert done.exit_code == 0, done.output
        assert address.bytes_sent < raw.nbytes / 4
        again = (tmp_path / "m.parquet", *arguments, "--run", tmp_path / "r")
        assert "as filtered before" in invoke(*again).output
        np.save(next((tmp_path / "v/img_emb").glob("*.npy")), raw[::-1])  # the same name and size
        assert "vectors changed since" in invoke(*again).output
    assert invoke(*again).exit_code == 0, "what was read once is resumed without a network"
    report = json.loads(done.stdout)
    assert (report["selected"], report["dropped"]["no_vector"]) == (2, 2)


def test_a_recipe_runs_from_likeness_to_embedding_and_notices_a_change(drawn: Drawn, tmp_path: Path) -> None:
    recipe = recipes.Recipe.model_validate(
        {
            "name": "liked",
            "source": str(drawn.metadata),
            "filter": {"like": "flowers, in a garden", "top": 5, "reserve": 10},
            "encode": {"model": "visunex-tiny", "precomputed": str(drawn.vectors)},
        }
    )
    run = RunDir(tmp_path / "run")
    with run.locked():
        report = run_recipe(run, recipe)
        assert report.filter is not None
        assert (report.filter.ranked_by, report.encode.as_dict()["precomputed"]) == ("likeness", 5)
        again = run_recipe(run, recipe)
    assert again.filter is not None
    assert again.filter.reused
    usual = (drawn.metadata, "--recipe", run.path, "--run", run.path)
    for change, said in (
        (("--like", "castles"), "like changed since"),
        (("--like-image", drawn.picture), "like_images changed since"),
        (("--rank", "score"), "rank changed since"),
        (("--min-likeness", "0.1"), "min_likeness changed since"),
    ):
        refused = invoke(*usual, *change)
        assert (refused.exit_code, said in refused.stderr) == (1, True), refused.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--rank", "likeness"], 'rank = "likeness" needs like or like_images'),
        (["--min-likeness", "0.2"], "min_likeness = 0.2 needs like or like_images"),
        (["--like", "a", "--min-likeness", "2"], "--min-likeness: must be at most 1.0, not 2.0"),
        (["--like", ""], "--like: must not be empty"),
        (["--like", "a"], "say where they lie with --precomputed"),
        (["--like-image", "none.jpg", "--precomputed", "v"], "there is no none.jpg"),
        (["--like-image", ".", "--precomputed", "v"], ". is no picture's file"),
        (["--like-image", "text.jpg", "--precomputed", "v"], "text.jpg cannot be used: an HTML page"),
        (["--like-image", "cut.png", "--precomputed", "v"], "cut.png cannot be used"),
        (["--like-image", "empty.jpg", "--precomputed", "v"], "empty.jpg cannot be used: the file has no"),
    ],
)
def test_senseless_usage_is_a_sentence(
    drawn: Drawn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("v").symlink_to(drawn.vectors)
    Path("text.jpg").write_text("<html>", encoding="utf-8")
    Path("empty.jpg").touch()
    Path("cut.png").write_bytes(drawn.picture.read_bytes()[:200])
    done = invoke(drawn.metadata, "--model", "visunex-tiny", *arguments)
    assert (done.exit_code, said in done.stderr) == (2, True), done.stderr
    assert done.stderr.count("\n") <= 4
    assert not Path("runs/default/selected.parquet").exists()


def broken(folder: Path, how: str) -> None:
    array, table = folder / "img_emb/img_emb_1.npy", folder / "metadata/metadata_1.parquet"
    match how:
        case "cut off":
            array.write_bytes(array.read_bytes()[:-50])
        case "no array":
            array.write_bytes(b"<html>")
        case "a pickle":
            np.save(array, np.array([{}] * 20, dtype=object), allow_pickle=True)
        case "whole numbers":
            np.save(array, np.ones((20, 8), np.int32))
        case "an endless header" | "a deep header" | "a negative count":
            shape = {"an endless header": "(20,", "a deep header": "-" * 5000 + "1"}.get(how, "(-4, 768)")
            text = f"{{'descr': '<f2', 'fortran_order': False, 'shape': {shape}, }}"
            array.write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode())
        case "fewer vectors":
            np.save(array, np.ones((3, 768), np.float16))
        case "another dimension":
            np.save(array, np.ones((20, 512), np.float16))
        case "broken metadata":
            table.write_bytes(table.read_bytes()[:60])
        case "no column":
            pq.write_table(pa.table({"other": list(range(20))}), table)
        case "a column of lists":
            pq.write_table(pa.table({"url": [["a"]] * 20}), table)


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("cut off", "img_emb_1.npy is cut off"),
        ("no array", "img_emb_1.npy holds no vectors"),
        ("a pickle", "img_emb_1.npy holds no vectors"),
        ("whole numbers", "img_emb_1.npy holds no vectors"),
        ("an endless header", "img_emb_1.npy holds no vectors"),
        ("a deep header", "img_emb_1.npy holds no vectors"),
        ("a negative count", "img_emb_1.npy holds no vectors"),
        ("fewer vectors", "they do not belong together"),
        ("another dimension", "vectors of 512 dimensions, the first part of 768"),
        ("broken metadata", "metadata_1.parquet is no parquet file"),
        ("no column", "metadata_1.parquet has no column 'url'"),
        ("a column of lists", "metadata_1.parquet cannot be read"),
    ],
)
def test_a_broken_part_is_named(drawn: Drawn, tmp_path: Path, how: str, said: str) -> None:
    for number in (0, 1):
        own = drawn.urls[20 * number : 20 * number + 20]
        peer(tmp_path / "v", number, np.stack([drawn.raw[url] for url in own]), url=own)
    broken(tmp_path / "v", how)
    arguments = ("--like", "a", "--precomputed", tmp_path / "v", "--model", "visunex-tiny")
    done = invoke(drawn.metadata, *arguments, "--run", tmp_path / "r")
    assert (done.exit_code, said in done.stderr) == (1, True), done.stderr
    assert not (tmp_path / "r/selected.parquet").exists()


def test_vectors_of_another_model_or_data_set_are_refused(drawn: Drawn, tmp_path: Path) -> None:
    peer(tmp_path / "small", 0, np.ones((3, 512), np.float16), url=drawn.urls[:3])
    peer(tmp_path / "foreign", 0, np.ones((3, 768), np.float16), url=["a", "b", "c"])
    peer(tmp_path / "nameless", 0, np.ones((3, 768), np.float16), image_path=["a", "b", "c"])
    tiny = ("--model", "visunex-tiny")
    for place, arguments, said in (
        (drawn.vectors, (), "holds vectors of visunex-tiny, which do not compare with ViT-L-14 openai's"),
        (tmp_path / "small", tiny, "vectors of 512 dimensions, visunex-tiny makes 768"),
        (tmp_path / "foreign", tiny, f"dropped by no_vector {ROWS}"),
        (tmp_path / "nameless", tiny, "its metadata has no column url"),
        (tmp_path / "none", tiny, "holds no img_emb"),
        (tmp_path / "foreign", ("--pretrained", "none"), "ViT-L-14 has no weights 'none'"),
    ):
        done = invoke(drawn.metadata, "--like", "a", "--precomputed", place, *arguments, "--run", tmp_path)
        assert (done.exit_code, said in done.stderr) == (1, True), done.stderr


@pytest.mark.parametrize(
    ("noted", "said"),
    [
        (b'{"model": 5}', "holds vectors of 5, which do not compare"),
        (b"[" * 100_000, "20 best"),
        (b"[1]", "20 best"),
        (b"\xff", "20 best"),
    ],
)
def test_what_a_folder_notes_may_be_anything(drawn: Drawn, tmp_path: Path, noted: bytes, said: str) -> None:
    urls = drawn.urls[:20]
    peer(tmp_path / "v", 0, np.stack([drawn.raw[url] for url in urls]), url=urls)
    table = tmp_path / "v/metadata/metadata_0.parquet"
    pq.write_table(pq.read_table(table).replace_schema_metadata({b"visunex": noted}), table)
    arguments = ("--like", "a", "--precomputed", tmp_path / "v", "--model", "visunex-tiny")
    done = invoke(drawn.metadata, *arguments, "--run", tmp_path / "r")
    assert (done.exit_code, said in done.output) == (int("do not" in said), True), done.output
