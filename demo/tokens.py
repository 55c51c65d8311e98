"""A small byte-pair vocabulary in the layout of CLIP's: any text can be written with it."""

import json
import re
from collections import Counter
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

__all__ = ["END", "START", "learn_merges", "write_tokenizer"]

START, END = "<|startoftext|>", "<|endoftext|>"
WORD_END = "</w>"


def byte_letters() -> list[str]:
    """The 256 printable stand-ins for bytes that GPT-2's and CLIP's tokenizers use, in their order."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [byte for byte in range(256) if byte not in printable]
    return [chr(byte) for byte in printable] + [chr(256 + place) for place in range(len(hidden))]


def merge(word: tuple[str, ...], pair: tuple[str, str]) -> tuple[str, ...]:
    """The word with every occurrence of the pair joined."""
    joined: list[str] = []
    for part in word:
        if joined and (joined[-1], part) == pair:
            joined[-1] += part
        else:
            joined.append(part)
    return tuple(joined)


def learn_merges(texts: Iterable[str], count: int) -> list[tuple[str, str]]:
    """Byte-pair encoding's merges, most frequent first, ties in alphabetical order."""
    seen = Counter(word for text in texts for word in re.findall(r"[a-z]+", text.lower()))
    words = {(*word[:-1], word[-1] + WORD_END): times for word, times in seen.items()}
    merges: list[tuple[str, str]] = []
    while len(merges) < count:
        pairs: Counter[tuple[str, str]] = Counter()
        for word, times in words.items():
            for pair in pairwise(word):
                pairs[pair] += times
        if not pairs:
            break
        merges.append(min(pairs, key=lambda pair: (-pairs[pair], pair)))
        words = {merge(word, merges[-1]): times for word, times in words.items()}
    return merges


def write_tokenizer(folder: Path, texts: Iterable[str], size: int = 1024) -> None:
    """Write `vocab.json`, `merges.txt`, `tokenizer_config.json`; at most `size` tokens, END the highest."""
    letters = byte_letters()
    merges = learn_merges(texts, size - 2 * len(letters) - 2)
    tokens = [
        *letters,
        *(letter + WORD_END for letter in letters),
        *("".join(pair) for pair in merges),
        START,
        END,
    ]
    config = {
        "tokenizer_class": "CLIPTokenizer",
        "model_max_length": 77,
        "bos_token": START,
        "eos_token": END,
        "unk_token": END,
        "pad_token": END,
    }
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = {token: place for place, token in enumerate(tokens)}
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False) + "\n", encoding="utf-8")
    lines = ["#version: 0.2", *(" ".join(pair) for pair in merges)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
