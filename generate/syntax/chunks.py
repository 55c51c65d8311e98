"""Weighted pieces -> chunks of token ids: as many as a text encoder takes, with where a chunk may end."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import UsageError
from .weights import Section

__all__ = ["BACKTRACK", "Chunk", "chunks_of", "empty_chunk"]

BACKTRACK = 20  # tokens by which a chunk may end earlier, behind a comma
MOST_CHUNKS = 32

_NUMBERED = re.compile(r"(.+)_[1-9]\d*", re.DOTALL)  # as diffusers names a word's tokens but the first


@dataclass(frozen=True)
class Token:
    """A token's id and weight, and whether it may not be parted from the one before it."""

    id: int
    weight: float
    joined: bool


@dataclass(frozen=True)
class Chunk:
    """Token ids of one call of a text encoder, start and end among them, and the weight of each.

    `words` says how many are of the prompt; a chunk without any is empty.
    """

    ids: tuple[int, ...]
    weights: tuple[float, ...]
    words: int


def chunks_of(sections: Sequence[Section], tokenizer: Any, length: int) -> tuple[Chunk, ...]:
    """The chunks of a prompt for a text encoder of `length` tokens, the start and the end of each included.

    A section begins a chunk. A chunk that is full ends behind its last comma, where no more than 20 tokens
    are moved to the next one, else where it is full; a word of several vectors is not parted. A prompt
    without a word is one empty chunk. `tokenizer` is transformers'. Raises UsageError for more than 32
    chunks.
    """
    comma = tokenizer.convert_tokens_to_ids(",</w>")
    comma = None if comma == tokenizer.unk_token_id else comma
    found = list[Chunk]()
    for number, section in enumerate(sections):
        for tokens in _cut(_tokens_of(section, tokenizer), length - 2, comma):
            if tokens or number + 1 < len(sections) or not found:
                found.append(_chunk(tokens, tokenizer, length))
    if len(found) > MOST_CHUNKS:
        raise UsageError(
            f"the prompt comes to {len(found)} chunks of {length - 2} tokens: at most {MOST_CHUNKS}"
        )
    return tuple(found)


def empty_chunk(tokenizer: Any, length: int) -> Chunk:
    """The chunk of no words, with which a shorter prompt is filled up."""
    return _chunk([], tokenizer, length)


def _tokens_of(section: Section, tokenizer: Any) -> list[Token]:
    texts = [piece.text for piece in section]
    ids = tokenizer(texts, add_special_tokens=False, verbose=False).input_ids if texts else []
    joined = _joined(tokenizer)
    return [
        Token(token, piece.weight, token in joined)
        for piece, each in zip(section, ids, strict=True)
        for token in each
    ]


def _joined(tokenizer: Any) -> set[int]:
    """The ids of added words' tokens but the first of each, of our tokenizers and of diffusers'."""
    ours: Mapping[str, str] = getattr(tokenizer, "added_words", {})
    rest = [token for tokens in ours.values() for token in tokens.split(" ")[1:]]
    added = tokenizer.get_added_vocab()
    rest += [token for token in added if (found := _NUMBERED.fullmatch(token)) and found[1] in added]
    return {added[token] for token in rest}


def _cut(tokens: list[Token], most: int, comma: int | None) -> Iterator[list[Token]]:
    """The tokens in lists of at most so many; an empty one of none."""
    while len(tokens) > most:
        end = _end(tokens, most, comma)
        yield tokens[:end]
        tokens = tokens[end:]
    yield tokens


def _end(tokens: list[Token], most: int, comma: int | None) -> int:
    """Where a full chunk ends, of tokens that are more than it holds."""
    if tokens[most].joined:
        return next((place for place in range(most, 0, -1) if not tokens[place].joined), most)
    if tokens[most].id == comma:
        return most
    commas = (place for place in range(most, max(most - BACKTRACK, 0), -1) if tokens[place - 1].id == comma)
    return next(commas, most)


def _chunk(tokens: list[Token], tokenizer: Any, length: int) -> Chunk:
    start, end, pad = tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id
    filling = length - 2 - len(tokens)
    ids = [start, *(token.id for token in tokens), end, *[pad] * filling]
    weights = [1.0, *(token.weight for token in tokens), *[1.0] * (filling + 1)]
    return Chunk(tuple(ids), tuple(weights), len(tokens))
