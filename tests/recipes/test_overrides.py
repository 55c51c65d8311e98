"""One way for `--set`, options and arguments: each is called in messages what the person wrote."""

import pytest
from click.testing import CliRunner

from visunex.pipeline.cli import main
from visunex.recipes import Override, OverrideError, Recipe, override

RECIPE = Recipe(name="mine")


def test_the_last_of_a_key_holds_whatever_gave_it() -> None:
    given = [Override("filter.top", 5, "--top"), "filter.top=7"]
    assert override(RECIPE, given).filter.top == 7
    assert override(RECIPE, given[::-1]).filter.top == 5
    assert override(RECIPE, [Override("filter.top", None, "--top")]).filter.top == 2000


def test_options_and_settings_are_judged_together() -> None:
    """Each alone would be a fault: a reserve of 5 for 2000 pictures."""
    assert override(RECIPE, [Override("filter.reserve", 5, "--reserve"), "filter.top=3"]).filter.reserve == 5


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([Override("filter.top", 0, "--top")], "--top: must be at least 1, not 0"),
        ([Override("filter.keywords", ["a", ""], "--keywords")], "--keywords: must not be empty"),
        (
            [Override("filter.top", 9, "--top"), Override("filter.reserve", 5, "--reserve")],
            "filter: reserve = 5 counts all candidates, so it cannot be below top = 9",
        ),
        (
            [Override("filter.top", 0, "--top"), Override("encode.batch_size", 0, "--batch-size")],
            "--batch-size: must be at least 1, not 0; --top: must be at least 1, not 0",
        ),
        (["filter.top=0"], "mine: --set filter.top: must be at least 1, not 0"),
        (
            [Override("filter.top", 0, "--top"), "filter.min_width=0"],
            "mine has 2 faults:\n  --set filter.min_width: must be at least 1, not 0\n"
            "  --top: must be at least 1, not 0",
        ),
    ],
)
def test_a_fault_is_called_what_brought_it(given: list[str | Override], said: str) -> None:
    with pytest.raises(OverrideError) as caught:
        override(RECIPE, given)
    faults = sorted(str(caught.value).split("; "))
    assert "; ".join(faults) == said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--min-width", "0"), "Error: --min-width: must be at least 1, not 0\n"),
        (("--keywords", "a,,b"), "Error: --keywords: must not be empty\n"),
        (("--url-column", ""), "Error: --url-column: must not be empty\n"),
        (("--set", "filter.top=0"), "Error: custom: --set filter.top: must be at least 1, not 0\n"),
        (("--reserve", "1"), "Error: filter: reserve = 1 counts all candidates"),
        (("--match", "regex", "--keywords", "a{1,2}", "--top", "0"), "Error: --top: must be at least 1"),
    ],
)
def test_the_command_line_says_its_options_names(arguments: tuple[str, ...], said: str) -> None:
    result = CliRunner().invoke(main, ["filter", "none.parquet", *arguments])
    assert (result.exit_code, result.stderr.startswith(said)) == (2, True), result.stderr
