"""Is it an image, whole and of a sane size; its pixels as a person sees them, large and small; its hash.

For the download's check, the resize and the encoders alike. Reads bytes that nobody vouches for, writes
nothing. May import `base`.
"""

from typing import TYPE_CHECKING

from visunex.base.lazy import public

if TYPE_CHECKING:
    from .decode import open_rgb as open_rgb
    from .dhash import difference_hash as difference_hash
    from .errors import ImageError as ImageError
    from .resize import Resize as Resize
    from .resize import resize as resize
    from .thumbnails import sheet as sheet
    from .thumbnails import thumbnail as thumbnail
    from .validate import Header as Header
    from .validate import Limits as Limits
    from .validate import inspect as inspect

__all__ = [
    "Header",
    "ImageError",
    "Limits",
    "Resize",
    "difference_hash",
    "inspect",
    "open_rgb",
    "resize",
    "sheet",
    "thumbnail",
]

__getattr__, __dir__ = public(
    __name__,
    {
        "Header": "validate",
        "ImageError": "errors",
        "Limits": "validate",
        "Resize": "resize",
        "difference_hash": "dhash",
        "inspect": "validate",
        "open_rgb": "decode",
        "resize": "resize",
        "sheet": "thumbnails",
        "thumbnail": "thumbnails",
    },
)
