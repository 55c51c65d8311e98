"""`--where`: a condition over the columns, and no way to anything else."""

from pathlib import Path

import polars as pl
import pytest
from filtering import SCHEMA, rows, select

from visunex.base.errors import UsageError
from visunex.pipeline.errors import SourceError
from visunex.pipeline.filter.conditions import where

KINDS = {**pl.Schema(SCHEMA), "a b": pl.Int64()}


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("WIDTH > HEIGHT", "abd"),
        ("WIDTH > HEIGHT AND TEXT LIKE '%b%'", "b"),
        ("TEXT IN ('a', 'c')", "ac"),
        ("NOT (WIDTH > HEIGHT)", "c"),
        ("WIDTH * 1.0 / HEIGHT BETWEEN 0.1 AND 0.9", "c"),
        ("UPPER(TEXT) = 'D' OR similarity > 0.5", "d"),
        ("CASE WHEN hash > 1 THEN TRUE ELSE FALSE END", "cd"),
        ("TEXT ~ '^[ab]$'", "ab"),
        ("TEXT = 'Agg' OR LENGTH(TEXT) = 1", "abcd"),
        ("1 = 1", "abcd"),
        ('"hash" IS NOT NULL -- all of them', "abcd"),
    ],
)
def test_where_keeps_the_rows_that_it_is_true_of(text: str, kept: str, tmp_path: Path) -> None:
    rows(*"abcd", WIDTH=[640, 640, 100, 640]).write_parquet(tmp_path / "m.parquet", row_group_size=1)
    report, selected = select(tmp_path / "run", tmp_path / "m.parquet", where=text)
    assert "".join(selected["caption"]) == kept
    assert report.dropped["where"] == 4 - len(kept)


@pytest.mark.parametrize(
    ("wanted", "kept"),
    [
        ("CC0", "abc"),
        ("cc-by", "de"),
        ("CC BY 2.0", "d"),
        ("CC BY-NC", "f"),
        ("https://creativecommons.org/licenses/by/2.0/", "d"),
        ("Public domain mark", "g"),
        ("our own, 2", "h"),
    ],
)
def test_licenses_by_name_or_address(wanted: str, kept: str, tmp_path: Path) -> None:
    said = [
        "CC0", "cc0-1.0", "https://creativecommons.org/publicdomain/zero/1.0/", "CC BY 2.0",
        "http://www.creativecommons.org/licenses/by/4.0/deed.en", "cc_by-nc-4.0",
        "creativecommons.org/publicdomain/mark/1.0/", " Our own, 2 ", None,
    ]  # fmt: skip
    there = rows(*"abcdefghi").with_columns(pl.Series("license", said))
    there.write_parquet(tmp_path / "m.parquet")
    _, selected = select(tmp_path / "run", tmp_path / "m.parquet", license=[wanted])
    assert "".join(selected["caption"]) == kept


def test_a_null_never_passes(tmp_path: Path) -> None:
    rows(*"abc", WIDTH=[640, None, 100]).write_parquet(tmp_path / "m.parquet")
    report, _ = select(tmp_path / "run", tmp_path / "m.parquet", where="WIDTH > 200")
    assert report.dropped["where"] == 2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("width > 1", 'unable to find column "width"; the columns are URL, TEXT, WIDTH'),
        ("WIDTH", "gives Int64, not true or false"),
        ("TEXT AS x", "gives String, not true or false"),
        ("WIDTH >", "the columns are URL"),
        ("WIDTH > 1; DROP TABLE x", "the columns are URL"),
        ("WIDTH > 1, HEIGHT > 1", "the columns are URL"),
        ("WIDTH > 1 LIMIT 1", "the columns are URL"),
        ("*", "the columns are URL"),
        ("WIDTH > 'x'", "cannot compare string with numeric"),
        ("TEXT ~ '('", "unclosed group"),
        ("EXTRACT(YEAR FROM WIDTH) = 1", "the columns are URL"),
        ("nosuch(WIDTH)", "unsupported function 'nosuch'"),
        ("(" * 20_000, "the columns are URL"),
        ("WIDTH > 1 AND " * 500 + "hash", "the columns are URL"),
        ("\0", "the columns are URL"),
    ],
)
def test_a_senseless_condition_names_the_columns(text: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        where(text, KINDS)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize(
    "text",
    [
        "SUM(WIDTH) > 2", "WIDTH > AVG(WIDTH)", "COUNT(*) > 1", "FIRST(WIDTH) = 1",
        "COUNT(DISTINCT WIDTH) > 1", "MEDIAN(WIDTH) > 1",
        "QUANTILE_CONT(WIDTH, 0.5) > WIDTH", "CORR(WIDTH, HEIGHT) > 0",
        "ROW_NUMBER() OVER (ORDER BY WIDTH) = 1", "MAX(WIDTH) OVER (PARTITION BY TEXT) = WIDTH",
        "LAG(WIDTH) OVER (ORDER BY WIDTH) = 1", "UNNEST(WIDTH) = 1",
    ],
)  # fmt: skip
def test_a_condition_may_not_look_at_other_rows(text: str) -> None:
    with pytest.raises(UsageError, match=r"must judge each row by itself|the columns are"):
        where(text, KINDS)


SECRET = "root-of-all-secrets"


@pytest.mark.parametrize(
    "text",
    [
        "TEXT IN (SELECT * FROM read_csv('{file}'))",
        "TEXT IN (select * from read_csv('{file}'))",
        "TEXT IN (FROM read_csv('{file}'))",
        "TEXT IN (/**/FROM read_csv('{file}'))",
        "TEXT IN (FROM \"read_csv\"('{file}'))",
        "TEXT IN (WITH x AS (SELECT 1) SELECT * FROM read_parquet('{file}'))",
        "EXISTS (SELECT 1 FROM read_ipc('{file}'))",
        "TEXT = (SELECT '{file}')",
        "read_csv('{file}')",
        "TEXT IN (VALUES ('{file}'))",
        "TEXT IN (/**/VALUES ('{file}'))",
        "TEXT = ANY(SELECT 1)",
        "TEXT IN (FROM '{file}')",
    ],
)
def test_a_condition_reads_no_file(text: str, tmp_path: Path) -> None:
    """polars would read it while it parses, and tell its first line in the error."""
    file = tmp_path / "secret.csv"
    file.write_text(f"{SECRET}\n1\n")
    with pytest.raises(UsageError) as caught:
        where(text.format(file=file), KINDS)
    assert SECRET not in str(caught.value)


def test_a_condition_that_fails_on_some_value_says_so(tmp_path: Path) -> None:
    rows("1", "2", "three").write_parquet(tmp_path / "m.parquet")
    with pytest.raises(UsageError, match=r"--where fails on some row: .*three"):
        select(tmp_path / "run", tmp_path / "m.parquet", where="CAST(TEXT AS INT) > 1")
    with pytest.raises(SourceError, match="no column 'CAPTION' for the caption"):
        select(tmp_path / "run", tmp_path / "m.parquet", columns={"caption": "CAPTION"})


SCHEMA_OF_WHERE = {"Text": pl.String(), "score": pl.Float64(), "SCORE2": pl.Int64()}


@pytest.mark.parametrize(
    ("condition", "said"),
    [
        (" OR ".join(["score > 1"] * 8000), "too many operators"),
        ("score" + " + score" * 3000 + " > 1", "too many operators"),
        ("score > 1" + " IS NULL" * 3000, "too many operators"),
        ("score" + "::int" * 3000 + " > 1", "too many operators"),
        ("(" * 3000 + "score > 1" + ")" * 3000, "--where"),
        ("LPAD(Text, 2000000000, 'x') = 'x'", "without LPAD"),
        ("rpad('x', 2000000000, 'x') = 'x'", "without RPAD"),
        ("REPEAT(Text, 2000000000) = 'x'", "--where"),
        ("REPLACE(Text, 'a', 'aaaaaaaaaaaaaaaaaaaa') = 'x'", "without REPLACE"),
        ("ARRAY_TO_STRING(STRING_TO_ARRAY(Text, ''), 'xxxxxx') = 'x'", "without ARRAY_TO_STRING"),
        (f"CONCAT({', '.join(['Text'] * 20_000)}) = 'x'", "puts more than 8 texts"),
        (f"CONCAT_WS('{'x' * 900}', Text, Text) = 'x'", "or 1000 letters, together"),
        (" || ".join(["Text"] * 100) + " = 'x'", "puts more than 8 texts"),
        (" + ".join(["Text"] * 300) + " = 'x'", "puts more than 8 texts"),
        (f"'{'x' * 100_000}' || Text = 'x'", "or 1000 letters, together"),
        (f"UPPER(CONCAT(Text, LOWER(CONCAT(Text, '{'x' * 100_000}')))) = 'x'", "or 1000 letters, together"),
        ("REGEXP_LIKE(Text, '((a{1,1000}){1,1000}){1,1000}')", "4000 letters' worth"),
        ("Text ~ 'a{1000}{1000}'", "4000 letters' worth"),
        (r"Text ~ '\p{L}{80}'", "4000 letters' worth"),
        (r"Text ~ '([\w ]{9}){9}'", "4000 letters' worth"),
        ("REGEXP_LIKE(Text, CONCAT('a{100', '}{100}'))", "one text in quotes"),
        ("REGEXP_LIKE(Text, Text)", "one text in quotes"),
        (f"Text ~ '{'(' * 300}a{')' * 300}'", "nested parentheses"),
        (r"Text ~ '\pL{900}'", "4000 letters' worth"),
        (f"Text LIKE '{'%a' * 5000}b'", "1000 letters in a pattern"),
        (f"Text ~ '{'a|' * 20_000}b'", "1000 letters in a pattern"),
        ("NOT " * 550 + "score > 1", "--where"),
        ("-" * 590 + "score > 1", "--where"),
        ("CAST(" * 60 + "score" + " AS INT)" * 60 + " > 1", "more than 30 brackets one within another"),
        ("CAST((" * 25 + "score" + ") AS INT)" * 25 + " > 1", "more than 30 brackets"),
    ],
)
def test_a_condition_that_would_fill_memory_or_the_stack(condition: str, said: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        where(condition, SCHEMA_OF_WHERE)
    assert len(str(caught.value)) < 700


@pytest.mark.parametrize(
    "condition",
    [
        "Text ~ '(a*)*b'",
        "Text ~ '(a|a)*(a|a)*(a|aa)*$b'",
        r"Text ~ '(x+x+)+y|\w{2,40}x|[^,]{100,200}x'",
        r"Text ~ '(\w+ ){30}x'",
        "CONCAT(Text, '-', Text) = 'x'",
        "score + score + score + score + score + score + score + score + score + SCORE2 < 0",
    ],
)
def test_a_condition_that_only_looks_costly_is_taken(condition: str) -> None:
    frame = pl.DataFrame({"Text": ["a" * 300] * 100, "score": [2.0] * 100, "SCORE2": [1] * 100})
    assert frame.select(where(condition, SCHEMA_OF_WHERE)).to_series().sum() == 0


@pytest.mark.parametrize("count", [50, 250])
def test_a_long_condition_is_taken(count: int) -> None:
    frame = pl.DataFrame({"Text": ["a"], "score": [2.0], "SCORE2": [1]})
    assert frame.select(where(" OR ".join(["score > 1"] * count), SCHEMA_OF_WHERE)).item() is True
    assert frame.select(where(f"SCORE2 IN ({', '.join(map(str, range(5000)))})", SCHEMA_OF_WHERE)).item()
