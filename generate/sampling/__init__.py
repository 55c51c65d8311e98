"""From prompts, settings and noise to images: the loop, schedulers, noise and the safety checker.

Reads and writes no files. May import `prompts`, `families`, `steering`, `settings` and below.
"""

from typing import TYPE_CHECKING

from visunex.base.lazy import public

if TYPE_CHECKING:
    from .safety import load_checker as load_checker
    from .sampler import Batch as Batch
    from .sampler import Sampler as Sampler

__all__ = ["Batch", "Sampler", "load_checker"]
__getattr__, __dir__ = public(__name__, {"Batch": "sampler", "Sampler": "sampler", "load_checker": "safety"})
