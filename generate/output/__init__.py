"""Images on disk: numbered files, what they say of themselves, and grids of them.

Writes `samples/00000.png` and `grid-0000.png` and on, and reads the text of PNGs. May import `errors`,
`settings`, `syntax` and `base`.
"""

from typing import TYPE_CHECKING

from visunex.base.lazy import public

if TYPE_CHECKING:
    from .files import Writer as Writer
    from .grid import labelled_grid as labelled_grid
    from .grid import tile as tile
    from .png_text import ImageRecord as ImageRecord
    from .png_text import read_record as read_record

__all__ = ["ImageRecord", "Writer", "labelled_grid", "read_record", "tile"]
__getattr__, __dir__ = public(
    __name__,
    {
        "ImageRecord": "png_text",
        "Writer": "files",
        "labelled_grid": "grid",
        "read_record": "png_text",
        "tile": "grid",
    },
)
