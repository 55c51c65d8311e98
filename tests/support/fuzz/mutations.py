"""Ways to bend a file: as bytes, as lines, and as the JSON or TOML values that it holds."""

import json
import math
import random
import tomllib
from collections.abc import Callable
from typing import Any

import tomli_w

__all__ = ["mutated"]

_LENGTHS = [b"\0" * 4, b"\xff" * 4, b"\x7f\xff\xff\xff", b"\0\x94\x35\x77", b"\0" * 8, b"\xff" * 7 + b"\x7f"]
_BITS = [
    b'"', b"\r", b"\n", b"\t", b",", b"{", b"[" * 9000, b"{\"a\":" * 3000, b"\\ud800", b"\xff", b"\0",
    b"\xed\xa0\x80", b"9" * 5000, b"-1", b"1e999", b"nan", b"'", b"\\", b"\x1b[2J",
    b"\xe2\x80\xae", b"(" * 400, b" " * 70000,
    b"a." * 300, b"%s%n", b"../../", b"; ", b": ",
]  # fmt: skip
_DEEP = "@deep@"
_ODD: list[Any] = [
    None, True, False, 0, -1, 1, 2**31, 2**63 - 1, -(2**63), 2**64, 10**400, 0.0, -0.5, 1e308, math.nan,
    math.inf, "", "x", "x" * 70_000, "\x00", "\x1b]0;\x07", "\u202e", "1", "nan", "-1",
    "../../etc", "http://127.0.0.1:1/",
    [], {}, [None], [[]], {"": ""}, [1, "a", None], _DEEP, "\ud800",
]  # fmt: skip


def mutated(data: bytes, form: str, dice: random.Random) -> bytes:
    """The data bent once or several times; `form` is json, toml, jsonl, text or binary."""
    if form in ("json", "toml", "jsonl") and dice.random() < 0.6:
        changed = _structured(data, form, dice)
        if changed is not None:
            return changed
    return _bent(data, dice, text=form != "binary")


def _bent(data: bytes, dice: random.Random, *, text: bool) -> bytes:
    bent = bytearray(data)
    for _ in range(dice.choice((1, 1, 1, 2, 2, 4, 8))):
        at = int(len(bent) * dice.choice([dice.random(), 0.1 * dice.random(), 1 - 0.1 * dice.random()]))
        end = at + dice.randint(1, max(1, min(400, len(bent) // 3)))
        match dice.randrange(7 if text else 6):
            case 0:
                bent[at : at + 1] = dice.randbytes(1)
            case 1:
                bent[at : at + 1] = bytes([bent[at] ^ (1 << dice.randrange(8))]) if at < len(bent) else b""
            case 2:
                size = len(found := dice.choice(_LENGTHS))
                bent[at : at + size] = found
            case 3:
                bent[at:at] = bent[max(0, 2 * at - end) : at]
            case 4:
                del bent[at : len(bent) if dice.random() < 0.15 else end]
            case 5:
                bent[at:end] = bent[(other := dice.randrange(len(bent) + 1)) : other + end - at]
            case _:
                bent[at:at] = dice.choice(_BITS)
    return bytes(bent)


def _structured(data: bytes, form: str, dice: random.Random) -> bytes | None:
    """The data with some of its values replaced; None where it cannot be read or written so."""
    try:
        if form == "jsonl":
            lines = data.split(b"\n")
            at = dice.randrange(len(lines))
            lines[at] = _written(_changed(json.loads(lines[at]), dice), json.dumps)
            return b"\n".join(lines)
        if form == "toml":
            return _written(_changed(tomllib.loads(data.decode()), dice), tomli_w.dumps)
        return _written(_changed(json.loads(data), dice), json.dumps)
    except (ValueError, TypeError, AttributeError, OverflowError, RecursionError):
        return None


def _written(value: Any, write: Callable[[Any], str]) -> bytes:
    depth = 2000
    return (
        write(value).replace(f'"{_DEEP}"', "[" * depth + "]" * depth).encode("utf-8", errors="surrogatepass")
    )


def _changed(value: Any, dice: random.Random) -> Any:
    for _ in range(dice.randint(1, 3)):
        value = _with_change(value, dice)
    return value


def _with_change(value: Any, dice: random.Random) -> Any:
    """The value with one change, here or further in."""
    if isinstance(value, dict) and value and dice.random() < 0.85:
        key = dice.choice(list(value))
        if dice.random() < 0.15:
            kept = {name: inner for name, inner in value.items() if name != key}
            return kept if dice.random() < 0.5 else {**kept, dice.choice(["", "x", "A" * 999]): value[key]}
        return {**value, key: _with_change(value[key], dice)}
    if isinstance(value, list) and value and dice.random() < 0.85:
        at = dice.randrange(len(value))
        if dice.random() < 0.15:
            return value[:at] + value[at + 1 :] if dice.random() < 0.5 else value * 2
        return [*value[:at], _with_change(value[at], dice), *value[at + 1 :]]
    if isinstance(value, (int, float)) and dice.random() < 0.4:
        return dice.choice([-value, value + 1, value * 10**6, float(value), str(value), [value]])
    return [value] if dice.random() < 0.1 else dice.choice(_ODD)
