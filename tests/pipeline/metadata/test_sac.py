"""Simulacra Aesthetic Captions: a database of ratings, pictures in a tar, none of it to be trusted."""

import io
import json
import sqlite3
import statistics
import tarfile
from collections import defaultdict
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from downloads import QUICK, chosen, pictures, rows
from filtering import select
from pages import served
from simulacra import SHAPE, Simulacra, add, simulacra

from visunex.aesthetic_embeddings import load
from visunex.pipeline.cli import main
from visunex.pipeline.download.stage import download
from visunex.pipeline.errors import DownloadError, SourceError
from visunex.pipeline.filter.stage import filter_rows
from visunex.pipeline.metadata.sac import convert
from visunex.pipeline.rundir import RunDir
from visunex.pipeline.vectors.store import read_vectors
from visunex.recipes import Recipe

pytestmark = pytest.mark.usefixtures("read_here")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Simulacra:
    return simulacra(tmp_path_factory.mktemp("sac"))


def recipe(
    world: Simulacra, top: int = 8, download: dict[str, object] | None = None, **wanted: object
) -> Recipe:
    return Recipe.model_validate(
        {
            "name": "sac",
            "source": {"data": str(world.database)},
            "filter": {"top": top, **wanted},
            "download": {**QUICK, "images": str(world.tar), **(download or {})},
        }
    )


def database(path: Path, *statements: str) -> Path:
    with sqlite3.connect(path) as connection:
        connection.executescript(SHAPE + ";".join(statements))
    connection.close()
    return path


def latest(world: Simulacra) -> dict[int, list[int]]:
    """The ratings of each image that count, by hand."""
    with sqlite3.connect(world.database) as connection:
        found = connection.execute("SELECT iid, sid, rating FROM ratings ORDER BY rowid").fetchall()
    by_rater = {(image, rater): rating for image, rater, rating in found}
    ratings = defaultdict(list)
    for (image, _), rating in by_rater.items():
        ratings[image].append(rating)
    return ratings


def test_the_database_becomes_prompts_with_scores(world: Simulacra, tmp_path: Path) -> None:
    report = convert(world.database, tmp_path / "sac.parquet")
    table = pq.read_table(tmp_path / "sac.parquet").to_pylist()
    assert (report.rows, report.without_image) == (world.rows, world.without) == (len(table), 14)
    ratings = latest(world)
    for row in table:
        own = ratings.get(row["image"], [])
        assert row["ratings"] == len(own)
        assert row["score"] == (pytest.approx(statistics.fmean(own)) if own else None)
        assert row["score_median"] == (statistics.median(own) if own else None)
        assert row["score_any"] == (max(own) if own else None)
    assert {row["url"] for row in table} - {None} == {f"sac:{name}" for name in world.pictures}


def test_a_rater_counts_once_with_the_latest_rating_and_nonsense_not_at_all(tmp_path: Path) -> None:
    path = database(
        tmp_path / "sac.sqlite",
        "INSERT INTO generations VALUES (1, 1, 2, x'ff41', 1)",
        "INSERT INTO images VALUES (1, 1, 0), (2, 1, 1), (3, 77, 0)",
        "INSERT INTO paths VALUES (1, 'a.png'), (1, 'b.png'), (2, '')",
        "INSERT INTO ratings VALUES (5, 1, 2, 1), (5, 1, 9, 1), (6, 1, 8, 1)",
        "INSERT INTO ratings VALUES (NULL, 1, 4, 1), (NULL, 1, 6, 1)",
        "INSERT INTO ratings VALUES (7, 1, 11, 1), (8, 1, 'ten', 1), (9, 1, NULL, 1), (5, 99, 5, 1)",
    )
    convert(path, tmp_path / "sac.parquet")
    first, second, third = pq.read_table(tmp_path / "sac.parquet").to_pylist()
    assert (first["ratings"], first["score"], first["url"]) == (4, 6.75, "sac:a.png")
    assert first["caption"] == "\N{REPLACEMENT CHARACTER}A"
    assert (second["url"], second["score"]) == (None, None)
    assert third["caption"] is None


@pytest.mark.parametrize("which", ["mean", "median", "any"])
def test_filter_chooses_among_the_scores(world: Simulacra, tmp_path: Path, which: str) -> None:
    run = RunDir(tmp_path)
    report = filter_rows(run, recipe(world, score=which, min_score=7, min_ratings=2))
    counted = {"mean": statistics.fmean, "median": statistics.median, "any": max}[which]
    expected = {
        image: counted(own) for image, own in latest(world).items() if len(own) >= 2 and counted(own) >= 7
    }
    assert report.rows == report.selected + sum(report.dropped.values()) == world.rows
    found = {row["image"]: row["score"] for row in pq.read_table(run.selected).to_pylist()}
    assert found == {image: score for image, score in expected.items() if image in found}
    assert len(found) + report.dropped["no_url"] == len(expected)


@pytest.mark.parametrize("over_http", [False, True])
def test_the_selected_pictures_come_out_of_the_tar(world: Simulacra, tmp_path: Path, over_http: bool) -> None:
    run = RunDir(tmp_path)
    with served({"/sac.tar": world.tar.read_bytes()}) as address:
        wanted = recipe(world, download={"images": f"{address}/sac.tar"} if over_http else None)
        filter_rows(run, wanted)
        report = download(run, wanted)
        again = download(run, wanted)
    assert (report.chosen, report.target) == (8, 8)
    assert sum(report.status_counts.values()) == report.attempted
    assert again.shards_made_now == 0
    selected = pq.read_table(run.selected)["url"].to_pylist()
    assert set(chosen(run)) <= set(selected)
    for row in rows(run):
        if row["chosen"]:
            assert pictures(run)[row["key"]] == world.pictures[row["url"].removeprefix("sac:")]
    assert not (tmp_path / ".visunex" / "pictures").exists()


def test_several_tars_are_named_with_braces_and_a_private_address_is_refused(
    world: Simulacra, tmp_path: Path
) -> None:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:gz") as empty:
        add(empty, "readme.txt", b"nothing here")
    with served({"/sac-0.tar": data.getvalue(), "/sac-1.tar": world.tar.read_bytes()}) as address:
        wanted = recipe(world, download={"images": address + "/sac-{0..1}.tar"})
        filter_rows(RunDir(tmp_path), wanted)
        assert download(RunDir(tmp_path), wanted).chosen == 8
        private = recipe(world, download={"images": f"{address}/sac-1.tar", "allow_private": False})
        filter_rows(RunDir(tmp_path / "other"), private)
        with pytest.raises(DownloadError, match="address is not public"):
            download(RunDir(tmp_path / "other"), private)


def test_without_the_tar_it_says_where_the_pictures_are(world: Simulacra, tmp_path: Path) -> None:
    wanted = recipe(world, download={"images": None})
    filter_rows(RunDir(tmp_path), wanted)
    with pytest.raises(DownloadError, match=r"--images sac\.tar"):
        download(RunDir(tmp_path), wanted)


def hostile_tar(world: Simulacra, path: Path) -> dict[str, int]:
    """Every kind of member that should not be there, before the good ones; returns what is to be counted."""
    name = next(iter(world.pictures))
    data = world.pictures[name]
    bad: list[tuple[str, str, dict[str, object]]] = [
        ("link", f"sac/{name}", {"type": tarfile.SYMTYPE, "linkname": "/etc/passwd"}),
        ("link", f"sac/{name}", {"type": tarfile.SYMTYPE, "linkname": "../../../etc/passwd"}),
        ("link", f"sac/{name}", {"type": tarfile.LNKTYPE, "linkname": "/etc/shadow"}),
        ("link", f"sac/{name}", {"type": tarfile.LNKTYPE, "linkname": f"sac/{name}"}),
        ("device", f"sac/{name}", {"type": tarfile.CHRTYPE, "devmajor": 1, "devminor": 5}),
        ("device", f"sac/{name}", {"type": tarfile.BLKTYPE, "devmajor": 8}),
        ("device", f"sac/{name}", {"type": tarfile.FIFOTYPE}),
        ("absolute_name", f"/{name}", {}),
        ("absolute_name", f"/etc/{name}", {}),
        ("absolute_name", f"C:\\{name}", {}),
        ("absolute_name", f"\\\\server\\{name}", {}),
        ("name_with_dots", f"../{name}", {}),
        ("name_with_dots", f"sac/../../{name}", {}),
        ("name_with_dots", f"sac\\..\\{name}", {}),
        ("name_with_dots", "..", {}),
    ]
    counted: dict[str, int] = defaultdict(int)
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        for why, member, header in bad:
            content = b"" if "type" in header else data
            add(tar, member, content, **header)
            counted[why] += 1
        add(tar, "x" * 5000, data)  # a name that no file system holds
        add(tar, "new\nline\x1b[31m", data)
        add(tar, "con.png", data)
        add(tar, f"elsewhere/{Path(name).name}", b"not the picture: it lies in another folder")
        add(tar, f"sac/{name}", b"")  # an empty file where a picture should be
        for each in sorted(world.pictures):
            add(tar, f"sac/{each}", world.pictures[each])
    counted["duplicate_name"] = 1  # the first of its name counts, though it is empty
    return dict(counted)


def test_twenty_kinds_of_bad_member_are_counted_and_lead_nowhere(world: Simulacra, tmp_path: Path) -> None:
    tar = tmp_path / "hostile.tar"
    expected = hostile_tar(world, tar)
    before = sorted(tmp_path.iterdir())
    run = RunDir(tmp_path / "run")
    wanted = recipe(world, top=world.rows, download={"images": str(tar)})
    filter_rows(run, wanted)
    report = download(run, wanted)
    good = len(world.pictures) - 1
    assert report.downloaded == good
    assert sum(report.status_counts.values()) == report.attempted
    assert {why: report.left_out[why] for why in expected} == expected
    assert sorted(tmp_path.iterdir()) == sorted([*before, tmp_path / "run"])


@pytest.mark.parametrize("size", [0, 100, 512, 5000, -512])
def test_a_tar_that_is_cut_off_is_named(world: Simulacra, tmp_path: Path, size: int) -> None:
    tar = tmp_path / "cut.tar"
    tar.write_bytes(world.tar.read_bytes().rstrip(b"\0")[:size])
    run = RunDir(tmp_path / "run")
    wanted = recipe(world, top=world.rows, download={"images": str(tar)})
    filter_rows(run, wanted)
    with pytest.raises(DownloadError, match=r"cut\.tar"):
        download(run, wanted)
    assert not run.downloaded.exists()


def broken(world: Simulacra, how: str) -> bytes:
    whole = world.database.read_bytes()
    return {
        "empty": b"",
        "truncated": whole[: len(whole) // 2],
        "header alone": whole[:100],
        "a page of noise": whole[:4096] + bytes(range(256)) * 16 + whole[8192:],
        "a web page": b"<!doctype html><title>GitHub</title>",
    }[how]


@pytest.mark.parametrize("how", ["empty", "truncated", "header alone", "a page of noise", "a web page"])
def test_a_broken_database_is_named(world: Simulacra, tmp_path: Path, how: str) -> None:
    path = tmp_path / "broken.sqlite"
    path.write_bytes(broken(world, how))
    wanted = Recipe.model_validate({"name": "sac", "source": {"data": str(path)}})
    with pytest.raises(SourceError, match=r"broken\.sqlite"):
        filter_rows(RunDir(tmp_path / "run"), wanted)


def test_a_database_of_other_tables_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "views.sqlite"
    with sqlite3.connect(path) as connection:
        connection.executescript("CREATE VIEW v AS SELECT 1 AS b; CREATE TABLE t(a)")
    connection.close()
    wanted = Recipe.model_validate({"name": "sac", "source": {"data": str(path)}})
    with pytest.raises(SourceError, match="has not one table with a column url"):
        filter_rows(RunDir(tmp_path / "run"), wanted)


def test_the_recipe_makes_its_baseline_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`run sac_8plus`: the pictures rated best minus those rated worst, from a database and a tar."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    made = simulacra(tmp_path, rows=150)
    settings = {
        "source.data": str(made.database), "download.images": str(made.tar), "encode.model": "visunex-tiny",
        "filter.min_score": "7.5", "download.processes": "1",
    }  # fmt: skip
    arguments = [f"--set={key}={value}" for key, value in settings.items()]
    done = CliRunner().invoke(main, ["run", "sac_8plus", *arguments, "--json"])
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    low = pq.read_table("runs/sac_low/selected.parquet")["score"].to_pylist()
    high = pq.read_table("runs/sac_8plus/selected.parquet")["score"].to_pylist()
    assert max(low) <= 3
    assert min(high) >= 7.5
    assert report["encode"]["encoded"] == len(high)
    wanted, baseline = (read_vectors(Path(f"runs/{name}/vectors")) for name in ("sac_8plus", "sac_low"))
    means = [np.concatenate(list(each.units())).astype(np.float64).mean(0) for each in (wanted, baseline)]
    np.testing.assert_allclose(load("runs/sac_8plus/embedding.pt").vector[0], means[0] - means[1], atol=1e-6)
    again = CliRunner().invoke(main, ["run", "sac_8plus_mean", *arguments])
    assert again.exit_code == 0, again.output


def test_ids_that_come_again_and_again_are_counted_and_join_once(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "sac.sqlite") as database:
        database.executescript(
            "CREATE TABLE generations(id, method, prompt, verified); CREATE TABLE images(id, gid);"
            "CREATE TABLE paths(iid, path); CREATE TABLE ratings(sid, iid, rating)"
        )
        again = [()] * 3000
        database.executemany("INSERT INTO generations VALUES (1, 1, 'a flower', 1)", again)
        database.executemany("INSERT INTO images VALUES (1, 1)", again)
        database.executemany("INSERT INTO paths VALUES (1, 'a.png')", again)
        database.executemany("INSERT INTO ratings VALUES (?, 1, 8)", [(n,) for n in range(3000)])
    report, rows = select(tmp_path / "run", tmp_path / "sac.sqlite")
    assert (report.dropped["double_id"], rows["ratings"].to_list()) == (2999, [3000])
