"""Data sets on the Hub: hf:// addresses become URLs, by the Hub's HTTP interface ($HF_ENDPOINT: a mirror)."""

import fnmatch
import json
import os
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from visunex.pipeline.errors import SourceError

from .probe import Answer, Remote, authorization, convertible_name, get, look, refusal

_PATTERN = frozenset("*?[")
_REDIRECTED = frozenset({301, 302, 303, 307, 308})


@dataclass(frozen=True)
class _DataSet:
    """A data set at one revision, as `address` named it, and who we are."""

    address: str
    endpoint: str
    repository: str
    revision: str
    token: str | None

    def url(self, kind: str, path: str) -> str:
        return f"{self.endpoint}{kind}/{self.repository}/{path}/{urllib.parse.quote(self.revision, safe='')}"


def locate_on_hub(address: str) -> Remote:
    """The files of hf://datasets/OWNER/NAME[@REVISION][/PATH], PATH a file, a folder or a pattern.

    Raises SourceError: not there, gone, gated (with what to do), or out of reach.
    """
    found, path = _data_set(address)
    files = [entry for entry in _files(found) if _wanted(entry["path"], path)]
    if not files:
        raise SourceError(f"{address}: the data set is there, but no such parquet file in it")
    base = found.url("/datasets", "resolve")
    urls = [f"{base}/{urllib.parse.quote(entry['path'])}" for entry in files]
    identity = [{"path": entry["path"], "oid": (entry.get("lfs") or entry).get("oid")} for entry in files]
    urls, convert = _readable(urls, found)
    return Remote(tuple(urls), identity, convert=convert)


@dataclass(frozen=True)
class HubFolder:
    """The URL that the files of a folder begin with, the headers to send, and what to say when refused."""

    url: str
    headers: dict[str, str]
    refused: str


def hub_folder(address: str) -> HubFolder:
    """The folder hf://datasets/OWNER/NAME[@REVISION]/PATH. Raises SourceError, without asking the Hub."""
    found, path = _data_set(address)
    terms = f"accept its terms at {found.endpoint}/datasets/{found.repository}"
    what_next = "with the account of your token" if found.token else "then set HF_TOKEN"
    refused = f"the Hub has no such data set, or it is private or gated: {terms}, {what_next}"
    url = f"{found.url('/datasets', 'resolve')}/{urllib.parse.quote(path)}".rstrip("/")
    return HubFolder(url, authorization(found.token), refused)


def _data_set(address: str) -> tuple[_DataSet, str]:
    """The data set and the path in it that an hf:// address means."""
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
        raise SourceError(f"{address}: the Hub may not be asked, as HF_HUB_OFFLINE is set")
    repository, revision, path = _parts(address)
    endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
    return _DataSet(address, endpoint, repository, revision, _token()), path


def pinned(address: str) -> tuple[str, str, str | None]:
    """The OWNER/NAME that hf://datasets/OWNER/NAME[@REVISION] means, its commit now, and our token.

    Raises SourceError.
    """
    found, _ = _data_set(address)
    revision = urllib.parse.quote(found.revision, safe="")
    url = f"{found.endpoint}/api/datasets/{found.repository}/revision/{revision}"
    answer = get(url, authorization(found.token), most=16 << 20)
    if answer.status >= 400:
        raise SourceError(f"{address}: {_refusal(answer, found)}")
    try:
        return found.repository, str(json.loads(answer.body)["sha"]), found.token
    except (ValueError, TypeError, KeyError):
        raise SourceError(f"{address}: {found.endpoint} does not answer as the Hub does") from None


def _parts(address: str) -> tuple[str, str, str]:
    """The repository, revision and path of an hf:// address."""
    kind, _, rest = address.removeprefix("hf://").partition("/")
    owner, _, rest = rest.partition("/")
    name, _, path = rest.partition("/")
    name, _, revision = name.partition("@")
    if kind != "datasets" or not owner or not name:
        raise SourceError(f"{address} is not of the form hf://datasets/OWNER/NAME/PATH")
    if revision == "refs":  # a revision such as refs/convert/parquet has slashes of its own
        group, _, path = path.partition("/")
        which, _, path = path.partition("/")
        revision = f"refs/{group}/{which}"
    return f"{owner}/{name}", {"~parquet": "refs/convert/parquet"}.get(revision, revision) or "main", path


def _token() -> str | None:
    if token := os.environ.get("HF_TOKEN", "").strip():
        return token
    home = Path(os.environ.get("HF_HOME", "~/.cache/huggingface")).expanduser()
    try:
        return Path(os.environ.get("HF_TOKEN_PATH", home / "token")).read_text().strip() or None
    except (OSError, UnicodeDecodeError):
        return None


def _files(found: _DataSet) -> Iterator[dict[str, Any]]:
    """The entries of the files in a data set's tree, page by page."""
    page: str | None = found.url("/api/datasets", "tree") + "?recursive=true"
    while page:
        answer = get(page, authorization(found.token), most=64 << 20)
        if answer.status >= 400:
            raise SourceError(f"{found.address}: {_refusal(answer, found)}")
        try:
            entries = json.loads(answer.body)
            yield from (entry for entry in entries if entry["type"] == "file")
        except (ValueError, TypeError, KeyError):
            raise SourceError(f"{found.address}: {found.endpoint} does not answer as the Hub does") from None
        page = _next_page(answer.headers.get("Link", ""), found.endpoint)


def _next_page(link: str, endpoint: str) -> str | None:
    """The URL marked as next in a Link header; the token goes nowhere but to the endpoint."""
    pages = (part.split(">")[0].strip(" <") for part in link.split(",") if 'rel="next"' in part)
    return next((page for page in pages if page.startswith(f"{endpoint}/")), None)


def _wanted(file: str, path: str) -> bool:
    """Whether `path` (a file, a folder or a pattern) means `file`."""
    if _PATTERN & set(path):  # as in a shell, * stays within a folder and ** does not
        depth = "**" in path or file.count("/") == path.count("/")
        return depth and fnmatch.fnmatchcase(file, path.replace("**/", "*"))
    folder = f"{path.rstrip('/')}/" if path else ""
    return file == path or (file.startswith(folder) and file.endswith(".parquet"))


def _readable(urls: list[str], found: _DataSet) -> tuple[list[str], bool]:
    """The URLs, where anyone can read them, and whether they hold something to convert.

    Those of a gated set are exchanged for signed ones, by the token.
    """
    answer = get(urls[0], {"Range": "bytes=0-3"}, most=4)
    if answer.status < 400:
        return urls, not look(urls[0]).parquet
    if found.token is None:
        raise SourceError(f"{found.address}: {_refusal(answer, found)}")
    return [_signed(url, found) for url in urls], convertible_name(urls[0])


def _signed(url: str, found: _DataSet) -> str:
    answer = get(url, authorization(found.token), most=0, redirect=False)
    if answer.status >= 400:
        raise SourceError(f"{found.address}: {_refusal(answer, found)}")
    if answer.status not in _REDIRECTED:
        raise SourceError(
            f"{found.address} is gated and can only be read whole; download it and give its path"
        )
    return urllib.parse.urljoin(url, answer.headers["Location"])


def _refusal(answer: Answer, found: _DataSet) -> str:
    """Why the Hub refused, and what to do about it."""
    code = answer.headers.get("X-Error-Code", "")
    if code == "GatedRepo" or (answer.status == 403 and code != "RepoNotFound"):
        terms = f"accept its terms at {found.endpoint}/datasets/{found.repository}"
        if found.token:
            return f"the data set is gated and your token may not read it; {terms}"
        return f"the data set is gated; {terms}, then set HF_TOKEN"
    if code == "RevisionNotFound":
        return f"the data set has no revision {found.revision}"
    if answer.status in (401, 404):  # the Hub says 401 where it will not tell whether a data set exists
        return f"the Hub has no such data set, or it is private (HTTP {answer.status})"
    return refusal(answer)
