"""CLIP's encoders as the studio asks for them: each loaded once, and nothing large fetched unasked."""

import threading
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from visunex.clip.errors import ModelError
from visunex.clip.pretrained import LOCAL_FOLDER, cached
from visunex.demo import TINY_MODEL

if TYPE_CHECKING:
    from visunex.clip.image_encoder import ImageEncoder
    from visunex.clip.text_encoder import TextEncoder

__all__ = ["image_encoder", "is_here", "text_encoder_if_here"]

_LOADING = threading.Lock()


def is_here(model: str, pretrained: str = "openai") -> bool:
    """Whether a CLIP's weights are on this machine, so that it can be loaded without fetching GBs."""
    if model == TINY_MODEL or model.startswith(LOCAL_FOLDER) or Path(pretrained).is_file():
        return True
    import open_clip

    if not (settings := open_clip.get_pretrained_cfg(model, pretrained)):
        return False
    return bool(settings.get("hf_hub")) and cached(model, pretrained)[1] is not None


def image_encoder(model: str, pretrained: str = "openai") -> "ImageEncoder":
    """A CLIP's image encoder; its weights are fetched where they are not here. Raises ModelError."""
    with _LOADING:
        return _image_encoder(model, pretrained)


def text_encoder_if_here(model: str, pretrained: str = "openai") -> "TextEncoder | None":
    """A CLIP's text encoder; None where that is not on this machine, or has none."""
    with _LOADING:
        return _text_encoder(model, pretrained) if is_here(model, pretrained) else None


@cache
def _image_encoder(model: str, pretrained: str) -> "ImageEncoder":
    from visunex.clip import load_image_encoder

    return load_image_encoder(model, pretrained)


@cache
def _text_encoder(model: str, pretrained: str) -> "TextEncoder | None":
    from visunex.clip import load_text_encoder

    try:
        return load_text_encoder(model, pretrained)
    except ModelError:
        return None
