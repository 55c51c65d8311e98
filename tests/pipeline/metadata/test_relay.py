"""Parquet behind addresses: polars reads it, and every byte comes through the guarded client."""

import io
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.error import HTTPError

import polars as pl
import pytest
from standin import Page, StandIn, serving

from visunex.net import addresses, range_file
from visunex.pipeline.errors import SourceError
from visunex.pipeline.filter.scan import scan
from visunex.pipeline.metadata.relay import relayed
from visunex.pipeline.metadata.resolve import resolve_source
from visunex.pipeline.metadata.table import Table, open_table
from visunex.recipes import Columns

ROWS = 40_000


@pytest.fixture(scope="module")
def body() -> bytes:
    buffer = io.BytesIO()
    numbers = pl.int_range(ROWS, eager=True)
    table = {"url": "http://h/" + numbers.cast(pl.String), "caption": numbers.hash().cast(pl.String)}
    unused = {f"unused{n}": numbers.hash(n).cast(pl.String) for n in range(8)}
    pl.DataFrame({**table, **unused}).write_parquet(buffer, row_group_size=10_000, compression="uncompressed")
    return buffer.getvalue()


@pytest.fixture
def web(body: bytes, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    monkeypatch.setattr(range_file, "PATIENCE", 0.5)
    monkeypatch.setattr("visunex.net.errors.FIRST_PAUSE", 0.01)
    with serving({"/m.parquet": Page(body)}) as server:
        yield server


def opened(web: StandIn) -> Table:
    return open_table(resolve_source(f"{web.address}/m.parquet"), Columns())


def selected(web: StandIn) -> pl.DataFrame:
    return scan(opened(web), [], 3, None).selected


def test_what_is_not_wanted_is_not_fetched(web: StandIn, body: bytes) -> None:
    found = opened(web).rows.select("url").collect(engine="streaming")
    assert (len(found), found["url"][-1]) == (ROWS, f"http://h/{ROWS - 1}")
    assert web.sent < 0.2 * len(body)
    assert len(web.asked) < 10
    assert {agent.split("/")[0] for agent in web.agents} == {"Mozilla"}, (
        "something else than our client asked"
    )


def test_an_answer_that_breaks_off_is_gone_on_with(web: StandIn, body: bytes) -> None:
    web.pages["/m.parquet"] = Page(body, cuts=3)
    assert len(selected(web)) == 3


@pytest.mark.parametrize(("good", "said"), [(0, "broke off (timeout)"), (1, "broke off (timeout)")])
def test_a_server_that_drips_is_left(good: int, said: str, web: StandIn, body: bytes) -> None:
    web.pages["/m.parquet"] = Page(body, drips_after=good)
    with pytest.raises(SourceError) as caught:
        selected(web)
    assert said in str(caught.value)
    assert f"{web.address}/m.parquet" in str(caught.value)


def test_a_file_that_changes_while_it_is_read_is_not_mixed(web: StandIn, body: bytes) -> None:
    table = opened(web)
    web.pages["/m.parquet"] = Page(body + b"more")
    with pytest.raises(SourceError, match="changed while it was read"):
        scan(table, [], 3, None)


def test_a_redirect_to_a_private_address_is_not_followed(
    web: StandIn, body: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was public when it was looked at leads to this machine's own network afterwards."""
    monkeypatch.setattr(addresses, "is_public", lambda ip: ip == "127.0.0.1")
    with serving({"/m.parquet": Page(body)}, host="127.0.0.2") as private:
        table = opened(web)
        web.pages["/m.parquet"] = Page(location=f"{private.address}/m.parquet")
        with pytest.raises(SourceError, match="not public"):
            scan(table, [], 3, None)
        assert private.asked == []


def test_nobody_reads_without_the_secret(web: StandIn, tmp_path: Path) -> None:
    address = relayed(f"{web.address}/m.parquet")
    for path in ("/0.parquet", "/guess/0.parquet", "/"):
        with pytest.raises(HTTPError):
            urllib.request.urlopen(address.rsplit("/", 2)[0] + path)
    assert web.asked == []
    assert relayed("s3://bucket/m.parquet") == "s3://bucket/m.parquet"
