"""Lines of prompt files: what a person wrote is what is read."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from visunex.generate.errors import UsageError
from visunex.generate.syntax.lines import has_options, options_in

WORDS = st.lists(
    st.sampled_from(
        ["a", "castle's", 'say "hi"', "(b:1.2)", "\\(c\\)", "--", "---", "x--y", "—", "é", "1-2", "--n,x"]
    ),
    min_size=1,
    max_size=5,
).map(" ".join)
NAMES = st.sampled_from(["n", "d", "aesthetic_steps", "negative-prompt", "W"])
QUOTED = st.text(st.sampled_from("ab -\"\\'()"), max_size=10).map(
    lambda text: (text, '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"')
)
BARE = st.sampled_from(["2", "-1", "fog, rain", "it's", "(fog:1.3), \\(b\\)", "", "a -- b"]).map(
    lambda text: (text, text)
)


@given(
    WORDS,
    st.lists(st.tuples(NAMES, BARE | QUOTED, st.sampled_from([" ", "  ", "="])), min_size=1, max_size=4),
)
@settings(max_examples=200, deadline=None)
def test_what_was_written_is_read(prompt, options):
    line = prompt + "".join(f" --{name}{between}{written}" for name, (_, written), between in options)
    assert has_options(line)
    assert not has_options(prompt)
    assert options_in(line) == (prompt, [(name, value) for name, (value, _), _ in options])


@pytest.mark.parametrize(
    ("line", "prompt", "options"),
    [
        ("a castle", "a castle", []),
        ("a --n low quality, bad --d 1 ", "a", [("n", "low quality, bad"), ("d", "1")]),
        ('--prompt "a --n b" c --steps 20', "", [("prompt", "a --n b c"), ("steps", "20")]),
        ("a --n '' --plms", "a", [("n", ""), ("plms", "")]),
        ("a --n 'it\"s' --s=5", "a", [("n", 'it"s'), ("s", "5")]),
    ],
)
def test_lines(line, prompt, options):
    assert options_in(line) == (prompt, options)


def test_a_quote_that_does_not_end_is_named():
    with pytest.raises(UsageError, match="value of --n does not end"):
        options_in('a --d 3 --n "fog --s 5')
