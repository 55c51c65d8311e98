"""CLIP image and text encoders: a model's name becomes something that turns images or texts into vectors.

Reads weights (this machine's, or the Hub's) and image files; writes nothing but the Hub's own cache. May
import `demo` (the tiny model), `images`, `net` and `base`.
"""

from typing import TYPE_CHECKING

from visunex.base.lazy import public

if TYPE_CHECKING:
    from .errors import ModelError as ModelError
    from .factory import load_image_encoder as load_image_encoder
    from .factory import load_text_encoder as load_text_encoder
    from .image_encoder import ImageEncoder as ImageEncoder
    from .preprocess import Preprocessing as Preprocessing
    from .text_encoder import TextEncoder as TextEncoder

__all__ = [
    "ImageEncoder",
    "ModelError",
    "Preprocessing",
    "TextEncoder",
    "load_image_encoder",
    "load_text_encoder",
]

__getattr__, __dir__ = public(
    __name__,
    {
        "ImageEncoder": "image_encoder",
        "ModelError": "errors",
        "Preprocessing": "preprocess",
        "TextEncoder": "text_encoder",
        "load_image_encoder": "factory",
        "load_text_encoder": "factory",
    },
)
