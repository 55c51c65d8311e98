"""Published predictors score vectors as they were published to, and refuse those of other models."""

import json
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result
from numpy.typing import NDArray
from predictor_files import plainly, saved_model

from visunex.aesthetic_embeddings import load as load_embedding
from visunex.aesthetic_embeddings import save
from visunex.pipeline.cli import main
from visunex.pipeline.errors import EncodeError
from visunex.pipeline.score import load, named, predictors
from visunex.pipeline.score.published import read_head
from visunex.pipeline.score.rows import rows_of
from visunex.pipeline.vectors.store import read_vectors

EMBEDDINGS = ("aivazovsky", "cloudcore", "fantasy", "flower_plant", "gloomcore", "glowwave", "laion_7plus",
              "sac_8plus")  # fmt: skip


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


def unit(values: Any) -> NDArray[np.float32]:
    rows = np.atleast_2d(np.asarray(values, np.float64))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def ratings(reference: Path) -> NDArray[np.float32]:
    return unit(np.concatenate([
        np.load(reference / f"laion_ratings_vit_l_14/rating{each}.npy").reshape(1, -1) for each in range(10)
    ]))  # fmt: skip


def numbers(line: str) -> list[str]:
    return re.findall(r"-?\d+\.\d+", line)


def test_scores_are_those_of_the_reference_to_the_digits_given(reference: Path) -> None:
    text = (reference / "README.md").read_text()
    heads = {each.name: load(each, str(reference)) for each in named(["v1", "V2", "SAC"])}
    rated = {name: head.scores(ratings(reference)) for name, head in heads.items()}
    v1, v2 = re.search(r"V1 scores of rating0..9 rise strictly:(.*); V2:(.*)\n", text).groups()  # type: ignore[union-attr]
    sac, of_embeddings = re.search(r"rating0..9: (.*); of the embeddings above.*?: (.*)\n", text).groups()  # type: ignore[union-attr]
    assert [f"{each:.2f}" for each in rated["V1"]] == numbers(v1)
    assert [f"{each:.2f}" for each in rated["V2"]] == numbers(v2)
    assert [f"{each:.3f}" for each in rated["sac"]] == numbers(sac)
    units = unit(
        [load_embedding(reference / f"aesthetic_embeddings/{each}.pt").vector[0] for each in EMBEDDINGS]
    )
    rows = {cells[0]: cells for line in text.splitlines() if (cells := re.findall(r"[^|* ]+", line))}
    for number, name in enumerate(EMBEDDINGS):
        found = [f"{heads[each].scores(units)[number]:.3f}" for each in ("V1", "V2")]
        assert found == rows[name][-2:]
    assert [f"{each:.3f}" for each in heads["sac"].scores(units)] == numbers(of_embeddings)


@pytest.mark.parametrize(("name", "kernel", "bias"), [
    ("V1", "weight", "bias"), ("sac", "linear.weight", "linear.bias"),
])  # fmt: skip
def test_a_head_is_the_one_that_torch_reads(reference: Path, name: str, kernel: str, bias: str) -> None:
    import torch

    predictor = predictors()[name]
    state = torch.load(predictor.file.bring(str(reference)), map_location="cpu", weights_only=True)
    (one,) = load(predictor, str(reference)).layers
    times = np.sqrt(768) if name == "sac" else 1
    assert np.array_equal(one.kernel, state[kernel].double().numpy().T * times)
    assert np.array_equal(one.bias, state[bias].double().numpy())


def test_v2_is_one_affine_map(reference: Path) -> None:
    import torch

    (one,) = load(predictors()["V2"], str(reference)).layers
    path = reference / "predictors" / "sac+logos+ava1-l14-linearMSE.pth"
    state = torch.load(path, map_location="cpu", weights_only=True)
    values = torch.from_numpy(unit(np.random.default_rng(0).standard_normal((50, 768)))).double()
    chain = values
    for layer in ("0", "2", "4", "6", "7"):
        chain = chain @ state[f"layers.{layer}.weight"].double().T + state[f"layers.{layer}.bias"].double()
    assert np.abs(values.numpy() @ one.kernel + one.bias - chain.numpy()).max() < 1e-12
    assert np.linalg.norm(one.kernel) == pytest.approx(17.9956, abs=1e-4)
    assert float(one.bias[0]) == pytest.approx(5.23665, abs=1e-5)


def test_the_unsafe_head_is_its_layers_read_plainly() -> None:
    random = np.random.default_rng(1)
    data, plain = saved_model(predictors()["nsfw"].layout, random)
    units = unit(random.standard_normal((200, 768)))
    for dimension, texts in plain["texts"].items():
        units[::3, dimension] = float(texts[5])
    found = read_head(data, predictors()["nsfw"].layout).scores(units)
    assert np.abs(found - plainly(plain, units)).max() < 2e-4
    assert len(np.unique(found)) > 20


@pytest.mark.internet
def test_the_unsafe_head_gives_what_tensorflow_gives() -> None:
    if not os.environ.get("VISUNEX_REAL_WEIGHTS"):
        pytest.skip("the published detector is not here (VISUNEX_REAL_WEIGHTS=1 fetches it)")
    rows = unit(np.random.default_rng(0).standard_normal((2000, 768)))[:5]
    expected = [2.5614584e-04, 7.9255909e-02, 3.7545928e-01, 1.5266991e-04, 5.2174972e-03]  # tensorflow 2.21
    assert load(predictors()["nsfw"]).scores(rows) == pytest.approx(expected, abs=1e-5)


def vectors(folder: Path, reference: Path, rows: int = 40) -> Path:
    """Two parts of raw float16 vectors around LAION's ratings, as clip-retrieval writes them."""
    random = np.random.default_rng(2)
    for part in range(2):
        near = ratings(reference)[random.integers(0, 10, rows)] + random.standard_normal((rows, 768)) * 0.01
        for name in ("img_emb", "metadata"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        np.save(folder / "img_emb" / f"img_emb_{part}.npy", (near * 11).astype(np.float16))
        captions = [f"picture {part}.{row}\x1b[2J" for row in range(rows)]
        pq.write_table(pa.table({"caption": captions}), folder / "metadata" / f"metadata_{part}.parquet")
    return folder


def score(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["score", *map(str, arguments)])


def test_score_prints_and_writes_what_a_folder_scores(reference: Path, tmp_path: Path) -> None:
    folder = vectors(tmp_path / "published", reference)
    result = score(folder, "--with", "v2,V1", "--mirror", reference, "--out", "a.parquet", "--json")
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    rows = pq.read_table("a.parquet")
    raw = np.concatenate([np.load(folder / f"img_emb/img_emb_{part}.npy") for part in range(2)])
    expected = load(predictors()["V2"]).scores(unit(raw))
    assert np.abs(rows["V2"].to_numpy() - expected).max() < 2e-5
    best = report["scores"]["V2"]["highest_rows"][0]
    assert best["row"] == int(np.argmax(rows["V2"].to_numpy()))
    assert rows["caption"][best["row"]].as_py()
    assert report["vectors"] == rows.num_rows == 80
    assert report["scores"]["V1"]["mean"] == pytest.approx(float(rows["V1"].to_numpy().mean()))
    shown = score(folder, "--mirror", reference, "--out", "a.parquet")
    assert shown.exit_code == 0
    assert "\x1b" not in shown.output
    assert "written to a.parquet" in shown.output
    Path("b.parquet").write_bytes(b"mine")
    refused = score(folder, "--mirror", reference, "--out", "b.parquet")
    assert refused.exit_code == 2
    assert "--overwrite replaces it" in refused.output
    assert Path("b.parquet").read_bytes() == b"mine"


def test_an_embedding_and_what_is_none(reference: Path, tmp_path: Path) -> None:
    assert "7.067" in score("fantasy", "--mirror", reference).output
    nearest = score("fantasi", "--mirror", reference)
    assert nearest.exit_code == 2
    assert "did you mean fantasy?" in nearest.output
    unknown = score("fantasy", "--with", "V3", "--mirror", reference)
    assert unknown.exit_code == 2
    assert "there are V1, V2, sac, nsfw" in unknown.output
    save(tmp_path / "small.pt", np.ones(64), {})
    small = score("small.pt", "--mirror", reference)
    assert small.exit_code == 1
    assert "of 64 dimensions, and V2 scores those of ViT-L-14 openai" in small.output
    other = {"model": {"name": "ViT-L-14-336", "pretrained": "openai"}}
    save(tmp_path / "other.pt", np.ones(768), other)
    assert "are of ViT-L-14-336 openai, and V2 scores" in score("other.pt", "--mirror", reference).output
    begun = tmp_path / "begun"
    begun.mkdir()
    (begun / "recipe.toml").touch()
    assert "make them with `visunex-data encode --run begun`" in score("begun").output


def test_a_predictor_that_cannot_be_had_is_named(tmp_path: Path) -> None:
    with pytest.raises(EncodeError, match=r"the mirror .* has no predictors/sa_0_4_vit_l_14_linear\.pth"):
        load(predictors()["V1"], str(tmp_path))
    (tmp_path / "sa_0_4_vit_l_14_linear.pth").write_bytes(b"another file")
    with pytest.raises(EncodeError, match="is not the published predictor V1: its SHA-256 is"):
        load(predictors()["V1"], str(tmp_path))


def test_metadata_of_any_type_costs_no_score(reference: Path, tmp_path: Path) -> None:
    folder = vectors(tmp_path / "v", reference, rows=3)
    odd = {"key": pa.array([1, None, 3]), "url": pa.array([b"\xff", b"http://a", None], pa.binary()),
           "caption": pa.array([["a"], [], None])}  # fmt: skip
    pq.write_table(pa.table(odd), folder / "metadata" / "metadata_0.parquet")
    result = score(folder, "--mirror", reference, "--out", "a.parquet")
    assert result.exit_code == 0, result.output
    rows = pq.read_table("a.parquet")
    assert rows["key"].to_pylist() == ["1", None, "3", None, None, None]
    assert rows["url"].to_pylist() == [None, "http://a", None, None, None, None]
    assert rows["caption"].to_pylist()[:3] == [None] * 3
    for part in range(2):
        np.save(folder / "img_emb" / f"img_emb_{part}.npy", np.zeros((0, 768), np.float16))
        pq.write_table(pa.table({"caption": pa.array([], pa.string())}),
                       folder / "metadata" / f"metadata_{part}.parquet")  # fmt: skip
    empty = score(folder, "--mirror", reference)
    assert (empty.exit_code, "holds no vectors" in empty.output) == (1, True)
    none = score(folder, "--with", ",", "--mirror", reference)
    assert (none.exit_code, "no predictor is named" in none.output) == (2, True)


def test_metadata_is_read_in_blocks(reference: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = vectors(tmp_path / "v", reference, rows=50)
    raw = np.load(folder / "img_emb/img_emb_0.npy")
    raw[[3, 48]] = 0
    np.save(folder / "img_emb/img_emb_0.npy", raw)
    urls = [f"http://a/{row}" for row in range(50)]
    table = {"url": urls, "caption": ["a"] * 50, "key": pa.array([None] * 50, pa.string())}
    pq.write_table(pa.table(table), folder / "metadata" / "metadata_0.parquet", row_group_size=9)
    whole = rows_of(read_vectors(folder))
    assert whole.column_names == ["url", "caption"]
    assert whole["url"].to_pylist() == [each for each in urls if each[9:] not in ("3", "48")] + [None] * 50
    assert score(folder, "--mirror", reference, "--out", "whole.parquet").exit_code == 0
    monkeypatch.setattr("visunex.pipeline.score.rows._BLOCK", 7)
    result = score(folder, "--mirror", reference, "--out", "blocks.parquet", "--show", 98, "--json")
    assert pq.read_table("blocks.parquet").equals(pq.read_table("whole.parquet"))
    report = json.loads(result.stdout)["scores"]["V2"]
    found = pq.read_table("blocks.parquet").to_pylist()
    assert len(report["highest_rows"]) == len(found) == 98
    for row in report["highest_rows"]:
        assert found[row["row"]] == {"url": row.get("url"), "caption": row["caption"], "V2": row["score"]}
    scores = [row["score"] for row in report["highest_rows"]]
    assert scores == sorted(scores, reverse=True)
    assert [row["score"] for row in report["lowest_rows"]] == scores[::-1]
    for path in (folder / "metadata").iterdir():
        path.unlink()
    assert score(folder, "--mirror", reference, "--out", "alone.parquet").exit_code == 0
    assert pq.read_table("alone.parquet").equals(pq.read_table("whole.parquet").select(["V2"]))
