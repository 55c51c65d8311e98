"""Keywords find what pandas' `str.contains` finds, row for row, over all of Unicode."""

import re
import sys

import pandas as pd
import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from visunex.base.errors import UsageError
from visunex.pipeline.filter.keywords import LITERALS_AT_ONCE, any_of, nearest_words, spell, variants, weight
from visunex.recipes.schema import Match

# Where folding is treacherous: dotted and dotless i, long s, Kelvin, sharp s, sigmas, titlecase digraphs,
# Greek with iota subscript, Cherokee, Georgian, Deseret (beyond 16 bits), combining marks, metacharacters.
TREACHEROUS = "iIİıſsSKkKßẞσςΣµμµÅåÅDžDŽdžᾳᾼͅιΙἈꭰᎠაᲐ𐐀𐐨éÉe\u0301\u0307ffſt.*+?()[]{}|^$\\#&-~ \t\nŉǰΐ"
CHARACTERS = st.sampled_from(TREACHEROUS) | st.characters(codec="utf-8")
TEXTS = st.text(CHARACTERS, max_size=12)
KEYWORDS = st.lists(st.text(CHARACTERS, min_size=1, max_size=3), min_size=1, max_size=3)


def found(captions: list[str | None], keywords: list[str], match: Match = "substring") -> list[bool | None]:
    frame = pl.DataFrame({"TEXT": captions}, schema={"TEXT": pl.String})
    return frame.select(any_of(pl.col("TEXT"), keywords, match)).to_series().to_list()


def by_pandas(captions: list[str | None], keyword: str) -> list[bool]:
    series = pd.Series(captions, dtype=object)
    return series.str.contains(re.escape(keyword), case=False, regex=True, na=False).tolist()


@settings(max_examples=400, deadline=None)
@given(captions=st.lists(TEXTS | st.none(), max_size=12), keywords=KEYWORDS)
@example(captions=["İstanbul", "ISTANBUL", "ıstanbul", None, ""], keywords=["istanbul"])
@example(captions=["Straße", "STRASSE", "STRAẞE"], keywords=["STRASSE", "straße"])
@example(captions=["ΟΔΟΣ", "οδος", "οδοσ"], keywords=["οδός", "οδος"])
@example(captions=["a.b", "axb", "(a|b)", "a\nb"], keywords=["a.b", "(a|b)", "a\n"])
def test_keywords_find_what_pandas_finds_row_for_row(captions: list[str | None], keywords: list[str]) -> None:
    expected = [by_pandas(captions, keyword) for keyword in keywords]
    got = [each or False for each in found(captions, keywords)]
    assert got == [any(row) for row in zip(*expected, strict=True)]


def test_a_null_caption_is_neither_found_nor_not() -> None:
    assert found([None, "", "a"], ["a"]) == [None, False, True]


def test_each_character_of_unicode_matches_what_python_matches() -> None:
    """Every cased character against every other one, as the patterns are really run."""
    everything = [chr(code) for code in range(sys.maxunicode + 1) if not 0xD800 <= code < 0xE000]
    cased = [c for c in everything if (c.lower(), c.upper(), c.casefold()) != (c, c, c)]
    text, series = "".join(cased), pl.Series(cased)
    groups = {tuple(re.findall(re.escape(c), text, re.IGNORECASE)) for c in cased}
    for group in groups:
        matches = series.filter(series.str.contains(f"(?i){spell(group[-1])}"))
        assert tuple(matches) == variants(group[0]) == group


def test_rust_and_python_differ_on_nothing_but_the_letter_i() -> None:
    """Why literal keywords are spelled out. Should this fail, what keywords.py says has to change."""
    for character in TREACHEROUS:
        group = "".join(variants(character))
        plain = pl.Series(list(group)).str.contains(f"(?i){re.escape(character)}")
        assert plain.all() == (character not in "iIİı"), character


@settings(max_examples=200, deadline=None)
@given(
    captions=st.lists(st.text("abü_1 -.", max_size=10), max_size=8),
    keyword=st.text("abü_1-+.", min_size=1, max_size=3),
)
def test_a_whole_word_is_not_a_part_of_another(captions: list[str], keyword: str) -> None:
    word = re.compile(rf"(?<!\w){re.escape(keyword)}(?!\w)", re.IGNORECASE)
    assert found(captions, [keyword], "word") == [bool(word.search(caption)) for caption in captions]


def test_words_of_several_scripts() -> None:
    assert found(["art", "party", "state-of-the-art", "ART!", "art1"], ["art"], "word") == [
        True, False, True, True, False,
    ]  # fmt: skip
    assert found(["ночной сад", "садовник"], ["Сад"], "word") == [True, False]
    assert found(["C++ code", "c+++"], ["c++"], "word") == [True, True]


def test_a_regular_expression_is_used_as_it_is_and_ignores_case_unless_told() -> None:
    captions = ["A1", "a22", "b", "a,b"]
    assert found(captions, [r"a\d{1,2}$", "^B"], "regex") == [True, True, True, False]
    assert found(captions, ["(?-i)a"], "regex") == [False, True, False, True]
    assert found(captions, ["(?P<n>a)", "(?P<n>b)", "(?x)z # )"], "regex") == [True] * 4


@pytest.mark.parametrize("pattern", ["(", "*", "[z-a]", "(?<!a)b", r"\1", "(?P<n"])
def test_a_bad_regular_expression_is_named(pattern: str) -> None:
    with pytest.raises(UsageError, match=r"is not a valid regular expression: ") as caught:
        found(["a"], ["fine", pattern], "regex")
    assert repr(pattern) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_thousands_of_keywords() -> None:
    keywords = [f"straße{n}kilo" for n in range(5 * LITERALS_AT_ONCE)]
    assert found(["STRAẞE999KILO", "straße1000kilo", "x"], keywords) == [True, False, False]
    assert found(["a STRAẞE7KILO", "straße77777kilo"], keywords, "word") == [True, False]


def test_the_nearest_words_that_occur() -> None:
    captions = pl.Series(["A flower garden", "Castle by the sea", None, "", "flowers; FLOWER", "Straße"])
    assert nearest_words(captions, ["flwer"]) == ["flower", "flowers"]
    assert nearest_words(captions, ["castel by"]) == ["by", "castle"]
    assert nearest_words(captions, ["qqq", "(("]) == []


@pytest.mark.parametrize(
    ("pattern", "weighs"),
    [
        ("rose|tulip", 9),
        (r"a\{5}", 4),
        ("a{3}", 3),
        ("a{2,}", 2),
        ("((a{9}){9,}b){9}", 738),
        ("[]a]{3}", 12),
        (r"\w{2,40}", 2400),
        (r"(?i)[\w-]{3}", 181),
        ("a{99999999999}", 999_999_999),
        ("a)){3}", 1),
        ("{4}", 0),
    ],
)
def test_how_much_a_pattern_weighs(pattern: str, weighs: int) -> None:
    assert weight(pattern) == weighs


def test_a_keyword_that_weighs_too_much_is_refused() -> None:
    for pattern in (r"\p{L}{80}", "(a{100}){100}", "a{1000}{1000}"):
        with pytest.raises(UsageError, match="may take any time"):
            any_of(pl.col("caption"), [pattern], "regex")
