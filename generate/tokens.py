"""CLIP's tokenizer from the word list in open_clip, without a network: for checkpoints that bring none."""

import gzip
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from .errors import CheckpointError

__all__ = ["clip_tokenizer"]

MERGES = 49_152 - 256 - 2  # OpenAI's CLIP uses so many of the list's merges


def clip_tokenizer() -> Any:
    """transformers' CLIPTokenizer with OpenAI CLIP's 49408 tokens, padding with the end-of-text token."""
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
    return CLIPTokenizer(vocab=vocabulary, merges=merges)


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
