"""What is asked for, and the settings that are compared: each a method, how strong, of one taste."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from visunex.export.prompt_set import read
from visunex.generate import Settings
from visunex.generate.settings import DEFAULT_MODEL, Precision
from visunex.generate.taste import LR

from .errors import UsageError

__all__ = ["METHODS", "PAPER25", "PLAIN", "Method", "Request", "Setting", "prompts_of", "settings_of"]

Method = Literal["steer", "lora", "token", "prompt", "best-of"]
METHODS: tuple[Method, ...] = get_args(Method)
PLAIN = "plain"  # the method that does nothing
PAPER25 = "paper25"
MOST_PROMPTS = 2000


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is compared with what, how it is drawn, who judges, and where it is written.

    - `embeddings`: tastes by file, run or published name; `steps`, `best_of`: how strong, by method
    - `encoder`: whose vectors an embedding is of that does not say so, as `ViT-L-14:openai`
    - `votes`: a file of people's votes on drawn pictures, as visunex-studio keeps them
    - `also`: further encoders that judge; `judges`: judges by name; `scores`: predictors by name. None is
      what the demo world brings with visunex-tiny, and all predictors that fit an encoder
    """

    embeddings: tuple[str, ...]
    outdir: Path
    model: str = DEFAULT_MODEL
    variant: str | None = None
    steps: tuple[int, ...] = (0, 5, 10, 20)
    lr: float = LR
    methods: tuple[Method, ...] = ("steer",)
    best_of: tuple[int, ...] = (4,)
    prompts: str = PAPER25
    seeds: int = 4
    sampling: Settings = field(default_factory=Settings)
    encoder: str | None = None
    also: tuple[str, ...] | None = None
    judges: tuple[str, ...] | None = None
    scores: tuple[str, ...] | None = None
    votes: Path | None = None
    precision: Precision = "autocast"
    device: str = "auto"


@dataclass(frozen=True, order=True)
class Setting:
    """A method and how strong: steps for steer, lora and token, candidates for best-of; words have none.

    `embedding` is the label of the taste; nothing for plain pictures, which are those of every taste.
    """

    embedding: str
    method: str
    strength: int

    @property
    def name(self) -> str:
        """What a person reads."""
        return {
            PLAIN: "plain",
            "best-of": f"best of {self.strength}",
            "prompt": "words",
        }.get(self.method, f"{self.method} {self.strength}")


def settings_of(request: Request, labels: Sequence[str]) -> tuple[Setting, ...]:
    """The plain setting, then those of each taste. Raises UsageError where nothing would be compared."""
    found = [Setting("", PLAIN, 0)]
    for label in labels:
        for method in dict.fromkeys(request.methods):
            found += [Setting(label, method, each) for each in _strengths(request, method)]
    if len(found) < 2:
        raise UsageError("nothing is compared: give --aesthetic_steps above 0, such as 0,5,10,20")
    return tuple(dict.fromkeys(found))


def _strengths(request: Request, method: Method) -> list[int]:
    if method == "prompt":
        return [1]
    least, given = (2, request.best_of) if method == "best-of" else (1, request.steps)
    return sorted({each for each in given if each >= least})


def prompts_of(name: str) -> tuple[str, ...]:
    """The 25 that are shipped, or the lines of a file. Raises UsageError, ExportError."""
    shipped = name == PAPER25
    path = Path(__file__).with_name("paper25.txt") if shipped else Path(name)
    found = tuple(read(path))
    if not found:
        raise UsageError(f"{path} holds no prompt: write one a line")
    if len(found) > MOST_PROMPTS:
        raise UsageError(f"{path} holds {len(found):,} prompts, {MOST_PROMPTS:,} are the most")
    return found
