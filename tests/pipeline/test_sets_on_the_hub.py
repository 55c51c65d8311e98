"""Data sets on the Hub with the pictures inside: chosen, downloaded and encoded as metadata of links is."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import picture_sets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from downloads import pictures, rows
from published_vectors import unit_mean
from standin import Page, StandIn, serving
from standin_hub import COMMIT, publish

from visunex.aesthetic_embeddings import load
from visunex.base.text import size_shown
from visunex.pipeline.cli import main
from visunex.pipeline.metadata.catalog import DataSet, data_sets, entries
from visunex.pipeline.rundir import RunDir
from visunex.pipeline.score import load as load_predictor
from visunex.pipeline.score import predictors
from visunex.pipeline.vectors.remote_store import open_folder

TOP = 6
FILES = 5


@pytest.fixture(scope="module")
def bodies(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, bytes]]:
    """The files of each data set."""
    folder, found = tmp_path_factory.mktemp("sets"), picture_sets.records()
    parts = [found[at::FILES] for at in range(FILES)]
    tables = [picture_sets.table(folder / f"{n}.parquet", part, group=4) for n, part in enumerate(parts)]
    names = [f"data/train-{n:05d}-of-{FILES:05d}.parquet" for n in range(FILES)]
    other = picture_sets.table(folder / "test.parquet", found[:4]).read_bytes()
    halves = {f"{n}.tar": picture_sets.webdataset(folder / f"{n}.tar", found[n::2]) for n in range(2)}
    return {
        "struct": {**dict(zip(names, (each.read_bytes() for each in tables), strict=True)),
                   "data/test-00000-of-00001.parquet": other, "README.md": b"# Pictures"},
        "tar": {name: path.read_bytes() for name, path in halves.items()},
        "zip": {"images/part-000001.zip": picture_sets.zipped(folder / "set.zip", found).read_bytes()},
        "arrow": {"data-00000-of-00001.arrow": picture_sets.arrow(folder / "a.arrow", found).read_bytes()},
    }  # fmt: skip


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[StandIn]:
    """The Hub, asked without a token, with nothing on it."""
    for name in ("HF_HUB_OFFLINE", "HF_TOKEN", "HF_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "hub" / "token"))
    monkeypatch.chdir(tmp_path)
    with serving({}) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.address)
        yield server


def invoked(name: str, *arguments: str, run: Path, fails: bool = False) -> str:
    result = CliRunner().invoke(main, [name, *arguments, "--run", str(run)])
    assert result.exit_code == int(fails), result.output
    return result.output


def filtered(source: str, run: Path) -> list[str]:
    """The locations of the candidates."""
    invoked("filter", source, "--keywords", "flower", "--top", str(TOP), run=run)
    return [str(each) for each in pq.read_table(RunDir(run).selected)["location"].to_pylist()]


def chosen(run: Path) -> set[bytes]:
    files = pictures(RunDir(run))
    return {files[row["key"]] for row in rows(RunDir(run)) if row["chosen"]}


def provenance(run: Path) -> dict[str, Any]:
    return json.loads((run / "embedding.json").read_text())  # type: ignore[no-any-return]


def expected() -> set[bytes]:
    flowers = [each for each in picture_sets.records() if "flower" in each["caption"]]
    return {each["picture"] for each in sorted(flowers, key=lambda each: -each["aesthetic_score"])[:TOP]}


@pytest.mark.parametrize(
    ("form", "source"),
    [
        ("struct", "someone/pictures"),
        ("struct", "hf://datasets/someone/pictures/data/train-*"),
        ("tar", "someone/pictures"),
        ("zip", "hf://datasets/someone/pictures/images"),
        ("arrow", "datasets://someone/pictures?split=train"),
    ],
)
def test_from_a_question_to_an_embedding(
    form: str, source: str, bodies: dict[str, dict[str, bytes]], hub: StandIn, tmp_path: Path
) -> None:
    publish(hub, "someone/pictures", bodies[form], licence="cc-by-4.0")
    run = tmp_path / "run"
    places = filtered(source, run)
    assert len(places) == 20
    assert all(place.startswith(f"hf://datasets/someone/pictures@{COMMIT}/") for place in places)
    hub.pages = {path: page for path, page in hub.pages.items() if "/main" not in path}  # it moved on
    invoked("download", "--processes", "1", run=run)
    assert chosen(run) == expected()
    invoked("encode", "--model", "visunex-tiny", run=run)
    assert (run / "embedding.pt").exists()
    assert provenance(run)["licence"] == "cc-by-4.0, says the page of the data set"


@pytest.mark.parametrize(("form", "files"), [("struct", FILES), ("tar", 2), ("zip", 1), ("arrow", 1)])
def test_a_set_is_encoded_file_by_file(
    form: str, files: int, bodies: dict[str, dict[str, bytes]], hub: StandIn, tmp_path: Path
) -> None:
    """The bytes are said before, one file at a time is on the disk, and the same comes of a folder."""
    publish(hub, "someone/pictures", bodies[form])
    folder, run = tmp_path / "folder", tmp_path / "run"
    folder.mkdir()
    for number, each in enumerate(picture_sets.records()):
        (folder / f"{number}.jpg").write_bytes(each["picture"])
    asked = ["--model", "visunex-tiny", "--workers", "0", "--dedupe-images", "exact"]
    few = ["--max-remote-bytes", "9000", *asked]
    refused = invoked("encode", "--images", "someone/pictures", *few, run=run, fails=True)
    assert "no more than 9000 may be: --max-remote-bytes" in " ".join(refused.split())
    before = hub.sent
    said = invoked("encode", "--images", "someone/pictures", *asked, run=run)
    left_out = ("data/test-00000-of-00001.parquet", "README.md")
    train = sum(len(body) for path, body in bodies[form].items() if path not in left_out)
    assert f"one file at a time: {size_shown(train)} of {files} file" in said
    assert "60 of 60 pictures" in said
    assert train <= hub.sent - before < 1.1 * train + 20_000
    assert not (run / ".visunex" / "copied").exists()
    invoked("encode", "--images", str(folder), *asked, run=tmp_path / "other")
    assert (run / "embedding.pt").read_bytes() == (tmp_path / "other" / "embedding.pt").read_bytes()
    moved = hub.sent
    again = invoked("encode", "--images", "someone/pictures", *asked, "--reduce", "mean", run=run)
    assert "60 of 60 pictures" in again
    assert "one file at a time" not in again
    assert hub.sent - moved < train / 2
    both = ["--images", "someone/pictures", "--images", str(folder), *asked]
    assert "--overwrite" in invoked("encode", *both, run=run, fails=True)
    assert "60 pictures" in invoked("encode", *both, "--overwrite", run=run)
    assert (run / "embedding.pt").read_bytes() == (tmp_path / "other" / "embedding.pt").read_bytes()


def test_what_has_no_pictures_inside_is_not_moved(hub: StandIn, tmp_path: Path) -> None:
    links = tmp_path / "links.parquet"
    pq.write_table(pa.table({"url": ["https://example.org/a.jpg"] * 9, "filler": ["x" * 99_999] * 9}), links)
    text = b"url\nhttps://example.org/a.jpg\n"
    publish(hub, "someone/links", {"a.parquet": links.read_bytes(), "b.csv": text})
    for place in ("someone/links", "hf://datasets/someone/links/b.csv"):
        before = hub.sent
        refused = invoked("encode", "--images", place, run=tmp_path / "run", fails=True)
        assert "a list of links is for `visunex-data filter` and `download`" in " ".join(refused.split())
        assert hub.sent - before < 20_000
    missing = invoked("encode", "--images", "someone/else", run=tmp_path / "run", fails=True)
    assert "someone/else" in missing


def test_a_download_that_breaks_off_in_a_file_goes_on_with_what_it_has(
    bodies: dict[str, dict[str, bytes]], hub: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("visunex.net.errors.FIRST_PAUSE", 0.01)
    monkeypatch.setattr("visunex.pipeline.inside.reading._GAP", 0)
    monkeypatch.setattr("visunex.pipeline.inside.pages.AT_A_TIME", 1)
    run, made = tmp_path / "run", publish(hub, "someone/pictures", bodies["tar"])
    first_shard = filtered("someone/pictures", run)[:10]
    last = made.files["1.tar"]
    last.fails_after = last.requests + 2
    assert "what is done is kept" in invoked("download", "--processes", "1", run=run, fails=True)
    last.fails_after, moved = None, hub.sent
    invoked("download", "--processes", "1", run=run)
    assert chosen(run) == expected()
    sizes = [int(place.partition("+")[2].partition("&")[0]) for place in first_shard if "/1.tar#" in place]
    assert len(sizes) > 2
    assert hub.sent - moved == sum(sizes[2:])


def test_a_commit_that_is_gone_since_the_rows_were_chosen_is_named(
    bodies: dict[str, dict[str, bytes]], hub: StandIn, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    publish(hub, "someone/pictures", bodies["struct"])
    filtered("someone/pictures", run)
    hub.pages.clear()
    publish(hub, "someone/pictures", bodies["struct"], commit="f" * 40)
    gone = invoked("download", "--processes", "1", run=run, fails=True)
    assert f"resolve/{COMMIT}/data/train" in gone
    assert "404; what is done is kept. It was there when the rows were chosen: `filter --overwrite`" in gone
    invoked("filter", "someone/pictures", "--keywords", "flower", "--top", "1", "--overwrite", run=run)
    invoked("download", "--processes", "1", "--overwrite", run=run)
    assert len(chosen(run)) == 1


def test_a_token_opens_a_gated_set_and_goes_to_the_hub_alone(
    bodies: dict[str, dict[str, bytes]], hub: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, source = tmp_path / "run", "someone/pictures"
    with serving({}) as store:
        made = publish(hub, source, bodies["tar"], token="good")
        for path, page in made.files.items():
            store.pages[f"/{path}"] = Page(page.body)
            page.location = f"{store.address}/{path}"
        terms = f"accept its terms at {hub.address}/datasets/{source}"
        assert f"{terms}, then set HF_TOKEN" in invoked("filter", source, run=run, fails=True)
        monkeypatch.setenv("HF_TOKEN", "good")
        assert filtered(source, run)
        monkeypatch.setenv("HF_TOKEN", "bad")
        refused = invoked("download", "--processes", "1", run=run, fails=True)
        assert f"{terms}, with the account of your token" in refused
        monkeypatch.setenv("HF_TOKEN", "good")
        invoked("download", "--processes", "1", run=run)
        assert {token for _, token in store.asked} == {None}
    assert chosen(run) == expected()
    invoked("encode", "--model", "visunex-tiny", run=run)


def test_vectors_and_metadata_of_a_set_belong_together_at_the_revision_it_is_pinned_to(
    hub: StandIn, tmp_path: Path
) -> None:
    """PD3M: later its metadata was cut into more files than its vectors; later still it may be withdrawn."""
    name, found, run = "Spawning/PD3M", picture_sets.records(20), tmp_path / "run"
    pinned = data_sets()["PD3M"].vectors_at.partition("@")[2]
    vectors = np.random.default_rng(0).normal(size=(20, 768)).astype(np.float32)
    at_first = picture_sets.linked(found, f"{hub.address}/pictures", vectors, 10)
    publish(hub, name, at_first, revision=pinned, commit=pinned)
    again = picture_sets.linked(found, f"{hub.address}/pictures", vectors, 5, source=["museum"] * 20)
    later = {path: body for path, body in again.items() if path.startswith("metadata")}
    kept = {path: body for path, body in at_first.items() if path.startswith("embeddings")}
    publish(hub, name, later | kept)
    for row, each in enumerate(found):
        hub.pages[f"/pictures/{row}.jpg"] = Page(found[0]["picture"] if row == 3 else each["picture"])
    del hub.pages["/pictures/6.jpg"]  # withdrawn; and the file of number 3 is another than it was
    for each in (run, tmp_path / "pictures"):
        invoked("filter", "PD3M", "--keywords", "flower", "--top", "7", run=each)
    for place in ("PD3M", f"hf://datasets/{name}@{pinned}"):
        invoked("encode", "--precomputed", place, "--model", "visunex-tiny", "--overwrite", run=run)
        expected = unit_mean(vectors[::3])
        np.testing.assert_allclose(load(run / "embedding.pt").vector[0], expected, atol=1e-6)
        made = provenance(run)
        assert made["licence"].startswith("cdla-permissive-2.0")
        assert made["licenses"] == {"https://creativecommons.org/publicdomain/zero/1.0/": 7}
    first = open_folder("PD3M").parts[0].vectors
    assert first.size == 10 * 768 * 4 + 128
    assert getattr(first, "version", None), "vectors that are replaced are noticed"
    refused = invoked("encode", "--precomputed", f"hf://datasets/{name}", run=run, fails=True)
    assert "pd3m.00.npy holds 10 vectors" in refused or "pd3m.02.parquet has no partner" in refused
    assert f"the set's files fit at hf://datasets/{name}@{pinned}" in refused
    run = tmp_path / "pictures"
    invoked("download", "--processes", "1", "--allow-private", run=run)
    assert chosen(run) == {found[row]["picture"] for row in (0, 9, 12, 15, 18)}
    invoked("encode", "--model", "visunex-tiny", run=run)
    for path in [path for path in hub.pages if pinned in path]:
        hub.pages[path] = Page(b"", 404, {"X-Error-Code": "RevisionNotFound"})
    gone = invoked("filter", "PD3M", run=tmp_path / "other", fails=True)
    assert f"no revision {pinned} (a commit that is gone was withdrawn by its owner)" in gone


def test_public_domain_flowers_need_no_picture(
    hub: StandIn, tmp_path: Path, reference: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The shipped recipe: captions and published vectors; the bytes are said, and pictures come if wanted."""
    monkeypatch.setenv("VISUNEX_MIRROR", str(reference))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    found, pinned = picture_sets.records(240), data_sets()["PD3M"].vectors_at.partition("@")[2]
    rated = np.load(reference / "laion_ratings_vit_l_14/rating5.npy").ravel()
    vectors = (rated + np.random.default_rng(0).normal(size=(240, 768)) * 0.03).astype(np.float32)
    files = picture_sets.linked(found, f"{hub.address}/pictures", vectors, 120)
    publish(hub, "Spawning/PD3M", files, revision=pinned, commit=pinned)
    run = tmp_path / "run"
    few = ["--set", "filter.top=5", "--set", "filter.reserve=8"]
    tight = ["--set", "download.max_remote_bytes=100kB"]
    refused = " ".join(invoked("run", "pd_flowers", *few, *tight, run=run, fails=True).split())
    assert "no more than 100kB may be: --set download.max_remote_bytes" in refused
    said = invoked("run", "pd_flowers", *few, run=run)
    wanted = len(vectors[::3]) * 768 * 4  # one by one: they are few
    assert f"PD3M@{pinned}: vectors to be read: {size_shown(wanted)} in 80 pieces of 2 files" in said
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    scores = load_predictor(predictors()["V2"]).scores(units)
    best = sorted(range(0, 240, 3), key=lambda row: -scores[row])[:8]
    np.testing.assert_allclose(load(run / "embedding.pt").vector[0], unit_mean(vectors[best[:5]]), atol=1e-6)
    assert not (run / "shards").exists()
    assert "5 vectors taken from PD3M" in invoked("run", run=run)
    assert "5 vectors taken from PD3M" in invoked("encode", run=run)
    assert "flower" in (run / "report.html").read_text(encoding="utf-8")
    few_of_it = tmp_path / "again"
    invoked("filter", str(run), "--top", "3", run=few_of_it)  # a run without pictures is a source, too
    assert "3 vectors taken from" in invoked("encode", run=few_of_it)
    for row in best[1:]:
        hub.pages[f"/pictures/{row}.jpg"] = Page(found[row]["picture"])
    near = ["--set", "download.allow_private=true", "--set", "download.processes=1", "--with-pictures"]
    invoked("run", "pd_flowers", *few, *near, run=tmp_path / "seen")
    assert chosen(tmp_path / "seen") == {found[row]["picture"] for row in best[1:6]}
    np.testing.assert_allclose(
        load(tmp_path / "seen" / "embedding.pt").vector[0], unit_mean(vectors[best[1:6]]), atol=1e-6
    )
    assert "has no pictures yet" in CliRunner().invoke(main, ["pictures", str(run), "--out", "out"]).output
    invoked("download", "--with-pictures", "--allow-private", "--processes", "1", run=run)
    assert "--overwrite" in invoked("encode", run=run, fails=True)  # the best one's picture is gone
    invoked("encode", "--overwrite", run=run)
    assert (run / "embedding.pt").read_bytes() == (tmp_path / "seen" / "embedding.pt").read_bytes()


def test_a_museums_links_are_put_together_from_the_ids_in_its_table(
    hub: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the catalogue says of the set; its licence, which no column tells, is in the records."""
    found, run = picture_sets.records(12), tmp_path / "run"
    lines = [
        f"{row},{json.dumps(each['caption'])},{f'id-{row}' if row else ''}" for row, each in enumerate(found)
    ]
    publish(hub, "museum/works", {"works.csv": "\n".join(["id,title,image_id", *lines]).encode()})
    for row, each in enumerate(found):
        hub.pages[f"/iiif/2/id-{row}/full/843,/0/default.jpg"] = Page(each["picture"])
    link = f"{hub.address}/iiif/2/{{image_id}}/full/843,/0/default.jpg"
    museum = DataSet(
        "museum",
        "a museum",
        ("hf://datasets/museum/works/works.csv",),
        roles={"caption": "title"},
        made={"url": link},
        licence="CC0 for the data",
    )
    monkeypatch.setattr(entries, "data_sets", lambda: {"museum": museum})
    invoked("filter", "museum", "--keywords", "flower", "--top", "3", run=run)
    invoked("download", "--processes", "1", "--allow-private", run=run)
    assert chosen(run) == {found[row]["picture"] for row in (3, 6, 9)}
    invoked("encode", "--model", "visunex-tiny", run=run)
    assert provenance(run)["licence"] == "CC0 for the data"


def test_the_hubs_own_client_reads_the_stand_in(
    bodies: dict[str, dict[str, bytes]], hub: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the stand-in is asked for and answers is of the Hub's own interface."""
    huggingface_hub = pytest.importorskip("huggingface_hub")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    publish(hub, "someone/pictures", bodies["zip"])
    api = huggingface_hub.HfApi(endpoint=hub.address, token=False)
    assert api.dataset_info("someone/pictures", revision="main").sha == COMMIT
    tree = api.list_repo_tree("someone/pictures", repo_type="dataset", recursive=True)
    assert {each.path: each.lfs.size for each in tree if hasattr(each, "lfs")} == {
        path: len(body) for path, body in bodies["zip"].items()
    }
    (path,) = bodies["zip"]
    file = api.hf_hub_download("someone/pictures", path, repo_type="dataset", cache_dir=tmp_path / "cache")
    assert Path(file).read_bytes() == bodies["zip"][path]


@pytest.mark.parametrize("place", ["file", "page"])
def test_class_labels_of_a_set_on_the_hub_are_their_names(place: str, hub: StandIn, tmp_path: Path) -> None:
    """WikiArt's shape: pictures and labels, no captions. The files name the labels, else the page."""
    found = picture_sets.records()[:8]
    names = ["monet", "ivan-aivazovsky"]
    said = json.dumps({"info": {"features": {"artist": {"names": names, "_type": "ClassLabel"}}}})
    images = [{"bytes": each["picture"], "path": None} for each in found]
    table = pa.table({"image": images, "artist": [number % 2 for number in range(len(found))]})
    if place == "file":
        table = table.replace_schema_metadata({"huggingface": said})
    pq.write_table(table, tmp_path / "x.parquet")
    label = {"class_label": {"names": {str(number): name for number, name in enumerate(names)}}}
    info = {"features": [{"name": "image", "dtype": "image"}, {"name": "artist", "dtype": label}, 5]}
    files = {"data/train-0.parquet": (tmp_path / "x.parquet").read_bytes()}
    publish(hub, "someone/wikiart", files, info=info if place == "page" else [5, {"features": "none"}])
    run = tmp_path / "run"
    said = invoked("filter", "someone/wikiart", "--keywords", "aivazovsky", run=run)
    assert "captions are what stands in artist" in said
    invoked("download", "--processes", "1", run=run)
    assert chosen(run) == {each["picture"] for each in found[1::2]}
    assert {row["caption"] for row in rows(RunDir(run))} == {"ivan-aivazovsky"}
