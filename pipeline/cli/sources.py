"""`visunex-data sources`."""

from pathlib import Path

import click

from visunex.base.console import Command, show


@click.group("sources")
def command() -> None:
    """List and show the data sets known by name; convert metadata to parquet."""


@command.command("list", cls=Command)
def list_() -> None:
    """Name the data sets that are known.

    \b
    Example:
        visunex-data sources list
    """
    from ..metadata.resolve import catalogue

    known = catalogue()
    width = max(map(len, known))
    lines = [f"{name:<{width}}  {each.predictor or '-':<6}  {each.about}" for name, each in known.items()]
    report = {
        name: {"about": each.about, "predictor": each.predictor, "rows": each.rows}
        for name, each in known.items()
    }
    show(report, "\n".join(lines))


@command.command("show", cls=Command)
@click.argument("name")
def show_(name: str) -> None:
    """Say what is known of a data set: where it lies, its columns, and how that is known.

    \b
    Example:
        visunex-data sources show improved_aesthetics_6.5plus
    """
    from dataclasses import asdict

    from ..errors import UsageError
    from ..metadata.resolve import catalogue

    known = catalogue().get(name)
    if known is None:
        raise UsageError(f"no data set is known as {name!r}; there are {', '.join(catalogue())}")
    rows = "not verified" if known.rows is None else f"{known.rows:,}"
    scores = f"scores of {known.predictor}" if known.predictor else "no scores"
    lines = [known.about, f"  {rows} rows, {scores}"]
    lines += [f"  {address}" for address in known.addresses]
    lines += [f"  {note}" for note in (known.note, f"known from: {known.checked}") if note]
    width = max(map(len, known.columns), default=0)
    lines += [f"    {column:<{width}}  {kind}" for column, kind in known.columns.items()]
    show({**asdict(known), "columns": dict(known.columns)}, "\n".join(lines))


@command.command("convert", cls=Command)
@click.argument("source", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.argument("target", type=click.Path(path_type=Path, dir_okay=False))
def convert(source: Path, target: Path) -> None:
    """Write metadata of another format as parquet: SAC's database, SQLite, CSV, JSON lines, Arrow.

    \b
    Examples:
        visunex-data sources convert sac.sqlite sac.parquet
        visunex-data sources convert links.csv.gz links.parquet
    """
    from ..metadata.formats.to_parquet import convert_to

    rows = convert_to(source, target)
    show({"rows": rows, "written": str(target)}, f"{target}: {rows:,} rows")
