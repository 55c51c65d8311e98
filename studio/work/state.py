"""What one studio holds for all its pages: its folders, opened desks, and the model that is offered first."""

from dataclasses import dataclass, field

from visunex.base.hub_cache import DEFAULT_MODEL, DEFAULT_MODEL_FILES, look
from visunex.demo import TINY_MODEL

from .drawing import Artist
from .places import Places
from .registry import Desks

__all__ = ["Studio", "first_model"]


@dataclass(frozen=True)
class Studio:
    """One studio. `model` draws where no other is named."""

    places: Places = field(default_factory=Places)
    model: str = TINY_MODEL
    desks: Desks = field(default_factory=Desks)
    artist: Artist = field(default_factory=Artist)


def first_model() -> str:
    """The model to offer: Stable Diffusion 1.5 where all of it is on this machine, else the tiny one."""
    found = look(DEFAULT_MODEL, DEFAULT_MODEL_FILES)
    return TINY_MODEL if found.missing or found.damaged else DEFAULT_MODEL
