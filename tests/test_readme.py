"""The README is short, the parts of `docs/` made from the code are up to date, and links lead somewhere."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from generated_docs import (
    CLI,
    KEYS,
    RECIPES,
    SOURCES,
    cli_page,
    data,
    evaluate,
    export,
    generate,
    sources_page,
    studio,
    tree,
)

from visunex.recipes.describe import schema_table

ROOT = Path(__file__).parents[1]
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]
LINK = re.compile(r"\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)")
FENCED = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)


def test_the_table_of_recipe_keys_is_the_schemas() -> None:
    assert KEYS.findall(RECIPES.read_text()) == [schema_table()], "run `make docs`"


def test_the_page_of_commands_is_the_commands_own() -> None:
    assert CLI.read_text() == cli_page(), "run `make docs`"


def test_the_page_of_sources_is_the_catalogues() -> None:
    assert SOURCES.read_text() == sources_page(), "run `make docs`"


def test_the_readme_is_read_in_one_go() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) < 200


def anchors(page: Path) -> set[str]:
    """The names under which GitHub links to a page's headings."""
    headings = re.findall(r"^#+ (.*)$", FENCED.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken(page: Path) -> Iterator[str]:
    """The links of a page to files that are not there, or to headings that their page does not have."""
    for path, anchor in LINK.findall(FENCED.sub("", page.read_text(encoding="utf-8"))):
        target = page.parent / path if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            yield f"{path}#{anchor}" if anchor else path


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    assert list(broken(page)) == []


COMMANDS = {
    **dict(tree(data, "visunex-data")),
    **dict(tree(generate, "visunex-generate")),
    **dict(tree(export, "visunex-export")),
    **dict(tree(evaluate, "visunex-evaluate")),
    **dict(tree(studio, "visunex-studio")),
}
SHOWN = [
    command
    for page in PAGES
    if page.name not in ("benchmarks.md", "cli.md")
    for command in re.findall(
        r"\b(visunex-(?:data|generate|export|evaluate|studio) .*?)(?=&& visunex-|`|$)",
        page.read_text(),
        re.MULTILINE,
    )
]


@pytest.mark.parametrize("line", SHOWN)
def test_a_command_that_is_shown_can_be_given(line: str) -> None:
    words = shlex.split(line, comments=True)
    name = next(name for end in (3, 2, 1) if (name := " ".join(words[:end])) in COMMANDS)
    options = {option for param in COMMANDS[name].params for option in (*param.opts, *param.secondary_opts)}
    given = {word.partition("=")[0] for word in words if word.startswith("-")}
    assert not given - options - {"-h", "--help"}
