"""A download whose server is gone in the middle: every picture must be had, with no option.

`python benchmarks/outage.py --links 20000 --gone 6 --gone 60` prints what became of the links each time.
"""

import sys
import tempfile
import threading
import time
from pathlib import Path

import click

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

import downloads
import vanishing

from visunex.pipeline.download.stage import download


def go_and_come(server: vanishing.VanishingServer, after: int, seconds: float) -> None:
    """Have the server go once it has served so many pictures, and come back after so many seconds."""
    while server.served < after:
        time.sleep(0.01)
    server.go()
    time.sleep(seconds)
    server.come()


@click.command()
@click.option("--links", default=20_000, help="Links in all.")
@click.option("--gone", multiple=True, default=(6.0,), type=float, help="Seconds without the server; repeat.")
@click.option("--processes", default=2, help="Worker processes.")
def main(links: int, gone: tuple[float, ...], processes: int) -> None:
    """Download from a server on the loopback that is gone for a while."""
    for seconds in gone:
        with vanishing.vanishing() as server, tempfile.TemporaryDirectory() as folder:
            urls = [f"{server.base}/{number}.jpg" for number in range(links)]
            run, recipe = downloads.ready_run(
                Path(folder) / "run", urls, links, shard_size=1000, processes=processes, deadline=30.0
            )
            arguments = (server, links // 3, seconds)
            threading.Thread(target=go_and_come, args=arguments, daemon=True).start()
            report = download(run, recipe)
        click.echo(f"gone for {seconds:g} s: {report.status_counts} in {report.seconds:.0f} s")


if __name__ == "__main__":
    main()
