"""Text is read fast where it can be read in one way only: then the exact reading gives the same."""

import random
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from visunex.pipeline.errors import SourceError
from visunex.pipeline.metadata.formats import csv, jsonl, text
from visunex.pipeline.metadata.formats.records import Reading
from visunex.pipeline.metadata.formats.to_parquet import convert_here

FIELDS = ["", "a", "1", "0.5", "é", " ", '"', '""', '"a"', '"a,b"', '"a\nb"', '"a""b"', 'a"b', '"a"b', ",",
          "\n", "\r", "\r\n", "\t", "\0", "\x85", "\u2028", "\ufeff", '","', "\\", "#"]  # fmt: skip
JSON = ['"a"', "1", "1.5", "1e400", "-0", "null", "true", "[]", "{}", '"\\ud800"', "99999999999999999999",
        "NaN", '{"a": [{}', "{}]}", "{},{}", "{}", "", " ", "x", "\r", '"\x85"', "\u2028"]  # fmt: skip

VALUES = [
    '"a"', '""', '" a "', '"\\u00e9\\n"', '"\\ud83d\\ude00"', '"\\ud800"', '"\\x"', '"\\/"', '"7"',
    '"é\u2028"', "null", "true", "false",
    "7", "-0", "007", "12345678901234567", "99999999999999999999", "1" * 5000, "1e", "-", "1.", "7.5", "7.50",
    "0.1234567890123456789", "1e5", "1E-7", "1e400", "-0.0", "0.0001", "0.00001", "5e-324", "1e16", "NaN",
    "[1]", "1234567890123456.0", "12345678901234567.0", "{}", '"\t"',
]  # fmt: skip


def table(random_: random.Random, separator: str) -> str:
    plain = random_.random() < 0.5  # else hardly a file would be simple
    fields = [each for each in FIELDS if not plain or each in ("", "a", "1", "é", '"a"', '"a,b"', '"a\nb"')]
    rows = [
        separator.join(random_.choices(fields, k=random_.choice([2, 2, 2, 2, 1, 3])))
        for _ in range(random_.randrange(12))
    ]
    return f"url{separator}caption\n" + random_.choice(["\n", "\n", "\r\n"]).join(rows)


def objects(random_: random.Random, _: str) -> str:
    lines = [
        random_.choice(
            [f'{{"url": "a", "score": {random_.choice(JSON)}}}', '{"url": "b"}', random_.choice(JSON)]
        )
        for _ in range(random_.randrange(1, 8))
    ]
    return "\n".join(lines)


def alike(random_: random.Random, _: str) -> str:
    """Objects with the same keys, mostly of the same types: as nearly all files are."""
    kinds = random_.choices(VALUES, k=3), random_.choices(VALUES[:13], k=3), random_.choices(VALUES[13:], k=3)
    space, between = random_.choice(["", " ", "  ", "\t"]), random_.choice([",", ", "])
    keys = random_.choice([("url", "score", "x"), ("url", "é", "score"), ("url", "a.b", "a b")])
    lines = [
        between.join(f'"{key}":{space}{random_.choice(kind)}' for key, kind in zip(keys, kinds, strict=True))
        for _ in range(random_.randrange(1, 8))
    ]
    lines = [f"{{{line}}}" for line in lines]
    lines += [line.replace('"x"', '"y"') for line in lines if random_.random() < 0.1]
    return random_.choice(["\n", "\n", "\n\n", "\r\n"]).join(lines)


def outcome(path: Path, folder: Path) -> Any:
    try:
        tally = convert_here(path, folder, Reading())
    except SourceError as error:
        return str(error)
    parts = sorted(folder.glob("*.parquet"))
    return tally, repr([pq.read_table(part).to_pydict() for part in parts])  # as texts: NaN is not NaN


@pytest.mark.parametrize(
    ("make", "name", "separator"),
    [(table, "a.csv", ","), (table, "a.tsv", "\t"), (objects, "a.jsonl", ""), (alike, "a.jsonl", "")],
)
def test_fast_is_as_exact(
    make: Any, name: str, separator: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    random_, path, found = random.Random(name), tmp_path / name, 0
    native = csv.columns_of
    for number in range(100):
        path.write_text(make(random_, separator), encoding="utf-8", newline="")
        results = []
        for way in ("whole", "blocks", "exact"):
            fast = way != "exact"
            monkeypatch.setattr(csv, "columns_of", native if fast else lambda *_: None)
            monkeypatch.setattr(csv, "is_plain", (lambda _: False) if not fast else csv_is_plain)
            monkeypatch.setattr(jsonl, "columns_of", json_columns if fast else lambda *_: None)
            monkeypatch.setattr(jsonl, "_at_once", at_once if fast else lambda *_: None)
            monkeypatch.setattr(text, "_BLOCK", 5 if way == "blocks" else 8 << 20)
            results.append(outcome(path, tmp_path / f"{number}-{way}"))
        assert results[0] == results[1] == results[2], path.read_bytes()
        found += isinstance(results[0], tuple)
    assert found > 30


csv_is_plain, at_once, json_columns = csv.is_plain, jsonl._at_once, jsonl.columns_of
