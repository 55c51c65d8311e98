"""Words of textual inversions in a tokenizer, and their vectors in the table of its text encoder."""

import copy
import re
from collections.abc import Mapping, Sequence
from itertools import count, islice
from typing import Any

import torch
from torch import Tensor, nn

from ..steering.arguments import text_model_of

__all__ = ["put_rows", "with_words"]

FIRST = 0xF0000  # of the letters that nothing uses: each stands for a vector, and no word has them
LEGACY_END = 2  # the end of text in old configurations: transformers then takes the highest token for it


def with_words(tokenizer: Any, counts: Mapping[str, int]) -> Any:
    """A copy of CLIP's tokenizer that knows words, each of which is so many tokens one after another.

    They are found as words, in whatever letters, and however a prompt is given: also by diffusers' pipelines.
    """
    from transformers import AddedToken

    letters = map(chr, count(FIRST))
    tokens = {" ".join(word.lower().split()): [*islice(letters, each)] for word, each in counts.items()}
    found = copy.deepcopy(tokenizer)
    found.add_tokens([AddedToken(each, normalized=False) for own in tokens.values() for each in own])
    kind = type(found)
    found.__class__ = type(kind.__name__, (_WithWords, kind), {})
    found.added_words = {word: " ".join(own) for word, own in tokens.items()}
    found.added_pattern = _pattern(tokens)
    return found


class _WithWords:
    """A tokenizer of transformers that puts added words' tokens in their place before it reads a text."""

    added_words: Mapping[str, str]
    added_pattern: re.Pattern[str]

    def __call__(self, text: Any = None, *more: Any, **settings: Any) -> Any:
        return super().__call__(self._with_tokens(text), *more, **settings)  # type: ignore[misc]

    def encode(self, text: Any, *more: Any, **settings: Any) -> Any:
        """Ids of a text."""
        return super().encode(self._with_tokens(text), *more, **settings)  # type: ignore[misc]

    def tokenize(self, text: Any, *more: Any, **settings: Any) -> Any:
        """Tokens of a text."""
        return super().tokenize(self._with_tokens(text), *more, **settings)  # type: ignore[misc]

    def _with_tokens(self, text: Any) -> Any:
        if isinstance(text, str):
            return self.added_pattern.sub(self._tokens, text)
        return [self._with_tokens(each) for each in text] if isinstance(text, list | tuple) else text

    def _tokens(self, match: re.Match[str]) -> str:
        return f" {self.added_words[' '.join(match[0].lower().split())]} "


def _pattern(words: Mapping[str, Any]) -> re.Pattern[str]:
    """What finds the words in a text, the longest first, but not within longer words."""
    longest = sorted(words, key=len, reverse=True)
    return re.compile("|".join(map(_as_word, longest)), re.IGNORECASE)


def _as_word(word: str) -> str:
    inner = r"\s+".join(map(re.escape, word.split()))
    before, after = (r"(?<!\w)" if word[0].isalnum() else "", r"(?!\w)" if word[-1].isalnum() else "")
    return f"{before}{inner}{after}"


@torch.no_grad()
def put_rows(encoder: Any, tokenizer: Any, added: Sequence[Tensor]) -> None:
    """Give a text encoder the vectors, each `[n, D]`, of the tokens that its tokenizer got last.

    The table that it has is not written to. Old configurations have the highest token for the end of text,
    which it is not any more: they get the tokenizer's own.
    """
    words = text_model_of(encoder).embeddings.token_embedding
    table: Tensor = words.weight
    rows = torch.cat([*added]).to(table)
    first = len(tokenizer) - len(rows)
    longer = torch.cat([table, table.new_zeros(max(0, len(tokenizer) - len(table)), table.shape[1])])
    longer[first : first + len(rows)] = rows
    words.weight = nn.Parameter(longer, requires_grad=False)
    words.num_embeddings = len(longer)
    for module in encoder.modules():
        if getattr(module, "eos_token_id", None) == LEGACY_END:
            module.eos_token_id = tokenizer.eos_token_id
        if (config := getattr(module, "config", None)) is not None:
            _say(config, len(longer), tokenizer.eos_token_id)


def _say(config: Any, rows: int, end: int) -> None:
    config.vocab_size = rows
    if config.eos_token_id == LEGACY_END:
        config.eos_token_id = end
