"""Prompts in the web UI's syntax, against a plain reading of its rule that shares no code with ours."""

import contextlib
import copy
import re
import time
from itertools import groupby

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from web_ui_rule import letters_of, rows_of

from visunex.generate.additions.words import with_words
from visunex.generate.errors import UsageError
from visunex.generate.syntax import Piece, as_letters, chunks_of, resolved, weigh, weighted
from visunex.generate.syntax.chunks import empty_chunk
from visunex.generate.tokens import clip_tokenizer

LENGTH = 77
NETWORKS = ("lora ", "lyco ", "hypernet ")


@pytest.fixture(scope="module")
def tokenizer():
    return clip_tokenizer()


PROMPTS = st.lists(
    st.sampled_from(
        [
            *["a", "castle", " ", ",", ", ", "(", ")", "[", "]", ":", ":1.2)", ": .5 )", ":-2)", "\\", "\\("],
            *["BREAK", " BREAK ", "xBREAK", "BREAK1", "1.5", "\n", "é", "(b:1.3)", "((c))", "[d]", "::)"],
        ]
    ),
    max_size=25,
).map("".join)


@given(PROMPTS)
@settings(max_examples=300, deadline=None)
def test_pieces_are_those_of_a_plain_reading(text):
    letters = groupby(letters_of(text), key=lambda each: each[1:])
    expected = [(number, "".join(each[0] for each in group), weight) for (weight, number), group in letters]
    found = [
        (number, piece.text, piece.weight)
        for number, section in enumerate(weighted(text))
        for piece in section
    ]
    assert found == [each for each in expected if each[1]]


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("normal text", [("normal text", 1.0)]),
        ("an (important) word", [("an ", 1.0), ("important", 1.1), (" word", 1.0)]),
        ("(unbalanced", [("unbalanced", 1.1)]),
        ("\\(literal\\]", [("(literal]", 1.0)]),
        ("(unnecessary)(parens)", [("unnecessaryparens", 1.1)]),
        (
            "a (((house:1.3)) [on] a (hill:0.5), sun, (((sky))).",
            [
                *[("a ", 1.0), ("house", 1.573), (" ", 1.1), ("on", 1.0), (" a ", 1.1), ("hill", 0.55)],
                *[(", sun, ", 1.1), ("sky", 1.4641), (".", 1.1)],
            ],
        ),
        ("4:3, a 1:2)", [("4:3, a 1:2)", 1.0)]),
        ("", []),
    ],
)
def test_pieces(text, pieces):
    (section,) = weighted(text)
    assert [piece.text for piece in section] == [words for words, _ in pieces]
    assert [piece.weight for piece in section] == pytest.approx([weight for _, weight in pieces])


@given(PROMPTS | st.text())
@settings(max_examples=100, deadline=None)
def test_words_written_as_letters_are_read_as_these_words(text):
    ((*pieces,),) = weighted(as_letters(text))
    assert "".join(piece.text for piece in pieces) == re.sub(
        r"\b(BREAK|AND)\b", lambda found: found[0].lower(), text
    )
    assert all(piece.weight == 1 for piece in pieces)
    assert not [each for each in resolved(as_letters(text)).left_out if not each.startswith(NETWORKS)]


def test_break_begins_a_section_between_brackets_too():
    assert weighted("a BREAK (b\nBREAK c:2) BREAKS") == (
        (Piece("a", 1.0),),
        (Piece("b", 2.0),),
        (Piece("c", 2.0), Piece(" BREAKS", 1.0)),
    )


def test_what_no_text_encoder_could_use_is_refused():
    with pytest.raises(UsageError, match="multiply to 1e\\+07"):
        weighted("a (castle:10000000)")
    with pytest.raises(UsageError, match="more than 100 brackets"):
        weighted("(" * 101)
    assert len(weighted("(a)" * 10_000)) == 1


WORDS = st.lists(
    st.one_of(
        st.sampled_from(["a", ",", ", ", "(b:1.3)", " BREAK ", "c [d], ", "e" * 30]),
        st.integers(1, 80).map(lambda count: "x " * count),
        st.integers(50, 80).map(lambda count: "y " * count + ", " + "z " * (78 - count)),
    ),
    max_size=8,
).map(" ".join)


@given(WORDS)
@settings(max_examples=50, deadline=None)
def test_chunks_are_those_of_the_rule(tokenizer, text):
    sections = weighted(text)
    ids = [
        [
            (tokenizer(piece.text, add_special_tokens=False, verbose=False).input_ids, piece.weight)
            for piece in each
        ]
        for each in sections
    ]
    found = chunks_of(sections, tokenizer, LENGTH)
    assert [list(zip(chunk.ids, chunk.weights, strict=True)) for chunk in found] == rows_of(ids, tokenizer)


@pytest.mark.parametrize("pad", ["<|endoftext|>", "!"])
def test_a_short_prompt_without_weights_is_as_the_tokenizer_gives_it(pad):
    tokenizer = clip_tokenizer(pad)
    for text in ("", " ", "a castle, at night", "y " * 75):
        (chunk,) = chunks_of(weighted(text), tokenizer, LENGTH)
        plain = tokenizer(text, padding="max_length", max_length=LENGTH, truncation=True).input_ids
        assert list(chunk.ids) == plain
        assert set(chunk.weights) == {1.0}
    assert (empty_chunk(tokenizer, LENGTH),) == chunks_of(weighted(""), tokenizer, LENGTH)


def test_where_a_long_prompt_is_cut(tokenizer):
    def words(text: str) -> list[int]:
        return [chunk.words for chunk in chunks_of(weighted(text), tokenizer, LENGTH)]

    assert words("x " * 76) == [75, 1]
    assert words("x " * 60 + ", " + "x " * 20) == [61, 20]
    assert words("x " * 54 + ", " + "x " * 26) == [75, 6]  # the comma is too far away
    assert words("x " * 75 + ", y") == [75, 2]
    assert words("BREAK a BREAK BREAK b BREAK") == [0, 1, 0, 1]
    with pytest.raises(UsageError, match="33 chunks of 75 tokens"):
        words("x " * 75 * 32 + "y")


@pytest.mark.parametrize("whose", ["ours", "diffusers"])
def test_a_word_of_several_vectors_is_not_parted(tokenizer, whose):
    if whose == "ours":
        tokenizer, word = with_words(tokenizer, {"style": 4, "other": 1}), "style"
    else:
        tokenizer, word = copy.deepcopy(tokenizer), "<s> <s>_1 <s>_2 <s>_3"
        tokenizer.add_tokens(word.split())
    for before in (70, 71, 72, 74, 75):
        first, second = chunks_of(weighted(f"{'x ' * before}({word}:1.5) {'y ' * 5}"), tokenizer, LENGTH)
        assert first.words == (before if before > 71 else 75)
        assert first.words + second.words == before + 9
        assert [*first.weights, *second.weights].count(1.5) == 4


@given(st.data())
@settings(max_examples=50, deadline=None)
def test_weights_scale_each_token_and_the_mean_of_each_chunk_stays(data):
    count, length, width = (data.draw(st.integers(1, most)) for most in (3, 6, 4))
    seed = data.draw(st.integers(0, 1000))
    states = torch.randn(count, length, width, generator=torch.Generator().manual_seed(seed))
    weights = torch.tensor(
        data.draw(
            st.lists(st.sampled_from([0.5, 1.0, 1.1, 2.0]), min_size=count * length, max_size=count * length)
        )
    ).reshape(count, length)
    found = weigh(states, weights)
    for row in range(count):
        total = sum(float(value) for token in states[row] for value in token)
        laid = [
            [float(value) * float(weight) for value in token]
            for token, weight in zip(states[row], weights[row], strict=True)
        ]
        after = sum(map(sum, laid))
        if abs(after) < 1e-2:
            continue
        expected = [[value * total / after for value in token] for token in laid]
        assert found[row].tolist() == [pytest.approx(token, rel=1e-3, abs=1e-4) for token in expected]


def test_states_without_weights_come_back_as_they_are():
    states = torch.randn(1, LENGTH, 8, dtype=torch.float16)
    assert weigh(states, torch.ones(1, LENGTH)) is states
    assert weigh(states, torch.full((1, LENGTH), 1.5)).dtype == torch.float16
    around_zero = torch.tensor([[[1.0], [1.0], [-2.0 + 1e-6]]])
    assert weigh(around_zero, torch.tensor([[2.0, 1.0, 1.5]]))[0, 0, 0] == 2


@pytest.mark.parametrize(
    ("prompt", "text", "left_out"),
    [
        ("a (b:1.2) [c] \\(d BREAK e", "a (b:1.2) [c] \\(d BREAK e", ()),
        ("[day:night:0.5] x", "day x", ("words that change on the way",)),
        ("[:night: .5] [(a:1.2)::9]", "night (a:1.2)", ("words that change on the way",)),
        ("[cow|(horse:1.1)|cat]", "cow", ("alternating words",)),
        ("[[a:b:.5]|c]", "a", ("words that change on the way", "alternating words")),
        ("[castle: at night] (a|b)", "[castle: at night] (a|b)", ()),
        ("<lora:x:1> a,<hypernet:y>", "a", ("hypernet y", "lora x")),
        ("a AND b :1.2", "a , b :1.2", ("AND between prompts",)),
        ("a) ]b[ : (", "a) ]b[ : (", ()),
    ],
)
def test_what_is_not_done_here_is_left_out(prompt, text, left_out):
    found = resolved(prompt)
    assert (found.text, found.left_out) == (text, left_out)


@pytest.mark.parametrize("text", ["(", "[a:", " ", "<lora:", "a:1", ":" + "1" * 50])
def test_any_text_is_read_in_time_by_its_length(tokenizer, text):
    began = time.process_time()
    long = text * ((1 << 16) // len(text))
    resolved(long)
    with contextlib.suppress(UsageError):
        chunks_of(weighted(long), tokenizer, LENGTH)
    assert time.process_time() - began < 10
