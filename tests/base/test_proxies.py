"""One way for all that a command fetches: the named proxy, the environment's, or none."""

import os
from pathlib import Path

import hostile
import polars as pl
import pytest
import tunnel
from click.testing import CliRunner
from standin import Page, serving

from visunex.base.errors import UsageError
from visunex.base.proxies import one_way
from visunex.net import probe
from visunex.net.errors import FetchError
from visunex.net.fetcher import Fetcher, FetchSettings
from visunex.pipeline.cli import main

TABLE = b"url,caption,score\nhttp://h/1.jpg,flower one,6.1\nhttp://h/2.jpg,flower two,6.2\n"


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        for spelled in (name, name.upper()):
            monkeypatch.delenv(spelled, raising=False)
    monkeypatch.delenv("VISUNEX_PROXY", raising=False)


def filtered(url: str, folder: Path, *more: str) -> tuple[int, str]:
    done = CliRunner().invoke(main, ["filter", url, "--run", str(folder / "r"), *more])
    return done.exit_code, done.stderr + done.stdout


@pytest.mark.parametrize("way", ["named", "env", "variable"])
@pytest.mark.parametrize("name", ["m.csv", "m.parquet"])
def test_every_request_of_a_source_goes_through_the_proxy(
    way: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "m.csv").write_bytes(TABLE)
    pl.read_csv(tmp_path / "m.csv").write_parquet(tmp_path / "m.parquet")
    with serving({f"http://data.invalid/{name}": Page((tmp_path / name).read_bytes())}) as proxy:
        if way == "env":
            monkeypatch.setenv("http_proxy", proxy.address)
        if way == "variable":
            monkeypatch.setenv("VISUNEX_PROXY", proxy.address)
        more = {"named": ["--proxy", proxy.address], "env": ["--proxy", "env"], "variable": []}[way]
        code, said = filtered(f"http://data.invalid/{name}", tmp_path, *more)
    assert code == 0, said


def test_without_a_word_none_is_used_and_the_message_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving({}) as proxy:
        monkeypatch.setenv("http_proxy", proxy.address.replace("//", "//me:secret@"))
        code, said = filtered("http://data.invalid/m.csv", tmp_path)
        assert os.environ["http_proxy"]  # as it was
    assert (code, proxy.asked) == (1, [])
    assert f"the proxy {proxy.address} that the environment names is used with --proxy env only" in said
    assert "secret" not in said


def test_https_asks_for_a_tunnel_and_a_refusal_names_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving({}) as proxy:
        monkeypatch.setenv("VISUNEX_PROXY", proxy.address)
        with pytest.raises(FetchError, match=f"by the proxy {proxy.address}: .*Tunnel"):
            probe.get("https://data.invalid/a", most=9)


def test_https_goes_through_a_tunnel_also_to_see_whether_a_host_is_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The name exists for the proxy alone; who asks is said to the proxy and to the server."""
    fetcher = Fetcher(FetchSettings(insecure=True, user_agent="MyBot/1.0 (me)", deadline=10))
    with tunnel.tunnelling() as proxy, hostile.hostile(tls=True) as server, hostile.closed_port() as closed:
        monkeypatch.setenv("VISUNEX_PROXY", proxy.address)
        there = f"https://pictures.invalid:{server.server_address[1]}"
        gone = f"https://pictures.invalid:{closed}"
        fetched = fetcher.fetch(f"{there}/good/1.jpg")
        assert (fetched.error, fetched.body) == (None, hostile.picture("/good/1.jpg"))
        assert fetcher.reaches(f"{there}/good/1.jpg")
        assert not fetcher.reaches(f"{gone}/good/1.jpg")
        assert "Tunnel" in fetcher.fetch(f"{gone}/good/1.jpg").message
        fetcher.close()
    assert proxy.asked
    assert all("User-Agent: MyBot/1.0 (me)\r\n" in head for head in proxy.asked)
    monkeypatch.setenv("VISUNEX_PROXY", "http://127.0.0.1:1")
    assert not fetcher.reaches(f"{there}/good/1.jpg"), "it was asked without the proxy"


@pytest.mark.parametrize(("status", "there"), [(404, True), (502, False), (504, False)])
def test_what_a_proxy_says_of_a_host_that_is_gone(
    status: int, there: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetcher = Fetcher(FetchSettings(user_agent="MyBot/1.0"))
    with serving({"http://pictures.invalid/": Page(status=status)}) as proxy:
        monkeypatch.setenv("VISUNEX_PROXY", proxy.address)
        assert fetcher.reaches("http://pictures.invalid/1.jpg?a=b") is there
    fetcher.close()
    assert ([path for path, _ in proxy.asked], proxy.agents) == (["http://pictures.invalid/"], {"MyBot/1.0"})


def test_a_proxy_that_is_gone_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VISUNEX_PROXY", "http://127.0.0.1:1")
    with pytest.raises(FetchError, match=r"by the proxy http://127\.0\.0\.1:1: the host refuses"):
        probe.get("http://data.invalid/a", most=9)


@pytest.mark.parametrize("proxy", ["socks5://a:1", "https://a:1", "a:1", "http://"])
def test_what_is_no_http_proxy_is_refused(proxy: str) -> None:
    with pytest.raises(UsageError, match="http://HOST:PORT"), one_way(proxy):
        pass
