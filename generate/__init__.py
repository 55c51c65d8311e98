"""`visunex-generate`: a prompt and an aesthetic embedding become pictures.

sampler = Sampler.load("visunex-tiny")
taste = Taste("gardens", embedding, steps=10)
for batch in sampler.sample("a castle at night", Settings(samples=4, seed=332), taste):
    batch.images[0].show()
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .prompts import Taste
    from .sampling.sampler import Batch, Sampler, Settings
    from .steering.steer import personalise

__all__ = ["Batch", "Sampler", "Settings", "Taste", "personalise"]

_HOMES = {
    "Batch": "sampling.sampler",
    "Sampler": "sampling.sampler",
    "Settings": "sampling.sampler",
    "Taste": "prompts",
    "personalise": "steering.steer",
}


def __getattr__(name: str) -> Any:
    """Load torch only for those who ask for what needs it: the command line must start at once."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
