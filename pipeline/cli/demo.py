"""`visunex-data demo`."""

from pathlib import Path

import click

from visunex.base.console import Command, show


@click.command("demo", cls=Command)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    help="Port on this machine; 0: any.  [default: $VISUNEX_DEMO_PORT or 8767]",
)
@click.option(
    "--metadata",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the metadata to this parquet file.",
)
@click.option(
    "--seconds", type=click.FloatRange(min=0), help="Stop after so long; otherwise Ctrl-C stops it."
)
def command(port: int | None, metadata: Path | None, seconds: float | None) -> None:
    """Serve the drawn demo world that everything can be tried on.

    3000 drawn pictures behind links as they are on the real web: 15 % of them are dead. The metadata that
    lists them has the columns of improved_aesthetics_6.5plus. (`run demo_flower` serves the world itself.)

    \b
    Example, two terminals:
        visunex-data demo --metadata demo.parquet
        visunex-data filter demo.parquet --keywords flower --top 200 && visunex-data download --allow-private
    """
    import threading

    from visunex.base.files import write_bytes
    from visunex.demo.server import serve
    from visunex.demo.world import World, metadata_bytes

    with serve(port) as address:
        if metadata is not None:
            write_bytes(metadata, metadata_bytes(address))
        written = f", metadata in {metadata}" if metadata else ""
        show(
            {"address": address, "rows": World().rows, "metadata": str(metadata) if metadata else None},
            f"The demo world is at {address}{written}. Ctrl-C stops it.",
        )
        threading.Event().wait(seconds)
