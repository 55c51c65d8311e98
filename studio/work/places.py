"""Where the studio keeps what it makes, and what a person may call it."""

import re
from dataclasses import dataclass
from pathlib import Path

from visunex.base.errors import UsageError
from visunex.base.folders import RUNS

__all__ = ["Places", "free_name"]

_NAME = re.compile(r"\w[\w .-]{0,62}")


@dataclass(frozen=True)
class Places:
    """The folders of saved tastes, of drawn pictures, of votes, and of files for other programs.

    Runs are where the commands have them.
    """

    tastes: Path = Path("tastes")
    outputs: Path = Path("outputs")
    votes: Path = Path("votes")
    exports: Path = Path("exports")

    def new_taste(self, name: str) -> Path:
        """The file of a taste that is not there yet. Raises UsageError for a name that is taken or none."""
        path = self.tastes / f"{free_name(_bare(name))}.pt"
        if path.exists():
            raise UsageError(f"{path} is there already: choose another name")
        return path

    def new_run(self, name: str) -> Path:
        """The folder of a run that is not there yet. Raises UsageError for a name that is taken or none."""
        path = RUNS / free_name(name)
        if path.exists():
            raise UsageError(f"{path} is there already: choose another name")
        return path


def _bare(name: str) -> str:
    return name.strip().removesuffix(".pt")


def free_name(name: str) -> str:
    """A name that a person gave, as a file may be called. Raises UsageError for one that it may not."""
    name = name.strip()
    if not _NAME.fullmatch(name) or name.endswith("."):
        raise UsageError(
            f"{name!r} is no name: give letters, digits, blanks, dots, hyphens or underscores, at most 63"
            if name
            else "give it a name"
        )
    return name
