"""Aesthetic gradients: the text encoder moved a few steps towards a taste, for one prompt.

`steer.personalise` is the method, fast on a CPU; `reference.aesthetic_gradients` the same as the paper
writes it, which it must agree with, and `climb` its steps on the parameters of anyone's own copy. Works on
tensors alone: reads and writes no files. May import `errors` and `base`.
"""

from typing import TYPE_CHECKING

from visunex.base.lazy import public

if TYPE_CHECKING:
    from .reference import aesthetic_gradients as aesthetic_gradients
    from .reference import climb as climb
    from .steer import conditioning as conditioning
    from .steer import personalise as personalise

__all__ = ["aesthetic_gradients", "climb", "conditioning", "personalise"]
__getattr__, __dir__ = public(
    __name__,
    {
        "aesthetic_gradients": "reference",
        "climb": "reference",
        "conditioning": "steer",
        "personalise": "steer",
    },
)
