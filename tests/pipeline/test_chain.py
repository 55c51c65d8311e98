"""No stage takes what is older than what was asked for; what an input is, is known by its contents."""

import io
import json
import os
import shutil
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner, Result
from filtering import rows, select
from standin import Page, serving

from visunex.base import files
from visunex.base.files import identities
from visunex.demo.server import serve
from visunex.demo.world import metadata_bytes
from visunex.pipeline.chain import require_selection
from visunex.pipeline.cli import main
from visunex.pipeline.errors import EncodeError, StaleRunError
from visunex.pipeline.metadata.resolve import resolve_source
from visunex.pipeline.rundir import RunDir
from visunex.pipeline.shards.made import note_files
from visunex.pipeline.shards.samples import listing, sources
from visunex.recipes import load

DOWNLOAD = ("--allow-private", "--processes", "1", "--min-images", "1")


def command(name: str, *arguments: str, run: Path) -> Result:
    return CliRunner().invoke(main, [name, *arguments, "--run", str(run)])


def done(name: str, *arguments: str, run: Path) -> Result:
    result = command(name, *arguments, run=run)
    assert result.exit_code == 0, result.output
    return result


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The metadata of the demo world, which is served meanwhile."""
    path = tmp_path_factory.mktemp("world") / "metadata.parquet"
    with serve(0) as address:
        path.write_bytes(metadata_bytes(address))
        yield path


def test_each_stage_refuses_what_is_older_than_the_selection(world: Path, tmp_path: Path) -> None:
    """The sequence that made an embedding of flowers while the recipe said castle."""
    run, encode = tmp_path / "run", ("--model", "visunex-tiny")
    done("filter", str(world), "--keywords", "flower", "--top", "4", run=run)
    done("download", *DOWNLOAD, run=run)
    done("encode", *encode, run=run)
    flowers = (run / "embedding.pt").read_bytes()
    done("filter", str(world), "--keywords", "castle", "--top", "4", "--overwrite", run=run)
    for overwrite in ((), ("--overwrite",)):
        refused = command("encode", *encode, *overwrite, run=run)
        assert refused.exit_code == 1
        assert f"visunex-data download --run {run} --overwrite" in " ".join(refused.output.split())
    assert "selection changed" in command("download", *DOWNLOAD, run=run).output
    done("download", *DOWNLOAD, "--overwrite", run=run)
    assert "images changed" in " ".join(command("encode", *encode, run=run).output.split())
    done("encode", *encode, "--overwrite", run=run)
    assert (run / "embedding.pt").read_bytes() != flowers


def test_a_recipe_changed_by_hand_is_no_longer_the_selections(world: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    done("filter", str(world), "--keywords", "flower", "--top", "4", run=run)
    recipe = run / "recipe.toml"
    recipe.write_text(recipe.read_text().replace('"flower"', '"castle"'))
    for stage in ("download", "encode"):
        result = command(stage, run=run)
        assert result.exit_code == 1
        assert "keywords changed" in " ".join(result.output.split())


def test_a_selection_that_was_begun_anew_is_not_taken_for_the_old_one(world: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    done("filter", str(world), "--keywords", "flower", "--top", "4", run=run)
    assert command("filter", str(world), "--keywords", "zzz", "--overwrite", run=run).exit_code == 1
    assert "begun anew" in command("download", run=run).output


@pytest.mark.parametrize("damage", ["", '{"source": "de', "[]", "3"])
def test_a_damaged_file_of_the_run_is_named_and_an_unreadable_report_absent(
    world: Path, tmp_path: Path, damage: str
) -> None:
    run, arguments = tmp_path / "run", (str(world), "--keywords", "flower", "--top", "4")
    done("filter", *arguments, run=run)
    (run / "report.json").write_text(damage)
    done("filter", *arguments, run=run)
    (run / ".visunex" / "filter.json").write_text(damage)
    refused = command("filter", *arguments, run=run)
    assert refused.exit_code == 1
    assert "filter.json is damaged; --overwrite" in " ".join(refused.output.split())
    done("filter", *arguments, "--overwrite", run=run)


@pytest.mark.parametrize("name", ["m.csv", "m.parquet"])
@pytest.mark.parametrize("same_time", [False, True])
def test_a_file_edited_in_the_middle_is_another(tmp_path: Path, name: str, same_time: bool) -> None:
    path = tmp_path / name
    captions = [f"a flower {number:06d}" for number in range(6000)]
    scores = [5.0] * 6000

    def write() -> None:
        table = rows(*captions, AESTHETIC_SCORE=scores)
        if name == "m.csv":
            table.write_csv(path)
        else:
            table.write_parquet(path, compression="uncompressed", statistics=False)

    write()
    before = path.stat()
    assert select(tmp_path / "run", path, keywords=["flower"], top=1)[1]["caption"][0] == captions[0]
    scores[3000] = 9.0
    write()
    assert path.stat().st_size == before.st_size
    if same_time:
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(StaleRunError, match="contents changed"):
        select(tmp_path / "run", path, keywords=["flower"], top=1)
    found = select(tmp_path / "run", path, keywords=["flower"], top=1, overwrite=True)[1]
    assert found["caption"][0] == captions[3000]


def test_what_is_only_touched_or_copied_is_the_same(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    rows("a flower").write_csv(path)
    select(tmp_path / "run", path)
    os.utime(path, (1, 1))
    assert select(tmp_path / "run", path)[0].reused


def test_large_files_are_known_by_times_that_no_tool_sets_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "HASHED", 1)
    path = tmp_path / "m.csv"
    path.write_bytes(b"old")
    os.utime(path, ns=(5, 5))
    before = identities([path])
    assert identities([path]) == before
    path.write_bytes(b"new")
    os.utime(path, ns=(5, 5))
    assert identities([path]) != before


@pytest.mark.parametrize("dated", [True, False])
@pytest.mark.parametrize("name", ["m.csv", "m.parquet"])
def test_a_web_source_without_a_tag_is_known_by_its_date_or_else_read(
    tmp_path: Path, name: str, dated: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    def page(caption: str, date: str) -> Page:
        table, file = rows(caption), tmp_path / name
        table.write_csv(file) if name == "m.csv" else table.write_parquet(file, compression="uncompressed")
        return Page(file.read_bytes(), headers={"ETag": "", "Last-Modified": date if dated else ""})

    with serving({f"/{name}": page("rose", "Mon, 01 Jan 2024 00:00:00 GMT")}) as web:
        address = f"{web.address}/{name}"
        before = resolve_source(address).identity
        assert resolve_source(address).identity == before
        assert ("read anew" in capsys.readouterr().err) is not dated
        web.pages[f"/{name}"] = page("tree", "Tue, 02 Jan 2024 00:00:00 GMT")
        assert resolve_source(address).identity != before


def test_the_log_beside_a_database_is_part_of_it(tmp_path: Path) -> None:
    path = tmp_path / "m.sqlite"
    path.write_bytes(b"database")
    before = resolve_source(str(path)).identity
    (tmp_path / "m.sqlite-wal").write_bytes(b"log")
    assert resolve_source(str(path)).identity != before


@pytest.mark.parametrize("place", ["folder", "one.tar"])
def test_pictures_replaced_under_the_same_name_size_and_time_are_others(tmp_path: Path, place: str) -> None:
    file = tmp_path / "folder" / "a.jpg" if place == "folder" else tmp_path / place
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(b"old")
    os.utime(file, ns=(5, 5))
    before = listing(sources([tmp_path / place]))
    file.write_bytes(b"new")
    os.utime(file, ns=(5, 5))
    assert listing(sources([tmp_path / place])) != before


def test_a_picture_that_vanished_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"old")
    found = sources([tmp_path / "a.jpg"])
    (tmp_path / "a.jpg").unlink()
    with pytest.raises(EncodeError, match=r"a\.jpg cannot be read"):
        listing(found)


def test_an_untouched_selection_is_read_by_the_next_stage(world: Path, tmp_path: Path) -> None:
    """Fewer pictures than the selection was made for may be asked of it."""
    run = tmp_path / "run"
    done("filter", str(world), "--keywords", "flower", "--top", "4", run=run)
    done("download", *DOWNLOAD, "--set", "filter.top=2", run=run)
    assert pl.read_parquet(run / "downloaded.parquet")["chosen"].sum() == 2


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def without_its_first_picture(path: Path) -> None:
    with tarfile.open(path) as tar:
        kept = [(each, tar.extractfile(each).read()) for each in tar.getmembers()[3:]]  # type: ignore[union-attr]
    with tarfile.open(path, "w") as tar:
        for info, data in kept:
            tar.addfile(info, io.BytesIO(data))


def with_other_bytes(path: Path) -> None:
    """At the same places, of the same size, written at the same time."""
    state, data = path.stat(), bytearray(path.read_bytes())
    data[1600] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))


@pytest.fixture(scope="module")
def finished(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of all stages, to be copied."""
    run = tmp_path_factory.mktemp("finished") / "run"
    done("filter", str(world), "--keywords", "flower", "--top", "4", run=run)
    done("download", *DOWNLOAD, run=run)
    done("encode", "--model", "visunex-tiny", run=run)
    return run


@pytest.mark.parametrize(
    ("damage", "noted"),
    [
        (cut, True),
        (cut, False),
        (without_its_first_picture, False),
        (with_other_bytes, True),
        (Path.unlink, True),
    ],
)
def test_a_shard_that_was_damaged_is_refused_and_fetched_again(
    finished: Path, tmp_path: Path, damage: Callable[[Path], None], noted: bool
) -> None:
    """Shards of the first release and of img2dataset do not say what their files were."""
    run = shutil.copytree(finished, tmp_path / "run")
    embedding, stats = (run / "embedding.pt").read_bytes(), run / "shards" / "00000_stats.json"
    if not noted:
        stats.write_text(json.dumps({**json.loads(stats.read_text()), "files": None}))
    damage(run / "shards" / "00000.tar")
    refused = command("encode", run=run)
    assert refused.exit_code == 1
    assert f"00000.tar in {run}/shards" in " ".join(refused.output.split())
    assert f"`visunex-data download --run {run}` fetches" in " ".join(refused.output.split())
    done("download", *DOWNLOAD, run=run)
    done("encode", run=run)
    assert (run / "embedding.pt").read_bytes() == embedding


def test_pictures_fetched_again_at_the_same_place_have_new_vectors(finished: Path, tmp_path: Path) -> None:
    run = shutil.copytree(finished, tmp_path / "run")
    rows = run / "shards" / "00000.parquet"
    table = pl.read_parquet(rows)
    other = pl.when(pl.col("sha256").is_not_null()).then(pl.lit("0" * 64)).alias("sha256")
    table.with_columns(other).write_parquet(rows)
    note_files(run / "shards" / "00000_stats.json", rows.with_suffix(".tar"), rows)
    report = done("encode", "--json", run=run).stdout
    assert json.loads(report)["encoded_now"] > 0
    assert json.loads(done("encode", "--json", run=run).stdout)["encoded_now"] == 0


def test_a_run_without_a_recipe_says_what_to_type(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VISUNEX_RUN", raising=False)
    nothing = CliRunner().invoke(main, ["run"])
    assert nothing.exit_code == 2
    assert "`visunex-data run flower_plant`" in nothing.output
    (tmp_path / "garden").mkdir()
    (tmp_path / "garden" / "recipe.toml").touch()
    missing = command("run", run=tmp_path / "gardn")
    assert missing.exit_code == 2
    assert f"did you mean {tmp_path / 'garden'}?" in missing.output
    assert f"`visunex-data run flower_plant --run {tmp_path / 'gardn'}`" in missing.output


@pytest.mark.parametrize("overwrite", [(), ("--overwrite",)])
def test_what_is_refused_leaves_the_runs_recipe_as_it_was(
    finished: Path, tmp_path: Path, overwrite: tuple[str, ...]
) -> None:
    run = shutil.copytree(finished, tmp_path / "run")
    before = (run / "recipe.toml").read_bytes()
    where = f"source.data={tmp_path / 'nowhere.csv'}"
    assert command("run", str(run / "recipe.toml"), "--set", where, *overwrite, run=run).exit_code == 1
    assert (run / "recipe.toml").read_bytes() == before
    published = tmp_path / "published.toml"
    published.write_text('name = "published"\n[encode]\nvectors = ["nowhere.npy"]\n')
    assert command("run", str(published), *overwrite, run=run).exit_code == 1
    assert (run / "recipe.toml").read_bytes() == before


def test_a_recipe_changed_by_hand_is_mended_by_the_same_filter(world: Path, tmp_path: Path) -> None:
    run, arguments = tmp_path / "run", (str(world), "--keywords", "flower", "--top", "4")
    done("filter", *arguments, run=run)
    recipe = run / "recipe.toml"
    before = recipe.read_text()
    recipe.write_text(before.replace('"flower"', '"castle"'))
    done("filter", *arguments, run=run)
    assert recipe.read_text() == before


def edited(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"flower 2", b"flowers2"))


@pytest.mark.parametrize("large", [False, True])
def test_a_source_edited_since_it_was_filtered_is_refused_by_later_stages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, large: bool
) -> None:
    if large:
        monkeypatch.setattr(files, "HASHED", 1)
    run, source = tmp_path / "run", tmp_path / "m.csv"
    rows("flower 1", "flower 2").write_csv(source)
    done("filter", str(source), "--keywords", "flower", "--top", "2", run=run)
    edited(source)
    for stage in ("download", "encode"):
        refused = command(stage, run=run)
        assert refused.exit_code == 1
        said = " ".join(refused.output.split())
        assert f"m.csv has changed since {run}/selected.parquet was made of it" in said
        assert f"`visunex-data filter --run {run} --overwrite`" in said
    done("filter", str(source), "--keywords", "flower", "--top", "2", "--overwrite", run=run)
    assert "m.csv has changed" not in command("download", *DOWNLOAD, run=run).output


@pytest.mark.parametrize("now", ["gone", "copied", "first release"])
def test_a_source_that_cannot_be_compared_is_no_bar(tmp_path: Path, now: str) -> None:
    run, source = tmp_path / "run", tmp_path / "m.csv"
    rows("flower 1").write_csv(source)
    done("filter", str(source), "--keywords", "flower", "--top", "2", run=run)
    if now == "gone":
        source.unlink()
    elif now == "copied":
        data = source.read_bytes()
        source.unlink()
        source.write_bytes(data)
    else:
        edited(source)
        state = run / ".visunex" / "filter.json"
        old = {**json.loads(state.read_text()), "contents": [{"file": "m.csv", "size": 1, "ends": "0"}]}
        state.write_text(json.dumps(old))
    require_selection(RunDir(run), load(run))


@pytest.mark.parametrize("how", ["cut", "replaced"])
def test_vectors_that_are_not_what_was_written_are_made_again(
    finished: Path, tmp_path: Path, how: str
) -> None:
    run = shutil.copytree(finished, tmp_path / "run")
    embedding, array = (run / "embedding.pt").read_bytes(), next((run / "vectors/img_emb").glob("*.npy"))
    if how == "cut":
        cut(array)
    else:
        np.save(array, -np.load(array))
    assert json.loads(done("encode", "--json", run=run).stdout)["encoded_now"] == 4
    assert (run / "embedding.pt").read_bytes() == embedding


def test_a_selection_that_was_cut_is_made_again(world: Path, tmp_path: Path) -> None:
    run, arguments = tmp_path / "run", (str(world), "--keywords", "flower", "--top", "4")
    done("filter", *arguments, run=run)
    before = (run / "selected.parquet").read_bytes()
    cut(run / "selected.parquet")
    done("filter", *arguments, run=run)
    assert (run / "selected.parquet").read_bytes() == before
