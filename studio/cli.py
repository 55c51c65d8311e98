"""`visunex-studio`: the command line of the studio."""

from pathlib import Path

import click

from visunex.base.console import Command, Program, proxy_option, show


class StudioProgram(Program, Command):
    """The one command of `visunex-studio`."""


def _folder(name: str, default: str, text: str) -> click.Option:
    return click.Option(
        [f"--{name}"],
        type=click.Path(path_type=Path, file_okay=False),
        default=default,
        show_default=True,
        help=text,
    )


@click.command(
    cls=StudioProgram, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="Where to listen. Anything else than this machine's own address lets others use the studio.",
)
@click.option(
    "--port", type=click.IntRange(0, 65535), help="The port; 0: any.  [default: the first free one from 7860]"
)
@click.option(
    "--model",
    help="The model to draw with first.  [default: Stable Diffusion 1.5 if it is here, else visunex-tiny]",
)
@click.option("--no-browser", is_flag=True, help="Only print the address.")
@proxy_option
@click.version_option(package_name="visunex")
def main(
    host: str,
    port: int | None,
    model: str | None,
    tastes: Path,
    outdir: Path,
    votes: Path,
    exports: Path,
    *,
    no_browser: bool,
) -> None:
    """A local page to see tastes, curate and mix them, draw with them, and vote.

    Runs are those in runs/ of the folder in which it is started. It asks nothing of the network, shows the
    page to this machine only, and ends with Ctrl-C. What it makes, the other commands make too: it shows
    their lines.

    \b
    Example:
        visunex-studio
        visunex-studio --port 8000 --no-browser
    """
    from .serve import address_of, bound, serve
    from .work.places import Places
    from .work.state import Studio, first_model

    _require_gradio()
    listening = bound(host, port)
    address = address_of(listening)
    studio = Studio(Places(tastes, outdir, votes, exports), model or first_model())
    show({"address": address}, f"VisuNex studio: {address}   (Ctrl-C ends it)")
    serve(studio, listening, started=lambda: None if no_browser else _open(address))


main.params += [
    _folder("tastes", "tastes", "Where tastes are saved."),
    _folder("outdir", "outputs", "Where drawn pictures go."),
    _folder("votes", "votes", "Where votes are kept."),
    _folder("exports", "exports", "Where files for other programs go."),
]


def _require_gradio() -> None:
    """Raise UsageError where the extra is not installed."""
    from importlib.util import find_spec

    from visunex.base.errors import UsageError

    if find_spec("gradio") is None:
        raise UsageError("the studio needs gradio: pip install 'visunex[studio]', or '.[studio]' in a clone")


def _open(address: str) -> None:
    import webbrowser

    webbrowser.open(address)


if __name__ == "__main__":
    main(prog_name="visunex-studio")
