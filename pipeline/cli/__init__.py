"""`visunex-data`: the command line of the pipeline."""

import importlib

import click

from visunex.base.console import Group, Program

# Command (also the name of its module, where _PLACES has no other) -> what `--help` says of it, so that no
# module is loaded to list them.
COMMANDS = {
    "filter": "Choose the rows of a data set's metadata by caption, score and size.",
    "download": "Fetch the chosen pictures as WebDataset shards.",
    "encode": "Turn pictures into CLIP vectors, and those into one aesthetic embedding.",
    "run": "Filter, download and encode, as a recipe says.",
    "show": "Make the page of a run, report.html, and open it; or a contact sheet of any pictures.",
    "rank": "Order pictures by how near they lie to an embedding, whoever made them.",
    "pictures": "Take the chosen pictures out of a run: as a folder, WebDataset or parquet.",
    "curate": "Make a run's embedding anew without some of its pictures.",
    "sources": "List and show the data sets known by name; convert metadata to parquet.",
    "recipes": "List, show, check and copy recipes.",
    "score": "Score pictures by published aesthetic predictors, from their CLIP ViT-L/14 vectors.",
    "embeddings": "List, show, compare, mix and fetch aesthetic embeddings.",
    "doctor": "Look over this machine: what works, what is missing, what to do.",
    "demo": "Serve the drawn demo world that everything can be tried on.",
}
_PLACES = {
    "show": ("looking.show", "command"),
    "rank": ("looking.rank", "command"),
    "pictures": ("looking.curate", "take_out_command"),
    "curate": ("looking.curate", "command"),
    "score": ("looking.score", "command"),
}  # of commands whose module is not called as they are, and what each is there


class Commands(Program, Group):
    """The commands in the order in which a person uses them, each loaded when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, in working order rather than in that of the alphabet."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """The command called `name`: the attribute `command` of its module, or as _PLACES has it."""
        if name not in COMMANDS:
            return None
        place, attribute = _PLACES.get(name, (name, "command"))
        found: click.Command = getattr(importlib.import_module(f".{place}", __package__), attribute)
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of commands for `--help`."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.command(
    cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(package_name="visunex")
def main() -> None:
    """From a question put to an image data set to one aesthetic embedding.

    \b
    Example, the 2000 best pictures of gardens, in three steps or in one:
        visunex-data filter --keywords flower,garden --top 2000
        visunex-data download
        visunex-data encode
        visunex-data run flower_plant
    """
