"""`visunex-data sources`."""

from pathlib import Path

import click

from visunex.base.console import Command, Group, Output, Table, show


@click.group("sources", cls=Group)
def command() -> None:
    """List and show the data sets known by name; convert metadata to parquet."""


@command.command("list", cls=Command)
def list_() -> None:
    """Name the data sets that are known: scores, pictures, vectors, licence; an asterisk: gated.

    \b
    Example:
        visunex-data sources list
    """
    from ..metadata.catalog.entries import data_sets
    from ..metadata.catalog.page import COLUMNS, as_json, row

    sets = data_sets()
    rows = tuple(map(row, sets.values()))
    widths = [max(len(each[place]) for each in (COLUMNS, *rows)) for place in range(len(COLUMNS) - 1)]
    lines = ["  ".join([*map(str.ljust, each[:-1], widths), each[-1]]).rstrip() for each in (COLUMNS, *rows)]
    show(
        {name: as_json(each) for name, each in sets.items()},
        "\n".join(lines),
        Table(COLUMNS, rows, spare=True, named=True),
    )


@command.command("show", cls=Command)
@click.argument("name")
def show_(name: str) -> None:
    """Say what is known of a data set: where it lies, its columns, licence, and how that is known.

    \b
    Example:
        visunex-data sources show improved_aesthetics_6.5plus
    """
    from ..errors import UsageError
    from ..metadata.catalog.entries import data_sets
    from ..metadata.catalog.page import as_json, facts

    found = data_sets().get(name)
    if found is None:
        raise UsageError(f"no data set is known as {name!r}; there are {', '.join(data_sets())}")
    lines = [found.about, *(f"  {what}: {value}" for what, value in facts(found) if value)]
    width = max(map(len, found.columns), default=0)
    lines += [f"    {column:<{width}}  {kind}" for column, kind in found.columns.items()]
    show(as_json(found), "\n".join(lines))


@command.command("convert", cls=Command)
@click.argument("source", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.argument("target", type=Output())
@click.option(
    "--column-names", metavar="NAMES", help="The columns' names, in order, of a file without a header."
)
def convert(source: Path, target: Path, column_names: str | None) -> None:
    """Write metadata of another format as parquet: SAC's database, SQLite, CSV, JSON, Arrow.

    Links and captions stay text, whatever they look like; rows that cannot be read are counted.

    \b
    Examples:
        visunex-data sources convert sac.sqlite sac.parquet
        visunex-data sources convert links.csv.gz links.parquet
    """
    from visunex.recipes import split_keywords

    from ..metadata.formats.reader_process import convert_to
    from ..metadata.formats.records import Reading

    tally = convert_to(
        source, target, Reading(names=tuple(split_keywords(column_names) if column_names else ()))
    )
    said = [f"{count:,} rows {reason}" for reason, count in tally.dropped.items()] + tally.remarks
    report = {"rows": tally.read, "dropped": dict(tally.dropped), "remarks": tally.remarks}
    show({**report, "written": str(target)}, "\n  ".join([f"{target}: {tally.read:,} rows", *said]))
