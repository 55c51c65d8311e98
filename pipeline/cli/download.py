"""`visunex-data download`."""

import click

from visunex.base.console import Command, show

from ..rundir import RunDir
from .options import merge, overrides, overwrite_option, run_option, section_options, set_option


@click.command("download", cls=Command)
@run_option
@overwrite_option
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
    from visunex.base.files import write_text
    from visunex.recipes import dumps, load, override

    from ..download.stage import download
    from ..errors import DownloadError
    from ..report import reported

    if not run.recipe.exists():
        raise DownloadError(
            f"there is no {run.recipe}: run `visunex-data filter` first, or choose another --run"
        )
    recipe = override(merge(load(run.recipe), overrides()), settings)
    with run.locked(), reported(run):
        report = download(run, recipe, overwrite=overwrite, retry_failed=retry_failed)
        write_text(run.recipe, dumps(recipe))
    show(report.as_dict(), report.as_text())
