"""The web UI's reading of prompts, written down plainly a letter and a token at a time, to compare with."""

import re
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

__all__ = ["conditioning", "letters_of", "rows_of"]

A_NUMBER = re.compile(r":\s*([+-]?(?:\d+\.?\d*|\.\d+))\s*\)")
LEAST_MOVED = 20
COMMA = 267  # as CLIP's vocabulary has it, at the end of a word


def letters_of(text: str) -> list[tuple[str, float, int]]:
    """Each letter with its weight and its section, an empty one for a backslash alone.

    A letter at a time: the factor of a bracket is laid on all letters since it was opened.
    """
    found: list[list[Any]] = []
    section, place = 0, 0
    rounds: list[int] = []
    squares: list[int] = []

    def lay(start: int, factor: float) -> None:
        for letter in found[start:]:
            letter[1] *= factor

    while place < len(text):
        letter, rest = text[place], text[place:]
        number = A_NUMBER.match(rest)
        word = re.match(r"\s*BREAK\b\s*", rest)
        starts = place == 0 or not (text[place - 1].isalnum() or text[place - 1] == "_")
        if letter == "\\":
            if rest[1:2] and rest[1] in "()[]\\":
                found.append([rest[1], 1.0, section])
                place += 1
            else:
                found.append(["", 1.0, section])
        elif letter == "(":
            rounds.append(len(found))
        elif letter == "[":
            squares.append(len(found))
        elif number and rounds:
            lay(rounds.pop(), float(number[1]))
            place += number.end() - 1
        elif letter == ")" and rounds:
            lay(rounds.pop(), 1.1)
        elif letter == "]" and squares:
            lay(squares.pop(), 1 / 1.1)
        elif word and (starts or letter.isspace()):
            section += 1
            place += word.end() - 1
        else:
            found.append([letter, 1.0, section])
        place += 1
    for start in rounds:
        lay(start, 1.1)
    for start in squares:
        lay(start, 1 / 1.1)
    return [(letter, weight, number) for letter, weight, number in found]


def rows_of(sections: Sequence[Sequence[tuple[list[int], float]]], tokenizer: Any) -> list[list[Any]]:
    """The rule of the web UI, a token at a time: the rows of (id, weight) that go through the encoder."""
    rows: list[list[tuple[int, float]]] = []
    row: list[tuple[int, float]] = []
    last = None

    def end_row() -> None:
        nonlocal row, last
        begin, end = (tokenizer.bos_token_id, 1.0), (tokenizer.eos_token_id, 1.0)
        filling = [(tokenizer.pad_token_id, 1.0)] * (75 - len(row))
        rows.append([begin, *row, end, *filling])
        row, last = [], None

    for number, section in enumerate(sections):
        if number:
            end_row()
        for token, weight in ((token, weight) for ids, weight in section for token in ids):
            if token == COMMA:
                last = len(row)
            elif len(row) == 75 and last is not None and 75 - last <= LEAST_MOVED:
                row, moved = row[: last + 1], row[last + 1 :]
                end_row()
                row = moved
            if len(row) == 75:
                end_row()
            row.append((token, weight))
    if row or not rows:
        end_row()
    return rows


def conditioning(encoder: Any, tokenizer: Any, text: str, skip: int = 0) -> Tensor:
    """The states `[1, 77k, D]` of a prompt; `skip` last layers are left out.

    Without `skip` the last state under the final norm, else that one as it is, as SDXL takes it.
    """
    sections: list[list[tuple[list[int], float]]] = [[]]
    words, before = "", 1.0
    letters = letters_of(text)
    for letter, weight, number in [*letters, ("", 0.0, -1)]:
        if (weight, number) != (before, len(sections) - 1):
            ids = tokenizer(words, add_special_tokens=False, verbose=False).input_ids
            sections[-1].append((ids, before))
            words, before = "", weight
            sections += [[] for _ in range(len(sections), number + 1)]
        words += letter
    states = []
    for row in rows_of(sections, tokenizer):
        ids = torch.tensor([[token for token, _ in row]])
        with torch.no_grad():
            said = encoder(ids, output_hidden_states=True)
        z = said.hidden_states[-1 - skip] if skip else said.last_hidden_state
        mean = z.mean()
        z = z * torch.tensor([weight for _, weight in row])[None, :, None]
        states.append(z * (mean / z.mean()))
    return torch.cat(states, dim=1)
