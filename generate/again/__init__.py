"""An image's text -> the options that make it again: ours, and what other programs write.

Reads PNG, JPEG, WebP and AVIF files, and keeps which models were named on this machine. A text may be a
stranger's: its values are checked as options are, what they cost is bounded, and nothing is loaded because an
image names it. May import `output`, `sampling`, `settings`, `syntax`, `taste` and below.
"""

from typing import TYPE_CHECKING

from visunex.base.lazy import public

if TYPE_CHECKING:
    from .found import Again as Again
    from .read import read as read

__all__ = ["Again", "read"]
__getattr__, __dir__ = public(__name__, {"Again": "found", "read": "read"})
