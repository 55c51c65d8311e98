"""CLIP's tokenizer from the word list in open_clip, for checkpoints that bring none; and whether one fits."""

import gzip
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from .errors import CheckpointError

__all__ = ["check_pieces", "check_tokenizer", "clip_tokenizer"]

LEAST_SHARE = 0.9  # of a text encoder's rows a tokenizer has at least so many
LENGTH = 77  # tokens of a text, its start and its end among them
MERGES = 49_152 - 256 - 2  # OpenAI's CLIP uses so many of the list's merges


def clip_tokenizer(pad: str = "<|endoftext|>") -> Any:
    """transformers' CLIPTokenizer with OpenAI CLIP's 49408 tokens, padding with the end-of-text token, or
    with what the text encoder was trained with."""
    from transformers import CLIPTokenizer

    letters = _byte_letters()
    merges = _merges()
    words = [
        *letters,
        *(letter + "</w>" for letter in letters),
        *(first + second for first, second in merges),
        "<|startoftext|>",
        "<|endoftext|>",
    ]
    vocabulary = {word: number for number, word in enumerate(words)}
    return CLIPTokenizer(vocab=vocabulary, merges=merges, pad_token=pad, model_max_length=LENGTH)


def check_tokenizer(tokenizer: Any, rows: int, model: str) -> None:
    """Raise CheckpointError where `tokenizer` is not that of a text encoder with `rows` token embeddings.

    transformers makes a tokenizer of two tokens of a folder that has none: prompts would all be the same.
    Some rows more than tokens are right: they were added later (textual inversion), or fill up a size.
    """
    tokens = tokenizer.get_vocab()
    ends = (tokenizer.bos_token_id, tokenizer.eos_token_id)
    if len(tokens) < LEAST_SHARE * rows or max(tokens.values()) >= rows:
        raise CheckpointError(
            f"the tokenizer of {model} has {len(tokens):,} tokens, its text encoder takes {rows:,}: it is "
            "missing or another model's; bring the tokenizer that the text encoder was trained with"
        )
    if None in ends or ends[0] == ends[1] or not {*ends} <= {*tokens.values()}:
        raise CheckpointError(
            f"the tokenizer of {model} has no tokens of their own for the start and the end of a text"
        )


def check_pieces(tokenizer: Any, rows: int, model: str) -> None:
    """Raise CheckpointError where a T5's `tokenizer` gives tokens beyond its `rows` of embeddings."""
    highest = max(tokenizer.get_vocab().values(), default=rows)
    if highest >= rows:
        raise CheckpointError(
            f"the tokenizer of T5 in {model} has a token {highest:,}, its text encoder takes {rows:,}: it is "
            "missing or another model's; bring the tokenizer that the text encoder was trained with"
        )


def _merges() -> list[tuple[str, str]]:
    spec = find_spec("open_clip")
    if spec is None or spec.origin is None:
        raise CheckpointError("open_clip is not installed; reinstall visunex")
    path = Path(spec.origin).with_name("bpe_simple_vocab_16e6.txt.gz")
    lines = gzip.decompress(path.read_bytes()).decode("utf-8").split("\n")
    return [(first, second) for first, second in map(str.split, lines[1 : 1 + MERGES])]


def _byte_letters() -> list[str]:
    """The 256 printable stand-ins for bytes, in the order of CLIP's vocabulary."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    return [chr(byte) for byte in printable] + [chr(256 + place) for place in range(256 - len(printable))]
