"""The Hub, by the loopback server: data sets with a commit, as huggingface_hub's own client asks for them."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from standin import Page, StandIn

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Published:
    """A data set at the stand-in: its name, and where its files are by their paths in it."""

    web: StandIn
    name: str
    files: dict[str, Page] = field(default_factory=dict)


def publish(
    web: StandIn,
    name: str,
    files: Mapping[str, bytes],
    *,
    revision: str = "main",
    commit: str = COMMIT,
    configs: Any = None,
    token: str | None = None,
    licence: str | None = None,
    info: Any = None,
    **page: Any,
) -> Published:
    """Let the stand-in have a data set; of a gated one (`token`) anyone sees the listing, as on the Hub."""
    card = {"configs": configs, "license": licence, "dataset_info": info}
    card = {name: said for name, said in card.items() if said is not None}
    names = [{"rfilename": path} for path in files]
    gated = "auto" if token else False
    about = {"_id": "1", "id": name, "sha": commit, "cardData": card, "siblings": names, "private": False,
             "gated": gated, "disabled": False, "tags": [], "downloads": 0, "likes": 0}  # fmt: skip
    tree = [{"type": "directory", "path": "data", "oid": "d" * 40, "size": 0}]
    made = Published(web, name)
    for path, body in files.items():
        digest = hashlib.sha256(body).hexdigest()
        lfs = {"oid": digest, "size": len(body), "pointerSize": 134}
        tree.append({"type": "file", "path": path, "oid": digest[:40], "size": len(body), "lfs": lfs})
        headers = {"ETag": f'"{digest}"', "X-Repo-Commit": commit, **page.get("headers", {})}
        made.files[path] = Page(body, **{**page, "headers": headers}, token=token)
    for named in (revision, commit):
        web.pages[f"/api/datasets/{name}/revision/{named}"] = Page(json.dumps(about).encode())
        web.pages[f"/api/datasets/{name}/tree/{named}"] = Page(json.dumps(tree).encode())
        for path, each in made.files.items():
            web.pages[f"/datasets/{name}/resolve/{named}/{path}"] = each
    web.pages.setdefault(f"/api/datasets/{name}", Page(json.dumps(about).encode()))
    return made
