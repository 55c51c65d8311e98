"""Several encoders in one pass: each picture is decoded once, each encoder has what it has when alone."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import odd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from click.testing import CliRunner, Result
from shard_files import run_folder, tar

from visunex.aesthetic_embeddings import load
from visunex.clip import factory, preprocess
from visunex.clip.errors import DeviceMemoryError
from visunex.clip.factory import load_image_encoder
from visunex.pipeline.cli import main
from visunex.pipeline.earlier import set_aside
from visunex.pipeline.encode.encoders import Target, load_encoders
from visunex.pipeline.encode.partition_encoder import encode_lots
from visunex.pipeline.encode.reports import EncodeReport
from visunex.pipeline.encode.stage import encode
from visunex.pipeline.errors import EncodeError, StaleRunError
from visunex.pipeline.rundir import RunDir
from visunex.pipeline.shards.samples import sources
from visunex.pipeline.vectors.store import read_vectors
from visunex.recipes import Encode, Recipe, RecipeError, override
from visunex.recipes.encoders import parse_encoder


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Three encoders: the second sees the first one's pixels, the third smaller pictures, of another grey."""
    folder = tmp_path_factory.mktemp("models")
    return [
        odd.small_model(folder / "first"),
        odd.small_model(folder / "second", seed=1, dimension=40, mean=0.4),
        odd.small_model(folder / "third", seed=2, size=16, mean=0.3),
    ]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def photographs() -> list[bytes]:
    """They are decoded smaller, by another factor for each size."""
    return [odd.file(odd.photograph((290 + 23 * index, 280)), "JPEG") for index in range(8)]


@pytest.fixture
def mine(tmp_path: Path, photographs: list[bytes]) -> Path:
    """The photographs in two folders, one of them with a broken one."""
    for index, data in enumerate([*photographs, b"broken"]):
        file = tmp_path / "mine" / str(index % 2) / f"{index:02d}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    return tmp_path / "mine"


def recipe(models: list[str], **settings: Any) -> Recipe:
    given = {"model": models[0], "also": models[1:], "precision": "fp32", "workers": 0, **settings}
    return Recipe(name="test", encode=Encode(**given))


def encoded(run: Path, asked: Recipe, *images: Path, **settings: Any) -> EncodeReport:
    with RunDir(run).locked():
        return encode(RunDir(run), asked, images=images, **settings)


def spaces(models: list[str]) -> list[str]:
    return ["", *(parse_encoder(each).space for each in models[1:])]


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def vectors(run: Path, models: list[str]) -> list[dict[str, bytes]]:
    return [files(RunDir(run, space).vectors) for space in spaces(models)]


@pytest.mark.parametrize("settings", [{"workers": 1}, {"preprocess": "host"}, {"exact_decode": True}])
def test_each_encoder_has_the_bytes_that_it_has_alone(
    models: list[str], mine: Path, tmp_path: Path, settings: dict[str, Any]
) -> None:
    report = encoded(tmp_path / "all", recipe(models, **settings), mine)
    assert [each.model for each in (report, *report.also)] == models
    for name, space, each in zip("abc", spaces(models), (report, *report.also), strict=True):
        alone = tmp_path / name
        encoded(alone, recipe([each.model], **settings), mine)
        together = RunDir(tmp_path / "all", space)
        assert files(together.vectors) == files(alone / "vectors")
        assert together.embedding.read_bytes() == (alone / "embedding.pt").read_bytes()
        assert (each.images, each.encoded, each.failed) == (9, 8, {"not_an_image": 1})
        assert json.loads(together.provenance.read_text())["model"]["name"] == each.model


def counted(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """How often pictures are decoded from here on."""
    calls: list[int | None] = []
    own = preprocess.decode

    def noted(data: bytes, enough: int | None = None) -> Any:
        calls.append(enough)
        return own(data, enough)

    monkeypatch.setattr(preprocess, "decode", noted)
    return lambda: len(calls)


def test_a_picture_is_decoded_once_for_all_that_take_it_at_one_size(
    models: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "few").mkdir()
    (tmp_path / "few" / "small.jpg").write_bytes(odd.file(odd.photograph((60, 50)), "JPEG"))
    (tmp_path / "few" / "large.png").write_bytes(odd.file(odd.photograph((400, 300)), "PNG"))
    (tmp_path / "few" / "large.jpg").write_bytes(odd.file(odd.photograph((400, 300)), "JPEG"))
    decoded = counted(monkeypatch)
    encoded(tmp_path / "run", recipe(models[:2]), tmp_path / "few")
    assert decoded() == 3
    encoded(tmp_path / "other", recipe(models), tmp_path / "few")
    assert decoded() == 3 + 3 + 1  # the large JPEG again: the third wants a quarter where others want half


def test_what_one_encoder_has_is_not_done_again_for_another(
    models: list[str], mine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    encoded(run, recipe(models[:1]), mine / "0", mine / "1")
    own = next((run / "vectors").rglob("*.npy")).stat().st_mtime_ns
    report = encoded(run, recipe(models), mine / "0", mine / "1")
    assert report.encoded_now == 8
    assert next((run / "vectors").rglob("*.npy")).stat().st_mtime_ns == own
    whole = vectors(run, models)
    third = RunDir(run, spaces(models)[2]).vectors
    for path in third.rglob("*_0001.*"):
        path.unlink()
    decoded = counted(monkeypatch)
    assert encoded(run, recipe(models), mine / "0", mine / "1").encoded_now == decoded() == 4
    assert vectors(run, models) == whole
    assert encoded(run, recipe(models), mine / "0", mine / "1").encoded_now == 0


def test_another_encoder_in_a_place_of_the_run_is_refused(
    models: list[str], mine: Path, tmp_path: Path
) -> None:
    changing = f"local-dir:{tmp_path / 'changing'}"
    shutil.copytree(models[1].removeprefix("local-dir:"), tmp_path / "changing")
    encoded(tmp_path / "run", recipe([models[0], changing]), mine)
    before = vectors(tmp_path / "run", [models[0], changing])
    odd.small_model(tmp_path / "changing", seed=7, dimension=40)
    with pytest.raises(StaleRunError, match=r"vectors-changing-\w+ was made from something else .*weights"):
        encoded(tmp_path / "run", recipe([models[0], changing]), mine)
    assert vectors(tmp_path / "run", [models[0], changing]) == before
    encoded(tmp_path / "run", recipe([models[0], changing]), mine, overwrite=True)
    own, other = vectors(tmp_path / "run", [models[0], changing])
    assert own == before[0]
    assert other != before[1]


def test_without_a_run_there_is_an_embedding_for_each_and_nothing_else(
    models: list[str], mine: Path, tmp_path: Path
) -> None:
    done = visunex_data("encode", "--images", "mine", "--out", "me.pt", "--model", models[0],
                        "--also", models[1], "--also", "visunex-tiny")  # fmt: skip
    assert done.exit_code == 0, done.output
    second = f"me-{spaces(models)[1]}"
    names = ["me", second, "me-visunex-tiny"]
    assert sorted(path.name for path in tmp_path.glob("me*")) == sorted(
        name + kind for name in names for kind in (".json", ".pt")
    )
    assert [load(f"{name}.pt").dimension for name in names] == [24, 40, 768]
    assert f"8 of 9 pictures encoded with {models[1]}\n{second}.pt: 1x40" in done.stdout
    Path("other-visunex-tiny.pt").write_bytes(b"precious")
    done = visunex_data("encode", "--images", "mine", "--out", "other.pt", "--also", "visunex-tiny")
    assert (done.exit_code, Path("other-visunex-tiny.pt").read_bytes()) == (1, b"precious")


def visunex_data(*arguments: str) -> Result:
    return CliRunner().invoke(main, [*arguments], prog_name="visunex-data")


def test_two_devices_give_what_one_gives(models: list[str], mine: Path, tmp_path: Path) -> None:
    places, asked = sources([mine / "0", mine / "1"]), recipe(models, batch_size=2).encode
    for device in ("cpu", "cpu,cpu"):
        encoders, folders = load_encoders(asked, device), [tmp_path / device / name for name in "abc"]
        targets = list(map(Target, encoders, folders, asked.of_each))
        counts, encoded_now = encode_lots([places], targets, Silent())
        assert encoded_now == 8
        assert [each.encoded for each in counts] == [8] * 3
    for name in "abc":
        one, both = (read_vectors(tmp_path / device / name) for device in ("cpu", "cpu,cpu"))
        assert np.allclose(*(np.concatenate(list(each.units())) for each in (one, both)), atol=1e-4)


class Silent:
    def advance(self, count: int = 1) -> None: ...

    def skip(self, count: int) -> None: ...


def test_pictures_go_when_all_encoders_have_their_vectors(models: list[str], tmp_path: Path) -> None:
    run = RunDir(run_folder(tmp_path / "run", ["000000000", "000000001", "000000002"]))
    run.note("download", {"made": "here"})
    encoded(run.path, recipe(models[:2], discard_images=True))
    assert not list(run.shards.glob("*.tar"))
    assert [len(read_vectors(RunDir(run.path, space).vectors)) for space in spaces(models[:2])] == [3, 3]
    again = encoded(run.path, recipe(models[:2], discard_images=True))
    assert (again.encoded, again.also[0].encoded, again.encoded_now) == (3, 3, 0)
    with pytest.raises(StaleRunError, match=r"were discarded .* none for local-dir:.*third"):
        encoded(run.path, recipe(models, discard_images=True))


def test_the_first_encoders_vectors_say_which_pictures_count(models: list[str], tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    for index in range(6):  # three twice
        data = odd.file(odd.photograph((60 + index // 2, 50)).rotate(40 * (index // 2)), "PNG")
        (tmp_path / "mine" / f"{index}.png").write_bytes(data)
    asked = override(recipe(models), {"filter.dedupe_vectors": 0.99999})
    report = encoded(tmp_path / "run", asked, tmp_path / "mine")
    made = [json.loads(RunDir(tmp_path / "run", each).provenance.read_text()) for each in spaces(models)]
    assert [each["images"]["used"] for each in made] == [3, 3, 3]
    assert made[1]["choice"] == made[0]["choice"] == report.choice
    other = load(RunDir(tmp_path / "run", spaces(models)[1]).embedding).vector
    units = np.concatenate(list(read_vectors(RunDir(tmp_path / "run", spaces(models)[1]).vectors).units()))
    mean = units[[0, 2, 4]].mean(axis=0)
    assert np.allclose(other, mean / np.linalg.norm(mean), atol=1e-6)


def test_a_contrast_has_a_baseline_of_each_encoder(models: list[str], mine: Path, tmp_path: Path) -> None:
    settings = {"reduce": "contrast", "baseline": str(mine / "1")}
    encoded(tmp_path / "all", recipe(models[:2], **settings), mine / "0")
    encoded(tmp_path / "alone", recipe([models[1]], **settings), mine / "0")
    encoded(tmp_path / "base", recipe(models[:2]), mine / "1")
    encoded(tmp_path / "vectors", recipe(models[:2], **settings | {"baseline": "base"}), mine / "0")
    for run in ("all", "vectors"):
        together = RunDir(tmp_path / run, spaces(models)[1]).embedding
        assert together.read_bytes() == (tmp_path / "alone" / "embedding.pt").read_bytes()
    assert not (tmp_path / "vectors" / f"vectors-{spaces(models)[1]}" / "baseline").exists()
    settings["baseline"] = str(tmp_path / "base" / "vectors")
    with pytest.raises(EncodeError, match=r"holds vectors and no pictures.*--baseline"):
        encoded(tmp_path / "none", recipe(models[:2], **settings), mine / "0")


def test_what_was_set_aside_is_taken_over_by_each_encoder(models: list[str], tmp_path: Path) -> None:
    """As `run` with a larger `top` leaves it: pictures are known by the SHA-256 of their files."""
    run = RunDir(tmp_path / "run")
    shard(run, 2)
    encoded(run.path, recipe(models))
    with run.locked():
        set_aside(run)
    assert not list(run.path.glob("vectors*"))
    shard(run, 3)
    report = encoded(run.path, recipe(models))
    assert (report.encoded, [each.encoded for each in report.also], report.encoded_now) == (3, [3, 3], 1)
    assert not list((run.path / ".visunex" / "earlier" / "vectors").rglob("*.npy"))


def shard(run: RunDir, count: int) -> None:
    """A run's only shard, of so many different pictures."""
    data = [odd.file(odd.photograph((50, 40 + index)), "JPEG") for index in range(count)]
    tar(run.shards / "00000.tar", {f"00000000{index}.jpg": each for index, each in enumerate(data)})
    hashes = [hashlib.sha256(each).hexdigest() for each in data]
    keys = [f"00000000{index}" for index in range(count)]
    table = pa.table({"key": keys, "sha256": hashes, "chosen": [True] * count})
    for path in (run.downloaded, run.shards / "00000.parquet"):
        pq.write_table(table, path)
    (run.shards / "00000_stats.json").write_text("{}")


@pytest.mark.parametrize(
    ("settings", "fault"),
    [
        ({"also": ["ViT-L-14:openai"]}, "ViT-L-14:openai twice, or it is the model itself"),
        ({"also": ["ViT-H-14:a", "ViT-H-14:a"]}, "ViT-H-14:a twice"),
        ({"also": ["ViT-H-14:"]}, "no MODEL:WEIGHTS, such as ViT-H-14:laion2b_s32b_b79k"),
        ({"also": "visunex-tiny", "precomputed": "x"}, "published vectors in their place"),
    ],
)
def test_what_cannot_be_meant_is_refused(settings: dict[str, Any], fault: str) -> None:
    changed = {f"encode.{key}": value for key, value in settings.items()}
    with pytest.raises(RecipeError, match=fault):
        override(Recipe(name="x"), changed)


def test_files_are_named_by_the_space() -> None:
    names = {text: parse_encoder(text).space for text in ("ViT-H-14:laion2b_s32b_b79k", "visunex-tiny")}
    assert names == {
        "ViT-H-14:laion2b_s32b_b79k": "ViT-H-14-laion2b_s32b_b79k",
        "visunex-tiny": "visunex-tiny",
    }
    assert parse_encoder("local-dir:/a/m").space != parse_encoder("local-dir:/b/m").space
    assert "/" not in parse_encoder("ViT-B-32:../../x.pt").space


def test_too_little_memory_for_all_says_how_to_go_on(
    models: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    own, built = factory._build, []

    def second_fails(*arguments: Any) -> Any:
        built.append(1)
        if len(built) == 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 7 GiB")
        return own(*arguments)

    monkeypatch.setattr(factory, "_build", second_fails)
    with pytest.raises(
        DeviceMemoryError, match=r"second does not fit into the memory of cpu; 2 encoders.*--also"
    ):
        load_encoders(recipe(models[:2]).encode, "cpu")
    assert load_image_encoder(models[0], device="cpu").dimension == 24
