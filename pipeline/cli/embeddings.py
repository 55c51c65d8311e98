"""`visunex-data embeddings`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from visunex.base.console import Command, Group, Output, Table, proxy_option, show

if TYPE_CHECKING:
    from visunex.aesthetic_embeddings import Embedding

mirror_option = click.option(
    "--mirror",
    envvar="VISUNEX_MIRROR",
    metavar="PLACE",
    help="A folder or URL that serves what is published: aesthetic_embeddings/NAME.pt, predictors/FILE.",
)
folder_option = click.option(
    "--folder",
    "folders",
    multiple=True,
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="Also look at the *.pt files of this folder; repeat.",
)


@click.group("embeddings", cls=Group)
def command() -> None:
    """List, show, compare, mix and fetch aesthetic embeddings."""


@command.command("list", cls=Command)
@mirror_option
@proxy_option
@folder_option
def list_(mirror: str | None, folders: tuple[Path, ...]) -> None:
    """List the published embeddings and those on this machine.

    \b
    Example:
        visunex-data embeddings list --folder my_embeddings/
    """
    from visunex.aesthetic_embeddings import catalogue, findable

    here = {each.path: each for each in findable(mirror, folders=folders)}
    published = [_published(entry, here) for entry in catalogue().values()]
    listed = {row["file"] for row in published}
    local = [each.as_dict() for path, each in here.items() if str(path) not in listed]
    text = [
        f"{row['name']:<14} {row['kind']:<9} {row['file'] or 'not fetched'}\n{'':14} {row['description']}"
        for row in published
    ]
    text += [f"{row['name']:<14} {row['shape']:<9} {row['file']}" for row in local]
    rows = [(row["name"], row["kind"], row["description"], row["file"] or "not fetched") for row in published]
    rows += [(row["name"], row["shape"], "", row["file"]) for row in local]
    table = Table(("embedding", "kind", "description", "file"), tuple(rows))
    show({"published": published, "local": local}, "\n".join(text), table)


@command.command("show", cls=Command)
@click.argument("embedding")
@mirror_option
@proxy_option
@folder_option
def show_(embedding: str, mirror: str | None, folders: tuple[Path, ...]) -> None:
    """Show an embedding: shape, norm, how it was made, and its cosine to every other that can be found.

    EMBEDDING is a file, a run or its folder, or a published name.

    \b
    Example:
        visunex-data embeddings show runs/default/embedding.pt
        visunex-data embeddings show fantasy --mirror ../shared/reference
    """
    from visunex.aesthetic_embeddings import compare, find, findable
    from visunex.aesthetic_embeddings.space import space_of

    this = find(embedding, mirror)
    others = [each for each in findable(mirror, folders=folders) if each.path != this.path]
    space = space_of(this)
    alike = [
        each
        for each in others
        if each.dimension == this.dimension
        and not (space and (other := space_of(each)) and space.differs(other))
    ]
    cosines = sorted(((compare(this, each), each) for each in alike), key=lambda pair: -pair[0])
    report = {
        **this.as_dict(),
        "provenance": this.provenance,
        "published": _published_as(this),
        "cosines": [
            {"name": each.name, "file": str(each.path), "cosine": cosine} for cosine, each in cosines
        ],
    }
    show(report, "\n".join(_shown(report)))


@command.command("compare", cls=Command)
@click.argument("first")
@click.argument("second")
@mirror_option
@proxy_option
def compare_(first: str, second: str, mirror: str | None) -> None:
    """Print the cosine of two embeddings.

    \b
    Example:
        visunex-data embeddings compare runs/default fantasy
    """
    from visunex.aesthetic_embeddings import compare, find

    a, b = find(first, mirror), find(second, mirror)
    cosine = compare(a, b)
    show({"first": a.as_dict(), "second": b.as_dict(), "cosine": cosine}, f"{cosine:.6f}")


@command.command("mix", cls=Command)
@click.argument("parts", nargs=-1, required=True, metavar="EMBEDDING[=WEIGHT]...")
@click.option("--out", required=True, type=Output(), metavar="FILE.pt", help="Write it here.")
@click.option("--overwrite", is_flag=True, help="Replace a file at --out that VisuNex did not write.")
@mirror_option
@proxy_option
def mix_(parts: tuple[str, ...], out: Path, overwrite: bool, mirror: str | None) -> None:
    """Mix embeddings by weight into a new one; a negative weight leads away.

    \b
    Example:
        visunex-data embeddings mix fantasy=0.7 runs/default=0.3 --out mixed.pt
    """
    from visunex.aesthetic_embeddings import find, save_mix
    from visunex.base.errors import UsageError

    if out.suffix != ".pt" or out.is_dir():
        raise UsageError(f"--out names the file of the embedding, NAME.pt; {out} is none")
    named = [_weighted(part) for part in parts]
    made = save_mix(out, [(find(name, mirror), weight) for name, weight in named], overwrite=overwrite)
    show(
        {**made.as_dict(), "mixed_from": (made.provenance or {}).get("mixed_from")},
        f"{out}: 1x{made.dimension} from {len(named)} embeddings",
    )


@command.command("fetch", cls=Command)
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--all", "everything", is_flag=True, help="Fetch all eight.")
@mirror_option
@proxy_option
def fetch_(names: tuple[str, ...], everything: bool, mirror: str | None) -> None:
    """Fetch published embeddings into the cache, each checked by its SHA-256.

    \b
    Example:
        visunex-data embeddings fetch fantasy
        visunex-data embeddings fetch --all --mirror ../shared/reference
    """
    from visunex.aesthetic_embeddings import catalogue, fetch
    from visunex.base.errors import UsageError

    wanted = list(catalogue()) if everything else list(names)
    if not wanted:
        raise UsageError(f"name what to fetch, or --all: {', '.join(catalogue())}")
    fetched = [fetch(name, mirror) for name in wanted]
    show(
        {"fetched": [each.as_dict() for each in fetched]},
        "\n".join(f"{each.name:<14} {each.path}" for each in fetched),
    )


def _published(entry: Any, here: dict[Path | None, "Embedding"]) -> dict[str, Any]:
    file = next((path for path, each in here.items() if each.name == entry.name and _is(each, entry)), None)
    return {
        "name": entry.name,
        "kind": entry.kind,
        "description": entry.description,
        "url": entry.url,
        "file": None if file is None else str(file),
    }


def _is(embedding: "Embedding", entry: Any) -> bool:
    from visunex.base.files import sha256_file

    return embedding.path is not None and sha256_file(embedding.path) == entry.sha256


def _published_as(embedding: "Embedding") -> str | None:
    """The published embedding that this file is, whatever it is called."""
    from visunex.aesthetic_embeddings import catalogue

    return next((entry.name for entry in catalogue().values() if _is(embedding, entry)), None)


def _shown(report: dict[str, Any]) -> list[str]:
    lines = [f"{report['file']}", f"  {report['shape']} {report['dtype']}, norm {report['norm']:.4f}"]
    if report["published"]:
        lines.append(f"  the published {report['published']}")
    lines += _story(report["provenance"])
    lines += [f"  {row['cosine']:+.4f}  {row['name']}" for row in report["cosines"]]
    return lines


def _story(provenance: dict[str, Any] | None) -> list[str]:
    """The provenance of a file that anyone may have written, in a few lines."""
    if provenance is None:
        return ["  no provenance beside it"]
    keys = ("recipe", "source", "pictures", "reduction", "baseline", "images", "mixed_from")
    lines = [
        f"  {key.replace('_', ' ')}: {_plain(provenance[key])}"
        for key in keys
        if provenance.get(key) not in (None, [], {})
    ]
    curated = provenance.get("curated")
    if isinstance(curated, dict):
        lines.append(
            f"  curated: dropped {_plain(curated.get('dropped'))} of the pictures of {curated.get('run')}"
        )
    model = provenance.get("model")
    if isinstance(model, dict):
        said = [str(model[key]) for key in ("name", "pretrained", "precision") if model.get(key)]
        lines += [f"  model: {' '.join(said)}"] if said else []
    return lines


def _plain(value: Any) -> str:
    """A value of JSON as a person writes it: `used 3, failed 0`, `fantasy (weight 2), mine (weight 1)`."""
    if isinstance(value, dict) and "name" in value and "weight" in value:
        return f"{_plain(value['name'])} (weight {_plain(value['weight'])})"
    if isinstance(value, dict):
        return ", ".join(f"{key.replace('_', ' ')} {_inner(each)}" for key, each in value.items()) or "none"
    if isinstance(value, list):
        return ", ".join(map(_plain, value)) or "none"
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "none"}[value]
    return f"{value:g}" if isinstance(value, float) else str(value)


def _inner(value: Any) -> str:
    return f"({_plain(value)})" if isinstance(value, dict) and value else _plain(value)


def _weighted(part: str) -> tuple[str, float]:
    from visunex.base.errors import UsageError

    name, equals, weight = part.rpartition("=")
    if not equals:
        return part, 1.0
    try:
        return name, float(weight)
    except ValueError:
        raise UsageError(f"{part!r} is not of the form EMBEDDING=WEIGHT, such as fantasy=0.7") from None
