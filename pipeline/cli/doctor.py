"""`visunex-data doctor`."""

import click

from visunex.base.console import Command, Table, proxy_option, show

from ..rundir import RunDir
from .options import run_option


@click.command("doctor", cls=Command)
@run_option
@click.option("--online", is_flag=True, help="Also see whether the Hub can be reached (opens a connection).")
@proxy_option
def command(run: RunDir, online: bool) -> None:
    """Look over this machine: what works, what is missing, what to do.

    Of the weights of CLIP and of Stable Diffusion it says whether they are here and whole, and else what is
    fetched from where. Exit status 1 when something is missing or damaged without which a command fails.

    \b
    Example:
        visunex-data doctor --online
    """
    from ..doctor import as_rows, as_text, examine

    findings = list(examine(run.path, online=online))
    report = {"findings": [finding.as_dict() for finding in findings]}
    show(report, as_text(findings), Table(("", "what", "found"), as_rows(findings)))
    if any(finding.verdict == "fault" for finding in findings):
        click.get_current_context().exit(1)
