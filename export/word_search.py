"""`--to prompt`: words that, behind a prompt, bring it nearer to a taste; the best of two ways to find them.

Candidates are scored by the cosine of the text feature of prompt + words to the taste, averaged over prompts.
Here they are phrases of a shipped vocabulary and of captions, tried all and put together by a beam;
`gradient_words.py` finds others by gradients. What is reported is measured on prompts not used to find them.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from visunex.base.progress import Progress
from visunex.base.text import printable

from . import gradient_words, prompt_set
from .encoder import TextSide
from .errors import ExportError
from .output import Output
from .prompt_set import PromptSet

__all__ = ["WordAim", "made", "phrases_of", "read_captions"]

SHIPPED = Path(__file__).with_name("style_words.txt")
BATCH = 64  # texts at a time
SIFTED = ((2, 256), (6, 48), (16, 8))  # prompts to score by, and how many phrases are kept
BEAM = 6
MOST_CAPTIONS, MOST_GRAMS, LONGEST_GRAM, LEAST_OFTEN = 200_000, 800, 3, 3
WORD = re.compile(r"[^\W\d_][^\W\d_'-]*")
COMMON = frozenset(
    WORD.findall(
        "a an and are as at be but by for from has have her his how i in into is it its my no not of off on "
        "one or our out over so that the their them this to two under up was we what when where which who "
        "will with you your"
    )
)


@dataclass(frozen=True)
class WordAim:
    """What is looked for: `count` answers of at most `most` words or phrases each, by `way`."""

    most: int = 4
    count: int = 8
    way: str = "both"
    banned: tuple[str, ...] = ()
    captions: tuple[str, ...] = ()


@dataclass(frozen=True)
class Found:
    """Words, and the mean cosine of prompts with them to the taste; `by` names the way they were found."""

    words: str
    cosine: float
    by: str


def made(
    sides: Sequence[TextSide], aim: WordAim, prompts: PromptSet, _output: Output, seed: int
) -> tuple[bytes, dict[str, Any]]:
    """The file's bytes and the report on it; of several text encoders the first finds the words."""
    scores = Scores(sides[0], prompts)
    phrases = [phrase for phrase in phrases_of(map(Path, aim.captions)) if is_allowed(phrase, aim.banned)]
    if not phrases:
        raise ExportError("no words are left to search: ban fewer")
    best = scores.best(_candidates(scores, aim, phrases, seed), aim.count)
    away = scores.best(dict.fromkeys(search(scores, phrases, aim.most, sign=-1), "search"), 3, sign=-1)
    plain = float(scores.of([""], prompts.judge)[0])
    report = {
        "cosine_plain": plain,
        "best": [vars(each) for each in best],
        "negative": [vars(each) for each in away],
        "said": sentences(plain, best, away),
    }
    return text_of(sides[0], plain, best, away).encode(), report


def _candidates(scores: "Scores", aim: WordAim, phrases: Sequence[str], seed: int) -> dict[str, str]:
    """What either way finds, with the way's name."""
    texts: dict[str, str] = {}
    if aim.way in ("both", "search"):
        texts |= dict.fromkeys(search(scores, phrases, aim.most), "search")
    if aim.way in ("both", "gradients"):

        def allowed(text: str) -> bool:
            return is_allowed(text, aim.banned)

        found = gradient_words.found(scores.side, scores.prompts, aim.most, seed, allowed)
        texts |= dict.fromkeys(found, "gradients")
    return texts


class Scores:
    """The mean cosine of prompts with words behind them to a taste."""

    def __init__(self, side: TextSide, prompts: PromptSet) -> None:
        self.side, self.prompts = side, prompts

    @torch.no_grad()
    def of(self, words: Sequence[str], prompts: Sequence[str]) -> Tensor:
        """The mean over prompts for each of `words`, `[N]`."""
        texts = [self.side.words(joined(prompt, each)) for each in words for prompt in prompts]
        order = sorted(range(len(texts)), key=lambda place: len(texts[place]))
        cosines = torch.empty(len(texts))
        for at in range(0, len(order), BATCH):
            places = order[at : at + BATCH]
            rows = self.side.rows([texts[place] for place in places]).cut
            features = self.side.features(self.side.states(rows))
            cosines[torch.tensor(places)] = (features @ self.side.direction).cpu()
        return cosines.reshape(len(words), len(prompts)).mean(dim=1)

    def sifted(self, words: Sequence[str], progress: Progress, sign: int = 1) -> list[str]:
        """The best of `words`, best first: scored by few prompts first, the better ones by more."""
        kept = list(words)
        for count, keep in SIFTED:
            scores = sign * self.of(kept, self.prompts.train[:count])
            order = torch.argsort(-scores, stable=True)[:keep].tolist()
            progress.advance(len(kept) * count)
            kept = [kept[place] for place in order]
        return kept

    def best(self, texts: dict[str, str], count: int, sign: int = 1) -> list[Found]:
        """The best `count` of texts, which have the way they were found, by prompts not used to find them."""
        if not texts:
            return []
        cosines = self.of(list(texts), self.prompts.judge).tolist()
        found = [Found(text, cosine, by) for (text, by), cosine in zip(texts.items(), cosines, strict=True)]
        return sorted(found, key=lambda each: (-sign * each.cosine, each.words))[:count]


def joined(prompt: str, words: str) -> str:
    """A prompt with words behind it."""
    return f"{prompt}, {words}" if words else prompt


def search(scores: Scores, phrases: Sequence[str], most: int, sign: int = 1) -> list[str]:
    """The best texts of at most `most` phrases: the best so far, continued by the phrases best alone."""
    with Progress("Searching", None, "texts") as progress:
        alone = scores.sifted(phrases, progress, sign)
        found, beams = list(alone), alone[:BEAM]
        for _ in range(1, most):
            longer = [
                f"{beam}, {phrase}"
                for beam in beams
                for phrase in alone
                if not set(phrase.split()) & set(beam.replace(",", "").split())
            ]
            if not longer:
                break
            beams = scores.sifted(longer, progress, sign)[:BEAM]
            found += beams
    return found


def phrases_of(captions: Iterable[Path]) -> list[str]:
    """The phrases to search: the shipped ones, and those frequent in files of captions or runs."""
    shipped = prompt_set.read(SHIPPED)
    grams = frequent(text for path in captions for text in read_captions(path))
    return list(dict.fromkeys((*shipped, *grams)))


def frequent(captions: Iterable[str]) -> list[str]:
    """The phrases of one to three words most frequent in captions, without "the" and "of" at their ends."""
    counts: Counter[str] = Counter()
    for caption in captions:
        words = WORD.findall(printable(caption[:1000]).lower())
        counts.update(set(_grams(words)))
    often = [(gram, count) for gram, count in counts.items() if count >= LEAST_OFTEN]
    return [gram for gram, _ in sorted(often, key=lambda each: (-each[1], each[0]))[:MOST_GRAMS]]


def _grams(words: Sequence[str]) -> Iterator[str]:
    for size in range(1, LONGEST_GRAM + 1):
        for at in range(len(words) - size + 1):
            gram = words[at : at + size]
            if gram[0] not in COMMON and gram[-1] not in COMMON:
                yield " ".join(gram)


def read_captions(path: Path) -> Iterator[str]:
    """The captions of a run (`selected.parquet`), of a parquet file with that column, or of a text's lines.

    At most MOST_CAPTIONS. Raises ExportError for what is not there or has none.
    """
    place = path / "selected.parquet" if path.is_dir() else path
    if path.is_dir() and not place.exists():
        raise ExportError(f"there are no captions in {path}: it holds no {place.name}")
    if place.suffix == ".parquet":
        yield from _column(place)
    else:
        yield from prompt_set.read(place)


def _column(path: Path) -> Iterator[str]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            if "caption" not in file.schema_arrow.names:
                raise ExportError(f"{path} has no column caption; give --captions a run or a text file")
            count = 0
            for batch in file.iter_batches(4096, columns=["caption"]):
                for text in batch.column(0).to_pylist():
                    if isinstance(text, str) and count < MOST_CAPTIONS:
                        count += 1
                        yield text
                if count >= MOST_CAPTIONS:
                    return
    except (OSError, pa.ArrowInvalid) as error:
        raise ExportError(f"{path} cannot be read: {error}") from None


def is_allowed(text: str, banned: Sequence[str]) -> bool:
    """Whether none of the banned words or phrases stands in a text, whatever the case."""
    plain = f" {' '.join(WORD.findall(text.lower()))} "
    return not any(f" {' '.join(WORD.findall(each.lower()))} " in plain for each in banned)


def sentences(plain: float, best: Sequence[Found], away: Sequence[Found]) -> list[str]:
    """The report for a person."""
    return [
        f"mean cosine to the taste, on prompts not searched with; a prompt alone has {plain:.3f}",
        *(f"{each.cosine:7.3f}  {each.words}" for each in best),
        "farthest from it, for a negative prompt:",
        *(f"{each.cosine:7.3f}  {each.words}" for each in away),
    ]


def text_of(side: TextSide, plain: float, best: Sequence[Found], away: Sequence[Found]) -> str:
    """The file: words a line, best first, their cosine before them; a negative prompt's at the end."""
    head = f"# words for {side.taste.name}, by the text encoder of {side.name}: {sentences(plain, (), ())[0]}"
    lines = [f"{each.cosine:.4f}\t{each.words}" for each in best]
    lines += ["# for a negative prompt", *(f"{each.cosine:.4f}\t{each.words}" for each in away)]
    return "\n".join([head, *lines, ""])
