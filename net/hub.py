"""Data sets on the Hub: what an hf:// address means, the files there, their URLs ($HF_ENDPOINT: a mirror).

Listing and revisions are asked for here rather than through `huggingface_hub` (measured with 2.4): its
`list_repo_tree` follows the next page to whatever host a server names and sends the token along, knows no
timeout (a silent server is waited for without end), asks a busy server six times over 23 seconds and reads
answers of any size; `dataset_info(timeout=1)` waits for ever for headers that drip. Tokens are its own.
"""

import contextlib
import json
import os
import re
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from visunex.base.proxies import is_offline

from .errors import FetchError
from .probe import Answer, authorization, get, refusal

__all__ = [
    "DataSet",
    "HubFile",
    "HubFolder",
    "data_set",
    "files",
    "hub_folder",
    "listed_folder",
    "pinned",
    "start_of",
]

LISTING_SECONDS = 60.0  # for a page of a listing, once it begins
_LARGEST_PAGE = 64 << 20  # bytes
_MOST_PAGES = 1000  # of a thousand files each
_LONGEST_LICENCE = 200  # characters
_COMMIT = re.compile(r"[0-9A-Za-z]{1,64}")
_WHOLE_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class DataSet:
    """A data set at one revision, as `address` named it, the `path` in it that is meant, and who we are.

    Once it is `pinned`, `configs` are its configurations and `info` what is in them, as its page describes it
    (JSON), and `licence` is what its page says of that; `by_hand`: its owner decides whom to let in.
    """

    address: str
    endpoint: str
    repository: str
    revision: str
    path: str
    token: str | None
    configs: Any = None
    info: Any = None
    licence: str = ""
    by_hand: bool = False

    def url(self, kind: str, path: str) -> str:
        """The URL of something of the data set at its revision."""
        return f"{self.endpoint}{kind}/{self.repository}/{path}/{urllib.parse.quote(self.revision, safe='')}"

    def url_of(self, path: str) -> str:
        """The URL of one of its files, or that the files of a folder begin with."""
        return f"{self.url('/datasets', 'resolve')}/{urllib.parse.quote(path)}"

    def address_of(self, path: str) -> str:
        """The hf:// address of one of its files; of one that is pinned a lasting one."""
        return f"hf://datasets/{self.repository}@{self.revision}/{path}"

    @property
    def terms(self) -> str:
        """What to do where a data set is gated."""
        page = f"{self.endpoint}/datasets/{self.repository}"
        return f"ask its owner for access at {page}" if self.by_hand else f"accept its terms at {page}"


@dataclass(frozen=True)
class HubFile:
    """A file of a data set: its path there, and the hash of its contents."""

    path: str
    oid: str | None


@dataclass(frozen=True)
class HubFolder:
    """The URL that the files of a folder begin with, the headers to send, and what to say when refused."""

    url: str
    headers: dict[str, str]
    refused: str


def hub_folder(address: str) -> HubFolder:
    """The folder hf://datasets/OWNER/NAME[@REVISION]/PATH. Raises FetchError, without asking the Hub."""
    return _folder(data_set(address))


def listed_folder(address: str) -> tuple[HubFolder, list[str]]:
    """The same at the commit of today, and the paths below it of its files. Raises FetchError."""
    found = pinned(data_set(address))
    above = f"{found.path.rstrip('/')}/" if found.path else ""
    paths = (each.path for each in files(found))
    return _folder(found), [path.removeprefix(above) for path in paths if path.startswith(above)]


def _folder(found: DataSet) -> HubFolder:
    what_next = "with the account of your token" if found.token else "then set HF_TOKEN"
    refused = f"the Hub has no such data set, or it is private or gated: {found.terms}, {what_next}"
    return HubFolder(found.url_of(found.path).rstrip("/"), authorization(found.token), refused)


def data_set(address: str) -> DataSet:
    """What hf://datasets/OWNER/NAME[@REVISION][/PATH] means. Raises FetchError, without asking the Hub."""
    if is_offline():
        raise _error(f"{address}: the Hub may not be asked, as HF_HUB_OFFLINE is set")
    repository, revision, path = _parts(address)
    endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
    return DataSet(address, endpoint, repository, revision, path, _token())


def pinned(found: DataSet) -> DataSet:
    """The data set at the commit that its revision is at now. Raises FetchError."""
    revision = urllib.parse.quote(found.revision, safe="")
    answer = _asked(f"{found.endpoint}/api/datasets/{found.repository}/revision/{revision}", found)
    with _expected_form(found):
        said = json.loads(answer.body)
        if not _COMMIT.fullmatch(said["sha"]):
            raise ValueError("no commit")
        card = said.get("cardData") or {}
        return replace(
            found,
            revision=said["sha"],
            configs=card.get("configs"),
            info=card.get("dataset_info"),
            licence=_licence(card.get("license")),
            by_hand=said.get("gated") == "manual",
        )


def _licence(said: Any) -> str:
    """The licence that a page names, one or several; nothing where it is said in another form."""
    names = said if isinstance(said, list) else [said]
    return ", ".join(name for name in names if isinstance(name, str))[:_LONGEST_LICENCE]


def start_of(found: DataSet, path: str, count: int) -> Answer:
    """The first bytes of one of its files. Raises FetchError where the Hub refuses."""
    part = {"Range": f"bytes=0-{count - 1}"}
    answer = get(found.url_of(path), {**authorization(found.token), **part}, most=count)
    if answer.status >= 400:
        raise _refused(answer, found)
    return answer


def files(found: DataSet) -> Iterator[HubFile]:
    """All files of a data set, page by page of its listing. Raises FetchError."""
    page: str | None = found.url("/api/datasets", "tree") + "?recursive=true"
    for _ in range(_MOST_PAGES):
        answer = _asked(page or "", found)
        with _expected_form(found):
            entries = [_file(entry) for entry in json.loads(answer.body) if entry["type"] == "file"]
        yield from entries
        page = _next_page(answer.headers.get("Link", ""), found.endpoint)
        if page is None:
            return
    raise _error(f"{found.address} has more files than {_MOST_PAGES} pages list")


def _file(entry: dict[str, Any]) -> HubFile:
    return HubFile(str(entry["path"]), (entry.get("lfs") or entry).get("oid"))


def _asked(url: str, found: DataSet) -> Answer:
    """The Hub's answer, in JSON. Raises FetchError where it refuses."""
    answer = get(url, authorization(found.token), most=_LARGEST_PAGE, seconds=LISTING_SECONDS)
    if answer.status >= 400:
        raise _refused(answer, found)
    return answer


@contextlib.contextmanager
def _expected_form(found: DataSet) -> Iterator[None]:
    """Within it, what is not of the form the Hub answers in is named so."""
    try:
        yield
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise _error(f"{found.address}: {found.endpoint} does not answer as the Hub does") from None


def _next_page(link: str, endpoint: str) -> str | None:
    """The URL marked as next in a Link header; the token goes nowhere but to the endpoint."""
    pages = (part.split(">")[0].strip(" <") for part in link.split(",") if 'rel="next"' in part)
    return next((page for page in pages if page.startswith(f"{endpoint}/")), None)


def _parts(address: str) -> tuple[str, str, str]:
    """The repository, revision and path of an hf:// address."""
    kind, _, rest = address.removeprefix("hf://").partition("/")
    owner, _, rest = rest.partition("/")
    name, _, path = rest.partition("/")
    name, _, revision = name.partition("@")
    revision = urllib.parse.unquote(revision)  # a branch's name may hold %2F
    if kind != "datasets" or not owner or not name:
        raise _error(f"{address} is not of the form hf://datasets/OWNER/NAME/PATH")
    if revision == "refs":  # a revision such as refs/convert/parquet has slashes of its own
        group, _, path = path.partition("/")
        which, _, path = path.partition("/")
        revision = f"refs/{group}/{which}"
    return f"{owner}/{name}", {"~parquet": "refs/convert/parquet"}.get(revision, revision) or "main", path


def _token() -> str | None:
    """The token of $HF_TOKEN, else of who has logged in (`hf auth login`), renewed where it must be."""
    if token := os.environ.get("HF_TOKEN", "").strip():
        return token
    from huggingface_hub import get_token  # takes a third of a second

    try:
        return get_token()
    except Exception:  # an unreadable file, or a service that gives none: the Hub says what it refuses
        return None


def _refused(answer: Answer, found: DataSet) -> FetchError:
    kind, why = _refusal(answer, found)
    return FetchError(kind, f"{found.address}: {why}", status=answer.status)


def _refusal(answer: Answer, found: DataSet) -> tuple[str, str]:
    """Why the Hub refused, as a kind of failure and in words with what to do about it.

    Whom it does not know it tells 401 and "Invalid username or password" of a data set that does not exist.
    """
    code, said = answer.headers.get("X-Error-Code", ""), _said(answer)
    if "is disabled" in said:
        return "disabled", f"access to the data set is disabled on the Hub (HTTP {answer.status})"
    if "Invalid credentials" in said:
        return "bad_token", "the Hub does not know your token: renew HF_TOKEN, or unset it"
    if code == "RevisionNotFound":
        commit = _WHOLE_COMMIT.fullmatch(found.revision) is not None
        gone = " (a commit that is gone was withdrawn by its owner)" if commit else ""
        return f"http_{answer.status}", f"the data set has no revision {found.revision}{gone}"
    unknown = code == "RepoNotFound" or said.startswith(
        ("Invalid username or password", "Repository not found")
    )
    if unknown or answer.status == 404:
        # A mirror that has the files alone gives no code with its 404.
        kind = f"http_{answer.status}" if unknown or code else "no_listing"
        return kind, f"the Hub has no such data set, or it is private (HTTP {answer.status})"
    if code == "GatedRepo" or answer.status in (401, 403):
        if found.token:
            return "gated", f"the data set is gated and your token may not read it; {found.terms}"
        return "gated", f"the data set is gated; {found.terms}, then set HF_TOKEN"
    return f"http_{answer.status}", refusal(answer)


def _said(answer: Answer) -> str:
    """What the Hub says of why it refused: in a header, else in the body."""
    if said := answer.headers.get("X-Error-Message", ""):
        return said
    try:
        said = json.loads(answer.body)["error"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return ""
    return said if isinstance(said, str) else ""


def _error(message: str) -> FetchError:
    return FetchError("hub", message)
