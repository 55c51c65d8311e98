"""`visunex-data download`."""

import click

from visunex.base.console import Command, proxy_option, show

from ..rundir import RunDir
from .options import engine_options, overrides, overwrite_option, run_option, section_options, set_option


@click.command("download", cls=Command)
@run_option
@overwrite_option
@engine_options
@proxy_option
@click.option(
    "--retry-failed", is_flag=True, help="Try again whatever failed, not only failures of the moment."
)
@section_options("download")
@set_option
def command(run: RunDir, overwrite: bool, retry_failed: bool, settings: tuple[str, ...], **_: object) -> None:
    """Fetch the chosen pictures as WebDataset shards.

    Candidates of the filter stage are tried best first until as many pictures are had as were asked for.
    Running again goes on where it stopped. Exit status 1 when there are fewer pictures than --min-images.

    \b
    Examples:
        visunex-data download
        visunex-data download --processes 4 --threads 64 --deadline 10 --contact me@example.org
        visunex-data download --retry-failed
    """
    from visunex.recipes import load, override

    from ..api import download_in
    from ..errors import DownloadError

    if not run.recipe.exists():
        raise DownloadError(
            f"there is no {run.recipe}: run `visunex-data filter` first, or choose another --run"
        )
    own = load(run.recipe)
    recipe = override(own, [*overrides(own), *settings])
    report = download_in(run, recipe, overwrite=overwrite, retry_failed=retry_failed)
    show(report.as_dict(), report.as_text())
