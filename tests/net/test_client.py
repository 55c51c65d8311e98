"""The one client behind every use: deadlines, addresses, tokens and proxies are the same for all of them."""

import base64
import gzip
import io
import tarfile
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path

import brotli
import downloads
import hostile
import pytest
from click.testing import CliRunner
from standin import Page, serving

from visunex.aesthetic_embeddings import EmbeddingError, fetch, fetching
from visunex.net import addresses, hub, probe, range_file, stream
from visunex.net.budget import Budget, current_budget, spending
from visunex.net.client import Client, ClientSettings, Hosts
from visunex.net.errors import FetchError
from visunex.net.range_file import RemoteFile, Web
from visunex.pipeline.cli import main
from visunex.pipeline.errors import DownloadError, EncodeError, SourceError, fetch_errors_as
from visunex.pipeline.metadata import convert, resolve
from visunex.pipeline.vectors.remote_store import open_folder

SECONDS = 0.7
GRACE = 1.5  # seconds beyond the deadline that a busy machine may take to notice it
FOR_EVER = (
    "hang", "drip-headers", "drip-body", "drip-chunks", "drip-range", "continue-for-ever", "endless-headers",
)  # fmt: skip


@pytest.fixture(scope="module")
def server() -> Iterator[hostile.HostileServer]:
    with hostile.hostile() as running:
        yield running


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every use waits for less than a second."""
    monkeypatch.setattr(probe, "SECONDS", SECONDS)
    monkeypatch.setattr(hub, "LISTING_SECONDS", SECONDS)
    monkeypatch.setattr(stream, "PATIENCE", SECONDS)
    monkeypatch.setattr(range_file, "PATIENCE", SECONDS)
    monkeypatch.setattr(fetching, "TOTAL_SECONDS", SECONDS)
    for name in ("HF_HUB_OFFLINE", "VISUNEX_MIRROR", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_TOKEN", "mine")


def read_stream(address: str) -> bytes:
    with stream.opened_stream(f"{address}/a.tar", ClientSettings()) as file:
        return file.read()


def read_converted(address: str, folder: Path) -> bytes:
    with convert.fetched(f"{address}/m.csv", folder) as path:
        return path.read_bytes()


# What asks at an address, and what it raises.
USES: dict[str, tuple[type[Exception], Callable[[str, Path], object]]] = {
    "an answer": (FetchError, lambda base, _: probe.get(f"{base}/a", most=1000)),
    "a small file": (FetchError, lambda base, _: probe.get_bytes(f"{base}/a", most=10**6, seconds=SECONDS)),
    "a stream": (FetchError, lambda base, _: read_stream(base)),
    "a range": (FetchError, lambda base, _: RemoteFile(f"{base}/a", Web({})).read(0, 5000)),
    "a size": (FetchError, lambda base, _: RemoteFile(f"{base}/a", Web({})).size),
    "vectors": (EncodeError, lambda base, _: open_folder(base)),
    "metadata": (SourceError, lambda base, _: resolve.resolve_source(f"{base}/m.parquet")),
    "metadata to convert": (SourceError, read_converted),
    "a listing": (FetchError, lambda _, __: list(hub.files(hub.data_set("hf://datasets/someone/pictures")))),
    "a revision": (FetchError, lambda _, __: hub.pinned(hub.data_set("hf://datasets/someone/pictures"))),
    "an embedding": (EmbeddingError, lambda base, _: fetch("fantasy", base)),
}
ONE_BYTE = ("a size", "vectors")


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    ("use", "name"),
    # What asks for one byte alone is content with the first that drips.
    [(use, name) for use in USES for name in FOR_EVER if (name != "drip-range" or use not in ONE_BYTE)],
)
def test_no_use_waits_for_ever(
    server: hostile.HostileServer, use: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A header or a byte of the body a second, or headers without end: it ends at the deadline."""
    monkeypatch.setenv("HF_ENDPOINT", f"{server.base}/{name}")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    error, asks = USES[use]
    began = time.monotonic()
    with pytest.raises(error):
        asks(f"{server.base}/{name}", tmp_path / "fetched")
    assert time.monotonic() - began < 2 * SECONDS + GRACE  # one to begin in, one for the body


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("name", ["drip-headers", "drip-body"])
@pytest.mark.parametrize(
    "command",
    [
        ("embeddings", "fetch", "fantasy", "--mirror", "BASE"),
        ("filter", "BASE/m.parquet", "--run", "r"),
        ("encode", "--precomputed", "BASE", "--run", "r", "--model", "visunex-tiny"),
    ],
)
def test_no_command_waits_for_ever(
    server: hostile.HostileServer,
    command: tuple[str, ...],
    name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    downloads.ready_run(tmp_path / "r", ["http://h/1.jpg"], 1)
    given = [word.replace("BASE", f"{server.base}/{name}") for word in command]
    began = time.monotonic()
    done = CliRunner().invoke(main, given)
    assert (done.exit_code, done.stderr.splitlines()[-1].partition(":")[0]) == (1, "Error"), done.stderr
    assert f"{server.server_address[1]}" in done.stderr
    assert time.monotonic() - began < 2 * SECONDS + 2 * GRACE


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("name", ["hang", "drip-headers"])
def test_a_bucket_that_does_not_answer_ends_too(
    server: hostile.HostileServer, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"{server.base}/{name}")
    began = time.monotonic()
    with pytest.raises(SourceError, match="no answer within"):
        resolve.resolve_source("s3://pictures/a.parquet")
    assert time.monotonic() - began < SECONDS + GRACE


def test_a_stream_may_take_long_as_long_as_something_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three pieces, each within the patience, together beyond it."""
    monkeypatch.setattr(stream, "PATIENCE", 1.0)

    def slowly(connection: object, _: hostile.Request) -> None:
        connection.sendall(hostile.response(b"", length=3 * stream.CHUNK))  # type: ignore[attr-defined]
        for _ in range(3):
            time.sleep(0.6)
            connection.sendall(bytes(stream.CHUNK))  # type: ignore[attr-defined]

    hostile.behaviour(None, "slow-stream")(slowly)
    with hostile.hostile() as server:
        assert len(read_stream(f"{server.base}/slow-stream")) == 3 * stream.CHUNK
    del hostile.BEHAVIOURS["slow-stream"], hostile.EXPECTED["slow-stream"]


def test_a_tar_that_breaks_off_is_named() -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("a.jpg"))
    whole = packed.getvalue()
    cut = Page(whole, headers={"Content-Length": str(len(whole) + 9), "Connection": "close"})
    with serving({"/a.tar": cut}) as web, pytest.raises(FetchError, match=r"/a\.tar broke off"):
        read_stream(web.address)


# --- addresses ---


@pytest.fixture
def public_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    """127.0.0.2 stands for a public server; every other loopback address stays private."""
    real = addresses.is_public
    monkeypatch.setattr(addresses, "is_public", lambda ip: ip == "127.0.0.2" or real(ip))


def opened(client: Client, url: str, **headers: str) -> int:
    with client.open(url, Budget.of(5), headers) as response:
        response.read(1000)
        return response.status


@pytest.mark.usefixtures("public_loopback")
def test_a_private_address_may_be_named_but_not_led_to() -> None:
    with serving({"/secret": Page(b"x")}) as inner, serving({}, host="127.0.0.2") as outer:
        outer.pages["/to-secret"] = Page(location=f"{inner.address}/secret")
        inner.pages["/moved"] = Page(location=f"{inner.address}/secret")
        inner.pages["/out-and-back"] = Page(location=f"{outer.address}/to-secret")
        client = Client(ClientSettings(Hosts.NAMED))
        for path in ("/secret", "/moved", "/out-and-back"):
            assert opened(client, inner.address + path) == 200
        inner.asked.clear()
        # A connection to the private server is kept now; not even that one is used.
        with pytest.raises(FetchError, match="the host's address is not public"):
            opened(client, f"{outer.address}/to-secret")
        assert inner.asked == []
        client.close()


@pytest.mark.usefixtures("public_loopback")
def test_a_client_for_public_hosts_asks_no_other() -> None:
    with serving({"/a": Page(b"x")}) as inner, serving({"/a": Page(b"x")}, host="127.0.0.2") as outer:
        client = Client(ClientSettings(Hosts.PUBLIC))
        assert opened(client, f"{outer.address}/a") == 200
        with pytest.raises(FetchError) as caught:
            opened(client, f"{inner.address}/a")
        assert (caught.value.kind, inner.asked) == ("private_address", [])
        assert caught.value.advice == "the host's address is not public (--allow-private permits it)"
        assert opened(Client(ClientSettings(Hosts.PRIVATE_TOO)), f"{inner.address}/a") == 200


@pytest.mark.parametrize("hosts", Hosts)
def test_where_clouds_hand_out_credentials_nobody_asks(hosts: Hosts) -> None:
    with serving({"/a": Page(location="http://169.254.169.254/latest/meta-data/")}) as web:
        for url in ("http://169.254.169.254/latest/meta-data/", f"{web.address}/a"):
            with pytest.raises(FetchError) as caught:
                opened(Client(ClientSettings(hosts)), url)
            assert caught.value.kind == "private_address"


def test_a_token_goes_to_the_host_it_was_meant_for_alone() -> None:
    with serving({"/end": Page(b"x")}) as meant, serving({}) as other:
        meant.pages["/here"] = Page(location="/end")
        meant.pages["/there-and-back"] = Page(location=f"{other.address}/back")
        other.pages["/back"] = Page(location=f"{meant.address}/end")
        client = Client()
        opened(client, f"{meant.address}/here", Authorization="Bearer mine")
        assert meant.asked == [("/here", "Bearer mine"), ("/end", "Bearer mine")]
        meant.asked.clear()
        opened(client, f"{meant.address}/there-and-back", Authorization="Bearer mine")
        assert meant.asked + other.asked == [
            ("/there-and-back", "Bearer mine"), ("/end", None), ("/back", None),
        ]  # fmt: skip
        client.close()


def test_the_token_of_the_hub_goes_to_no_page_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor is what another server lists believed."""
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setenv("HF_TOKEN", "mine")
    with serving({}) as web, serving({}) as other:
        monkeypatch.setenv("HF_ENDPOINT", web.address)
        link = {"Link": f'<{other.address}/more>; rel="next"'}
        web.pages["/api/datasets/a/b/tree/main"] = Page(b'[{"type": "file", "path": "x"}]', headers=link)
        assert [file.path for file in hub.files(hub.data_set("hf://datasets/a/b"))] == ["x"]
        assert other.asked == []


def test_a_listing_without_end_has_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setenv("HF_TOKEN", "mine")
    monkeypatch.setattr(hub, "_MOST_PAGES", 3)
    with serving({}) as web:
        monkeypatch.setenv("HF_ENDPOINT", web.address)
        page = "/api/datasets/a/b/tree/main"
        web.pages[page] = Page(b"[]", headers={"Link": f'<{web.address}{page}>; rel="next"'})
        with pytest.raises(FetchError, match="more files than 3 pages list"):
            list(hub.files(hub.data_set("hf://datasets/a/b")))
        assert len(web.asked) == 3


def test_no_use_takes_a_proxy_from_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setenv("HF_TOKEN", "mine")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with serving({}) as proxy, serving({}) as web:
        for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.address)
        monkeypatch.setenv("no_proxy", "")
        monkeypatch.setenv("HF_ENDPOINT", web.address)
        for use, (_, asks) in USES.items():
            web.asked.clear()
            with pytest.raises(Exception, match=r"404|no img_emb") if use != "an answer" else nullcontext():
                asks(web.address, tmp_path / "fetched")
            assert web.asked, use
        assert proxy.asked == []


def test_who_a_link_names_is_said_to_its_host_alone() -> None:
    with serving({"/a": Page(b"x")}) as meant, serving({"/a": Page(b"x")}) as other:
        meant.pages["/there"] = Page(location=f"{other.address}/a")
        base = meant.address.replace("http://", "http://me:p%40ss@")
        assert opened(Client(), f"{base}/a") == opened(Client(), f"{base}/there") == 200
        said = f"Basic {base64.b64encode(b'me:p@ss').decode()}"
        assert (meant.asked, other.asked) == ([("/a", said), ("/there", said)], [("/a", None)])


@pytest.mark.parametrize("asks", [lambda url: probe.get(url, most=9), lambda url: read_stream(url)])
def test_a_password_is_in_no_message(asks: Callable[[str], object]) -> None:
    with hostile.closed_port() as port, pytest.raises(FetchError) as caught:
        asks(f"http://me:secret@127.0.0.1:{port}/a")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("name", ["br", "zstd", "gzip"])
def test_a_file_that_is_packed_unasked_is_unpacked(name: str) -> None:
    pack = {"br": brotli.compress, "zstd": hostile.zstd.compress, "gzip": gzip.compress}[name]
    page = Page(pack(b"url,caption\n" * 50_000), headers={"Content-Encoding": name})
    with serving({"/a.tar": page}) as web:
        assert read_stream(web.address) == b"url,caption\n" * 50_000
        assert probe.get_bytes(f"{web.address}/a.tar", most=10**6, seconds=5) == b"url,caption\n" * 50_000


# --- small parts ---


def test_budgets_nest() -> None:
    outer, inner = Budget.of(1), Budget.of(1)
    with spending(outer):
        with spending(inner):
            assert current_budget() is inner
        assert current_budget() is outer
    assert current_budget() is None


def test_an_error_of_fetching_is_the_stage_s_own() -> None:
    for kind in (SourceError, DownloadError, EncodeError):
        with pytest.raises(kind, match=r"^a sentence$"), fetch_errors_as(kind):
            raise FetchError("refused", "a sentence", option="--allow-private permits it")


def test_a_busy_server_is_asked_again_for_a_range(server: hostile.HostileServer) -> None:
    visits = iter(range(9))

    def busy_twice(_: hostile.Request) -> bytes:
        if next(visits) < 2:
            return hostile.response(b"", status="503 Service Unavailable")
        return hostile.response(b"abc", "Content-Range: bytes 0-2/9", status="206 Partial Content")

    hostile.answers("busy-range", None, busy_twice)
    file = RemoteFile(f"{server.base}/busy-range/a", Web({}))
    assert (file.read(0, 3), file.size) == (b"abc", 9)
    del hostile.BEHAVIOURS["busy-range"], hostile.EXPECTED["busy-range"]
