"""What tests of evaluations share: two prompts, options under which these are drawn in a second."""

from pathlib import Path
from typing import Any, NamedTuple

PROMPTS = ("a castle at night", "a ship by day")
OPTIONS = ("--model", "visunex-tiny", "--ddim_steps", 6, "--seeds", 2, "--device", "cpu")


class Done(NamedTuple):
    """An evaluation: its folder, the command that steers, the one of every method, and that one's rows."""

    folder: Path
    words: list[str]
    every: list[str]
    rows: list[dict[str, Any]]

    def of(self, setting: str) -> list[dict[str, Any]]:
        """The rows of a setting."""
        return [row for row in self.rows if row["setting"] == setting]


def asked(run: Path, prompts: Path) -> list[object]:
    """A command that steers ten steps towards a run's taste."""
    return [*OPTIONS, "--prompts", prompts, "--aesthetic_embedding", run, "--aesthetic_steps", "0,10"]
