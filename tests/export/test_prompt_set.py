"""The shipped prompts, and how a set is divided."""

from visunex.export import prompt_set


def test_some_hundreds_ship_none_twice_and_short() -> None:
    shipped = prompt_set.read(prompt_set.SHIPPED)
    assert 300 <= len(shipped) == len(set(shipped))
    assert max(map(len, shipped)) < 80


def test_the_three_parts_have_no_prompt_in_common_and_the_seed_says_which() -> None:
    shipped = prompt_set.load(None, 0)
    parts = [set(shipped.train), set(shipped.choose), set(shipped.judge)]
    assert [len(part) for part in parts] == [96, 16, 32]
    assert len(set().union(*parts)) == 96 + 16 + 32
    assert prompt_set.load(None, 0) == shipped != prompt_set.load(None, 1)
    assert all(prompt_set.split([str(place) for place in range(8)], 0).__dict__.values())
