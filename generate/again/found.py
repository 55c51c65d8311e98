"""What an image's text came to: options to make it again, and in what the new image will differ."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..output.png_text import ImageRecord

__all__ = ["Again"]


@dataclass(frozen=True, kw_only=True)
class Again:
    """How an image is made again.

    - `program`: whose text it is
    - `options`: values by the names that `Options` has for them, as the text has them: not yet checked
    - `differs`: what of the text is not done here, for a person
    - `record`: ours; None for another program's
    - `model`, `model_hash`: what another program calls its model; nothing is loaded by it
    """

    program: str
    options: dict[str, Any]
    differs: tuple[str, ...] = ()
    record: ImageRecord | None = None
    model: str = ""
    model_hash: str = ""

    def seed_alone(self) -> dict[str, Any]:
        """The seed that the image has by itself, where it is ours, as an option."""
        return {"seed": self.record.seed} if self.record else {}

    def said(self, path: Path) -> str:
        """For a person: whose image it is, that it is made again only nearly, and what differs."""
        lines = [
            f"{path} was made with {self.program}: what it says is used, the picture will not be the same"
        ]
        if self.model or self.model_hash:
            name = " ".join(part for part in (self.model, self.model_hash and f"({self.model_hash})") if part)
            lines.append(f"its model is {name[:200]}: --model chooses which one is used here")
        return "\n".join([lines[0], *(f"- {line}" for line in (*lines[1:], *self.differs))])
