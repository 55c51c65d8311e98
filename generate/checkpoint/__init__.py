"""Single-file checkpoints of any layout: their weights, read without running what is in the file.

And what files and folders hold, by configurations and headers, each number of which has its bounds.

Which layout it is, and what its names mean, the families know. Reads one file, writes none. May import
`errors` and `base`.
"""

from typing import TYPE_CHECKING

from visunex.base.lazy import public

if TYPE_CHECKING:
    from .reader import read_weights as read_weights

__all__ = ["read_weights"]
__getattr__, __dir__ = public(__name__, {"read_weights": "reader"})
