"""Metadata over HTTP, from the Hub and from S3, by a loopback stand-in; what is said when that fails."""

import io
import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from filtering import rows, select
from standin import Page, StandIn, serving
from standin_bucket import filled, unsigned
from standin_hub import COMMIT
from standin_hub import publish as publish_on_hub

from visunex.pipeline.errors import SourceError
from visunex.pipeline.metadata.catalog import entries
from visunex.pipeline.metadata.resolve import resolve_source

ABOUT = "/api/datasets/someone/pictures/revision/main"
LISTING = f"/api/datasets/someone/pictures/tree/{COMMIT}"


def parquet(*captions: str, **columns: Any) -> bytes:
    buffer = io.BytesIO()
    rows(*captions, **columns).write_parquet(buffer)
    return buffer.getvalue()


@pytest.fixture
def web() -> Iterator[StandIn]:
    with serving({}) as server:
        yield server


@pytest.fixture
def hub(web: StandIn, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> StandIn:
    """The web as the Hub, asked without a token, with a data set of two files."""
    for name in ("HF_HUB_OFFLINE", "HF_TOKEN", "HF_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_ENDPOINT", web.address)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "hub" / "token"))
    files = {"data/a.parquet": parquet("rose", "oak"), "data/b.parquet": parquet("Rosebud", URL=["b"])}
    publish(web, files)
    return web


def publish(web: StandIn, files: dict[str, bytes], **page: Any) -> None:
    publish_on_hub(web, "someone/pictures", {**files, "README.md": b"# Pictures"}, **page)


def fails(data: str, tmp_path: Path, seconds: float = 5) -> str:
    """The message of a source that cannot be read, which must come soon."""
    start = time.monotonic()
    with pytest.raises(SourceError) as caught:
        select(tmp_path / "run", data)
    assert time.monotonic() - start < seconds
    return str(caught.value)


def test_a_file_on_the_web(web: StandIn, tmp_path: Path) -> None:
    web.pages["/m.parquet"] = Page(parquet("rose", "oak"))
    report, selected = select(tmp_path / "run", f"{web.address}/m.parquet", keywords=["rose"])
    assert (report.rows, selected["caption"].to_list()) == (2, ["rose"])


def test_a_redirect_and_a_signed_address(web: StandIn, tmp_path: Path) -> None:
    web.pages["/m.parquet"] = Page(location="/there.parquet?signature=a%2Fb*")
    web.pages["/there.parquet?signature=a/b*"] = Page(parquet("rose"))
    for n, path in enumerate(("m.parquet", "there.parquet?signature=a%2Fb*")):
        assert select(tmp_path / str(n), f"{web.address}/{path}")[0].rows == 1


@pytest.mark.parametrize(
    ("page", "said"),
    [
        (None, "not found (HTTP 404)"),
        (Page(status=410), "gone (HTTP 410)"),
        (Page(status=403), "access refused (HTTP 403)"),
        (Page(status=500), "the server failed (HTTP 500)"),
        (Page(b"<!doctype html>", headers={"Content-Type": "text/html"}), "(the server sends text/html)"),
        (Page(b""), "is not a parquet file"),
        (Page(parquet("rose"), ranges=False), "sends files only whole"),
        (Page(parquet("rose")[:-9]), "is not a parquet file that can be read"),
        (Page(location="/m.parquet"), "redirected to nowhere (HTTP 302)"),
        (Page(location="file:///etc/passwd"), "redirected to nowhere (HTTP 302)"),
    ],
)
def test_what_is_wrong_with_a_file_on_the_web(
    page: Page | None, said: str, web: StandIn, tmp_path: Path
) -> None:
    if page is not None:
        web.pages["/m.parquet"] = page
    message = fails(f"{web.address}/m.parquet", tmp_path)
    assert said in message
    assert "/m.parquet" in message


def test_the_contents_on_the_web_are_told_by_their_tag(web: StandIn) -> None:
    web.pages["/m.parquet"] = Page(parquet("rose"))
    first = resolve_source(f"{web.address}/m.parquet").identity
    assert resolve_source(f"{web.address}/m.parquet").identity == first
    web.pages["/m.parquet"] = Page(parquet("rose"), headers={"ETag": '"two"'})
    assert resolve_source(f"{web.address}/m.parquet").identity != first


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("https://nowhere.invalid/m.parquet", "nowhere.invalid cannot be reached: its name is unknown"),
        ("s3://nowhere/m.parquet", "cannot be reached"),
        ("http://127.0.0.1:9/m.parquet", "127.0.0.1:9 cannot be reached: Connection refused"),
        ("https:///m.parquet", "cannot be reached"),
        ("gs://bucket/m.parquet", "gs:// is not supported; there are https://, s3://, hf:// and datasets://"),
        ("s3://", "is not of the form s3://BUCKET/PATH"),
        ("hf://models/a/b/c.parquet", "is not of the form hf://datasets/OWNER/NAME/PATH"),
    ],
)
def test_an_address_that_cannot_be_reached_is_told_in_seconds(
    address: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    assert said in fails(address, tmp_path, seconds=15)


def test_a_server_that_never_answers_is_told_in_seconds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("visunex.net.probe.SECONDS", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}/m.parquet"
        assert "no answer within" in fails(address, tmp_path)


# --- the Hub ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "count"),
    [
        ("", 3),
        ("/data", 3),
        ("/data/", 3),
        ("/data/a.parquet", 2),
        ("/data/*.parquet", 3),
        ("/**/*.parquet", 3),
        ("/*/b.parquet", 1),
        ("@main/data/[a]*", 2),
    ],
)
def test_a_data_set_on_the_hub(path: str, count: int, hub: StandIn, tmp_path: Path) -> None:
    assert select(tmp_path / "run", f"hf://datasets/someone/pictures{path}", dedupe="none")[0].rows == count


@pytest.mark.parametrize("revision", ["refs/convert/parquet", "~parquet", "refs%2Fconvert%2Fparquet"])
def test_a_revision_with_slashes(revision: str, hub: StandIn, tmp_path: Path) -> None:
    files = {"default/train/0.parquet": parquet("rose")}
    publish(hub, files, revision="refs/convert/parquet", commit="c0ffee")
    source = f"hf://datasets/someone/pictures@{revision}/default/**/*.parquet"
    assert select(tmp_path / "run", source)[0].rows == 1
    assert any("/revision/refs%2Fconvert%2Fparquet" in path for path, _ in hub.asked)
    assert resolve_source(source).paths == ("hf://datasets/someone/pictures@c0ffee/default/train/0.parquet",)


def test_a_listing_of_several_pages(hub: StandIn, tmp_path: Path) -> None:
    second = f"{hub.address}{LISTING}?recursive=true&cursor=2"
    hub.pages[LISTING].headers["Link"] = f'<{second}>; rel="next"'
    more = [{"type": "file", "path": "data/c.parquet", "oid": "3"}]
    elsewhere = '<https://evil.invalid/x>; rel="next"'
    hub.pages[f"{LISTING}?recursive=true&cursor=2"] = Page(
        json.dumps(more).encode(), headers={"Link": elsewhere}
    )
    hub.pages[f"/datasets/someone/pictures/resolve/{COMMIT}/data/c.parquet"] = Page(parquet("oak", URL=["c"]))
    assert select(tmp_path / "run", "hf://datasets/someone/pictures", dedupe="none")[0].rows == 4


def test_the_contents_on_the_hub_are_told_by_their_hashes(hub: StandIn) -> None:
    found = resolve_source("hf://datasets/someone/pictures").identity
    assert [each["path"] for each in found] == ["data/a.parquet", "data/b.parquet"]
    assert len({each["oid"] for each in found}) == 2


def test_a_gated_data_set_says_what_to_do(
    hub: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving({"/signed?s=1": Page(parquet("rose"))}) as store:
        publish(
            hub, {"data/a.parquet": parquet("rose")}, token="good", location=f"{store.address}/signed?s=1"
        )
        source = "hf://datasets/someone/pictures"
        terms = f"accept its terms at {hub.address}/datasets/someone/pictures"
        assert f"{terms}, then set HF_TOKEN" in fails(source, tmp_path)
        monkeypatch.setenv("HF_TOKEN", "bad")
        assert f"your token may not read it; {terms}" in fails(source, tmp_path)
        monkeypatch.setenv("HF_TOKEN", "good")
        assert select(tmp_path / "run", source)[0].rows == 1
        assert {token for _, token in store.asked} == {None}
    about = hub.pages[ABOUT]
    about.body = about.body.replace(b'"gated": "auto"', b'"gated": "manual"')
    monkeypatch.setenv("HF_TOKEN", "bad")
    assert f"; ask its owner for access at {hub.address}" in fails(source, tmp_path / "other")


def test_a_token_is_found_where_the_hub_keeps_it(hub: StandIn, tmp_path: Path) -> None:
    hub.pages[ABOUT].token = "kept"
    assert "gated" in fails("hf://datasets/someone/pictures", tmp_path)
    (tmp_path / "hub").mkdir()
    (tmp_path / "hub" / "token").write_text("kept\n")
    assert select(tmp_path / "run", "hf://datasets/someone/pictures/data/a.parquet")[0].rows == 2


def test_a_token_goes_to_no_other_host(hub: StandIn, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_TOKEN", "mine")
    with serving({"/tree": Page(b"[]")}) as other:
        hub.pages[LISTING] = Page(location=f"{other.address}/tree")
        assert "no such parquet file" in fails("hf://datasets/someone/pictures", tmp_path)
        assert other.asked == [("/tree", None)]


@pytest.mark.parametrize(
    ("page", "said"),
    [
        (None, "the Hub has no such data set, or it is private (HTTP 404)"),
        (Page(status=401, headers={"X-Error-Code": "RepoNotFound"}), "no such data set, or it is private"),
        (Page(b'{"error": "Invalid username or password."}', status=401), "no such data set, or it is"),
        (
            Page(status=403, headers={"X-Error-Message": "Access to this resource is disabled."}),
            "is disabled",
        ),
        (Page(b'{"error": "Invalid credentials in Authorization header"}', status=401), "renew HF_TOKEN"),
        (Page(status=404, headers={"X-Error-Code": "RevisionNotFound"}), "has no revision main"),
        (Page(status=403), "the data set is gated"),
        (Page(status=503), "the server failed (HTTP 503)"),
        (Page(b"[]"), "no such parquet file in it"),
        (Page(b"<html>"), "does not answer as the Hub does"),
        (Page(b'{"error": 1}'), "does not answer as the Hub does"),
        (Page(b"[1]"), "does not answer as the Hub does"),
    ],
)
def test_what_the_hub_may_say_instead(page: Page | None, said: str, hub: StandIn, tmp_path: Path) -> None:
    asked = LISTING if page is not None and page.body.startswith(b"[") else ABOUT
    del hub.pages[asked]
    if page is not None:
        hub.pages[asked] = page
    assert said in fails("hf://datasets/someone/pictures", tmp_path)


def test_the_default_source_says_why_it_is_not_there_and_what_to_do(
    hub: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = fails("improved_aesthetics_6.5plus", tmp_path)
    assert "it has been gone from the Hub since December 2023" in gone
    assert "no such data set" in gone
    for way in ("a local copy or a mirror", "visunex-data filter PATH_OR_URL", "--min-score 6.5"):
        assert way in gone
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert "cannot be reached" in fails("improved_aesthetics_6.5plus", tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert "HF_HUB_OFFLINE is set" in fails("improved_aesthetics_6.5plus", tmp_path)


def test_addresses_of_a_known_set_are_tried_in_order(
    hub: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    addresses = ("hf://datasets/gone/away", "hf://datasets/someone/pictures/data/a.parquet")
    known = entries.DataSet("mirrored", "a set with a mirror", addresses)
    monkeypatch.setattr(entries, "data_sets", lambda: {"mirrored": known})
    report, _ = select(tmp_path / "run", "mirrored")
    assert (report.source, report.rows) == ("mirrored", 2)


# --- S3 -----------------------------------------------------------------------------------------------------


@pytest.fixture
def bucket(web: StandIn, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> StandIn:
    unsigned(monkeypatch, web, tmp_path)
    filled(web, {"d/a.parquet": parquet("rose", "oak"), "d/b.parquet": parquet("Rosebud")})
    return web


def test_a_public_bucket_is_read_unsigned(bucket: StandIn, tmp_path: Path) -> None:
    assert select(tmp_path / "one", "s3://pictures/d/a.parquet")[0].rows == 2
    assert select(tmp_path / "all", "s3://pictures/d/*.parquet", dedupe="none")[0].rows == 3
    assert {token for _, token in bucket.asked} == {None}


@pytest.mark.parametrize("path", ["d/a.parquet", "d/*.parquet", "d/"])
def test_the_contents_of_a_bucket_are_told_by_sizes_and_times(path: str, bucket: StandIn) -> None:
    address = f"s3://pictures/{path}"
    first = resolve_source(address).identity
    assert resolve_source(address).identity == first
    assert len(first[0]["objects"]) == (1 if path == "d/a.parquet" else 2)
    bucket.pages["/pictures/d/a.parquet"].headers["Last-Modified"] = "Tue, 02 Jan 2024 00:00:00 GMT"
    listing = bucket.pages["/pictures"]
    listing.body = listing.body.replace(b"2024-01-01", b"2024-01-02")
    assert resolve_source(address).identity != first


@pytest.mark.parametrize(
    ("path", "selected"),
    [("d/", "ab7"), ("d", "ab7"), ("d/**/*.parquet", "ab7"), ("d/*.parquet", "ab"), ("d/_temporary/", "t")],
)
def test_folders_of_a_bucket_follow_the_conventions_of_those_here(
    path: str, selected: str, bucket: StandIn, tmp_path: Path
) -> None:
    names = {
        "d/a.parquet": "a", "d/b.parquet": "b", "d/_SUCCESS": "", "d/c.csv": "", "d/.x/x.parquet": "x",
        "d/_temporary/t.parquet": "t", "d/tag=7/a%20[1].parquet": "7",
    }  # fmt: skip
    filled(
        bucket, {name: parquet("rose", URL=[caption]) if caption else b"x" for name, caption in names.items()}
    )
    report, found = select(tmp_path / "run", f"s3://pictures/{path}")
    assert "".join(sorted(found["url"], key=lambda each: "ab7xt".index(each))) == selected
    assert ("7" in selected) == ("tag" in found.columns)
    assert ("not read: 1 .csv" in " ".join(report.remarks)) == (path in ("d", "d/"))


def test_a_bucket_has_other_kinds_too(bucket: StandIn, tmp_path: Path) -> None:
    filled(bucket, {"d/a.csv": b"url,caption\nhttps://a.example/1.jpg,a rose\n", "d/b.csv": b"url,caption\n"})
    assert select(tmp_path / "run", "s3://pictures/d/")[0].rows == 1


def test_a_bucket_without_metadata_or_listing_is_told(bucket: StandIn) -> None:
    filled(bucket, {"d/a.orc": b"ORC"})
    with pytest.raises(SourceError, match=r"d/: none of \.parquet, .* is there \(there is 1 \.orc\)"):
        resolve_source("s3://pictures/d/")
    bucket.pages["/pictures"] = Page(status=403)
    with pytest.raises(SourceError, match=r"what is there cannot be listed \(.*; name a file of it"):
        resolve_source("s3://pictures/d/*.parquet")


def test_what_cannot_be_looked_at_is_known_by_its_address_alone(bucket: StandIn) -> None:
    del bucket.pages["/pictures/d/a.parquet"]
    bucket.pages["/pictures"] = Page(status=403)
    assert resolve_source("s3://pictures/d/a.parquet").identity[0]["objects"] is None


def test_what_is_not_in_a_bucket_is_named(bucket: StandIn, tmp_path: Path) -> None:
    assert "s3://pictures/d/none.parquet" in fails("s3://pictures/d/none.parquet", tmp_path)


def test_a_bucket_with_credentials_is_asked_with_them(
    bucket: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "me")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    assert select(tmp_path / "run", "s3://pictures/d/a.parquet")[0].rows == 2
    assert any("Credential=me/" in (token or "") for _, token in bucket.asked)
