"""An image encoder in one text: `ViT-H-14:laion2b_s32b_b79k`, `local-dir:PATH` or `visunex-tiny`."""

import re
from dataclasses import dataclass

from visunex.base.files import fingerprint

__all__ = ["DEFAULT_WEIGHTS", "OtherEncoder", "parse_encoder"]

DEFAULT_WEIGHTS = "openai"
_LOCAL = "local-dir:"
_LONGEST = 80  # letters of a file's name


@dataclass(frozen=True)
class OtherEncoder:
    """An encoder beside the recipe's own: its model, which weights of it, and `space`, what files call it."""

    model: str
    pretrained: str
    space: str

    @property
    def identity(self) -> tuple[str, str]:
        """Model and weights; a folder brings its own."""
        return self.model, "" if self.model.startswith(_LOCAL) else self.pretrained


def parse_encoder(text: str) -> OtherEncoder:
    """The encoder that a text names. Raises ValueError.

    Its `space` is the text where that may stand in a file's name; of paths the last part and a hash.
    """
    folder = text.startswith(_LOCAL)
    model, _, weights = (text, "", "") if folder else text.partition(":")
    if not model.removeprefix(_LOCAL) or (":" in text and not folder and not weights):
        raise ValueError(f"{text!r} is no MODEL:WEIGHTS, such as ViT-H-14:laion2b_s32b_b79k")
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", text.rstrip("/").rpartition("/")[2]).strip("-.")[-_LONGEST:]
    is_path = "/" in text or "\\" in text
    space = f"{plain}-{fingerprint(text)[:8]}" if is_path or not plain else plain
    return OtherEncoder(model, weights or DEFAULT_WEIGHTS, space)
