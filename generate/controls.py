"""Which tastes prompts are moved towards, how far, and what of it conditions an image; without torch."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from math import inf
from typing import Any, Literal

from visunex.base.errors import UsageError, described, require_number

from .taste import Taste

__all__ = [
    "CONTROLS",
    "MOST_STEPS",
    "Climb",
    "Controls",
    "ControlsError",
    "Method",
    "Steering",
    "Towards",
    "pairs_of",
]

# How a taste gets into a picture: by steps of the text encoders, in the place of SDXL's pooled vector, or as
# the image's vector that an IP-Adapter takes.
Method = Literal["steer", "pooled", "ip-adapter"]

# Fields of `Controls`, and the command's options and keys of a PNG that they are.
CONTROLS = {
    "until": "aesthetic_until",
    "blend": "aesthetic_weight",
    "slerp": "aesthetic_slerp",
    "text": "aesthetic_text",
    "text_negative": "aesthetic_text_negative",
    "text_angle": "aesthetic_text_angle",
    "begin": "aesthetic_from",
    "end": "aesthetic_to",
}
MOST_STEPS = 200  # towards a cosine that is to be reached, which may lie out of reach
_UNTIL = re.compile(r"[+]?\d*[.]?\d+([eE]-?\d+)?|-\d*[.]?\d+")
_SHARE = "a number from 0 to 1"
# Fields of `Controls` that are numbers, with what they take.
_NUMBERS = {
    "blend": "a number from 0 (the plain conditioning) to 1 (the moved one)",
    "text_angle": "a number from 0 (the taste) to 1 (the text)",
    "begin": _SHARE,
    "end": _SHARE,
}


class ControlsError(UsageError, ValueError):
    """A control or a taste's weight of another type, or that nothing could be steered with."""


@dataclass(frozen=True, kw_only=True)
class Controls:
    """How far prompts are moved towards their tastes, and what of it conditions an image.

    - `until`: steps end once the cosine is as high as this (`0.35`), or has risen by as much (`+0.1`); it
      takes the place of a number of steps, at most 200 are taken
    - `blend`: of the moved conditioning (1) with the plain one (0); what the web UI calls the weight
    - `slerp`: blend along the arc between a token's two states, not along the line
    - `text`: turns the taste towards what a text says, or with `text_negative` away from it, by the share
      `text_angle` of the angle between the two
    - `begin`, `end`: the share of the sampling in which the moved conditioning is used; else the plain one

    Raises ControlsError, a ValueError, that names the field.
    """

    until: float | str | None = None
    blend: float = 1.0
    slerp: bool = False
    text: str = ""
    text_negative: bool = False
    text_angle: float = 0.1
    begin: float = 0.0
    end: float = 1.0

    def __post_init__(self) -> None:
        for name, wanted in _NUMBERS.items():
            object.__setattr__(self, name, _share(name, getattr(self, name), wanted))
        if self.begin > self.end:
            raise ControlsError(f"begin {self.begin:g} is behind end {self.end:g}: give a smaller begin")
        if not isinstance(self.text, str):
            raise ControlsError(f"text is {described(self.text)}: give a text")
        for name in ("slerp", "text_negative"):
            if not isinstance(getattr(self, name), bool):
                raise ControlsError(f"{name} is {described(getattr(self, name))}: give True or False")
        object.__setattr__(self, "until", _until(self.until))

    def enough(self, cosine: float, first: float) -> bool:
        """Whether a cosine that began as `first` is high enough for no further step."""
        return cosine >= self.goal(first)

    def goal(self, first: float) -> float:
        """The cosine that ends the steps, where the first was `first`; infinite where their number does."""
        if self.until is None:
            return inf
        return first + float(self.until) if str(self.until).startswith("+") else float(self.until)

    @property
    def idle(self) -> bool:
        """Whether nothing of the moved conditioning would be used."""
        return self.blend == 0 or self.begin == self.end

    @property
    def share(self) -> tuple[float, float]:
        """The share of the sampling in which the moved conditioning is used, from and to."""
        return self.begin, self.end

    @property
    def whole(self) -> bool:
        """Whether the same conditioning is used for the whole sampling."""
        return self.share == (0, 1)


def _share(name: str, value: Any, wanted: str) -> float:
    try:
        require_number(value, name, wanted)
    except UsageError as error:
        raise ControlsError(str(error)) from None
    if not 0 <= value <= 1:
        raise ControlsError(f"{name} is {value:g}: give {wanted}")
    return float(value)


def _until(value: Any) -> str | None:
    """`0.35` or `+0.1`, as text. Raises ControlsError."""
    wanted = "a cosine such as 0.35, or how far it shall rise, as '+0.1'"
    text = value.strip() if isinstance(value, str) else value
    if text is None:
        return None
    if isinstance(text, int | float) and not isinstance(text, bool):
        text = f"{text:g}"
    if not isinstance(text, str) or not _UNTIL.fullmatch(text) or not -1 <= float(text) <= 1:
        raise ControlsError(f"until is {described(value)}: give {wanted}")
    return text


@dataclass(frozen=True)
class Climb:
    """How one encoder was moved for one prompt: the steps taken, and the cosine before and after them."""

    part: str
    steps: int
    first: float
    last: float


# What prompts are moved towards: a taste, several that count alike, or each in a pair with what it counts.
Towards = Taste | Sequence[Taste | tuple[Taste, float]]


@dataclass(frozen=True, eq=False)
class Steering:
    """Tastes, each with its weight, and the controls: all that decides how a prompt is moved.

    What is climbed is the sum of the cosines to the tastes, each times its weight: of two weights only the
    ratio counts, and a taste of a negative one is moved away from. Steps and their rate are the first
    taste's. `method` is by steps of the text encoders; `pooled` and `ip-adapter` take no steps, but one taste
    as an image's vector, which counts by the controls' `blend`. Raises ControlsError for no taste, and
    weights that are none.
    """

    tastes: tuple[tuple[Taste, float], ...]
    controls: Controls = field(default_factory=Controls)
    method: Method = "steer"

    def __post_init__(self) -> None:
        object.__setattr__(self, "tastes", tuple(pairs_of(self.tastes)))
        if not self.tastes:
            raise ControlsError("there is no taste to steer towards: give one, or None")
        if self.method != "steer" and [weight for _, weight in self.tastes] != [1]:
            raise ControlsError(
                f"method {self.method} takes one taste: mix several with `visunex-data embeddings mix`, and "
                "weigh it by the weight of the whole"
            )

    @classmethod
    def of(cls, given: "Steering | Towards | None") -> "Steering | None":
        """Whatever says where prompts are moved, as one; None for None."""
        if given is None or isinstance(given, Steering):
            return given
        return cls(((given, 1.0),) if isinstance(given, Taste) else tuple(pairs_of(given)))

    @property
    def taste(self) -> Taste:
        """The first taste."""
        return self.tastes[0][0]

    @property
    def steps(self) -> int:
        """Steps towards the tastes, or their largest number where a cosine ends them."""
        return self.taste.steps if self.controls.until is None else MOST_STEPS

    @property
    def idle(self) -> bool:
        """Whether prompts are left as they are."""
        return (self.method == "steer" and not self.steps) or self.controls.idle

    @property
    def key(self) -> tuple[object, ...]:
        """What tells its conditioning from another's of the same prompt."""
        each = tuple((taste.digest, taste.steps, taste.lr, weight) for taste, weight in self.tastes)
        return (self.method, each, replace(self.controls, begin=0.0, end=1.0))


def pairs_of(given: Any) -> Iterator[tuple[Taste, float]]:
    """Tastes with their weights, of a sequence of tastes and such pairs. Raises ControlsError."""
    wanted = "tastes, or pairs of a taste and its weight"
    if isinstance(given, str | bytes) or not isinstance(given, Sequence):
        raise ControlsError(f"taste is {described(given)}: give {wanted}")
    for each in given:
        taste, weight = each if isinstance(each, tuple) and len(each) == 2 else (each, 1.0)
        if not isinstance(taste, Taste):
            raise ControlsError(f"taste is {described(taste)}: give {wanted}")
        yield taste, weight_of(weight)


def weight_of(given: Any) -> float:
    """A taste's weight. Raises ControlsError for what is no finite number, or 0."""
    wanted = "a number such as 0.5, or -0.3 to move away"
    try:
        require_number(given, "weight", wanted)
    except UsageError as error:
        raise ControlsError(str(error)) from None
    if not 0 < abs(given) < inf:
        raise ControlsError(f"weight is {given:g}: give {wanted}")
    return float(given)
