"""A bucket of S3, by the loopback server."""

from collections.abc import Mapping
from pathlib import Path

import pytest
from standin import Page, StandIn


def unsigned(monkeypatch: pytest.MonkeyPatch, web: StandIn, home: Path) -> None:
    """Let buckets be those of the stand-in, with no credentials in sight."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ENDPOINT_URL", web.address)
    monkeypatch.setenv("HOME", str(home))


def filled(web: StandIn, bodies: Mapping[str, bytes]) -> None:
    """The bucket `pictures` with these objects."""
    listed = "".join(
        f"<Contents><Key>{key}</Key><LastModified>2024-01-01T00:00:00.000Z</LastModified>"
        f"<ETag>x</ETag><Size>{len(body)}</Size></Contents>"
        for key, body in bodies.items()
    )
    listing = f"<ListBucketResult><IsTruncated>false</IsTruncated>{listed}</ListBucketResult>"
    web.pages["/pictures"] = Page(listing.encode())
    web.pages.update({f"/pictures/{key}": Page(body) for key, body in bodies.items()})
