"""Whom the studio's server answers, and what it lets a browser do."""

import asyncio
from collections.abc import MutableMapping
from typing import Any

import pytest
from click.testing import CliRunner

from visunex.base.errors import UsageError
from visunex.studio.cli import main
from visunex.studio.page.guard import POLICY, Guard
from visunex.studio.page.parts import part
from visunex.studio.serve import address_of, bound


def asked(
    headers: dict[str, str], *, only_here: bool = True, kind: str = "http"
) -> tuple[int, dict[str, str]]:
    """The status and headers that a request with these headers gets."""
    sent: list[MutableMapping[str, Any]] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    async def receive() -> MutableMapping[str, Any]:
        return {}

    scope = {"type": kind, "headers": [(k.encode(), v.encode()) for k, v in headers.items()]}
    asyncio.run(Guard(application, only_here=only_here)(scope, receive, send))
    return sent[0]["status"], {k.decode(): v.decode() for k, v in sent[0]["headers"]}


@pytest.mark.parametrize("host", ["127.0.0.1:7860", "localhost:7860", "[::1]:7860", "localhost"])
def test_this_machine_is_answered_with_a_policy(host: str) -> None:
    status, headers = asked({"host": host, "origin": f"http://{host}"})
    assert status == 200
    assert headers["content-security-policy"] == POLICY


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "evil.example:7860"},
        {"host": "127.0.0.1.evil.example"},
        {"host": "127.0.0.1:7860", "origin": "https://evil.example"},
        {"host": "127.0.0.1:7860", "origin": "null"},
        {"host": "localhost:7860", "origin": "http://localhost:8000"},
        {},
    ],
)
def test_other_sites_are_refused(headers: dict[str, str]) -> None:
    assert asked(headers)[0] == 403


def test_where_others_were_let_in_they_are_answered() -> None:
    assert asked({"host": "desk.example:7860"}, only_here=False)[0] == 200


def test_a_port_that_is_taken_is_passed_over_or_named() -> None:
    with bound("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        assert address_of(first) == f"http://127.0.0.1:{port}"
        with pytest.raises(UsageError, match=f"port {port}.*give another --host or --port"):
            bound("127.0.0.1", port)
    with bound("127.0.0.1", None) as one, bound("127.0.0.1", None) as other:
        assert one.getsockname() != other.getsockname()


def test_an_address_that_is_not_ours_is_a_sentence() -> None:
    result = CliRunner().invoke(main, ["--host", "192.0.2.1", "--no-browser"])
    assert result.exit_code == 2
    assert "nothing can be served at 192.0.2.1" in result.output


def test_text_from_outside_stays_text() -> None:
    html = part("heading", title="<script>x</script>\u202e", about='"&{{ 7 * 7 }}')
    assert "<script" not in html
    assert "&lt;script&gt;x&lt;/script&gt;\ufffd" in html
    assert "{{ 7 * 7 }}" in html
