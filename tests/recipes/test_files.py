"""Recipes in and out: round trips, overrides, and every fault told at once with its line."""

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from visunex import recipes
from visunex.base.errors import UsageError
from visunex.recipes import OverrideError, Recipe, RecipeError, describe, faults

TEXTS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20).filter(lambda text: text.strip() != "")
SCORES = st.floats(-1e6, 1e6)


@st.composite
def any_recipe(draw: st.DrawFn) -> Recipe:
    """Recipes with keys of every type, set or not."""
    low, high = sorted((draw(SCORES), draw(SCORES)))
    top = draw(st.integers(1, 10**9))
    data: dict[str, Any] = {
        "name": draw(st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,9}", fullmatch=True)),
        "description": draw(st.text(st.characters(codec="utf-8"), max_size=30)),
        "source": {"data": draw(TEXTS), "columns": draw(st.dictionaries(st.just("url"), TEXTS))},
        "filter": {
            "keywords": draw(st.lists(TEXTS, max_size=3)),
            "match": draw(st.sampled_from(["substring", "word", "regex"])),
            "min_score": draw(st.none() | st.just(low)),
            "max_score": draw(st.none() | st.just(high)),
            "where": draw(st.none() | TEXTS),
            "top": top,
            "reserve": draw(st.none() | st.integers(top, 10**9)),
        },
        "download": {"allow_private": draw(st.booleans()), "deadline": draw(st.floats(0.001, 3600))},
        "reference": draw(st.none() | st.fixed_dictionaries({"name": TEXTS})),
        "generate": {"prompt": draw(st.none() | TEXTS), "seed": draw(st.none() | st.integers(0, 2**63))},
    }
    return Recipe.model_validate(data)


@pytest.fixture
def written(tmp_path: Path) -> Any:
    def write(text: str | bytes) -> Path:
        path = tmp_path / "mine.toml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def faults_in(path: Path, *overrides: str) -> list[str]:
    with pytest.raises(RecipeError) as caught:
        recipes.load(path, overrides)
    return [line.strip() for line in str(caught.value).splitlines()]


@pytest.mark.parametrize("name", recipes.names())
def test_a_shipped_recipe_loads_and_comes_back_from_what_is_written_of_it(name: str, written: Any) -> None:
    recipe = recipes.load(name)
    assert recipe.name == name
    assert recipe.description.endswith(".")
    assert recipes.load(written(recipes.dumps(recipe))) == recipe


@settings(max_examples=150, deadline=None)
@given(recipe=any_recipe())
def test_any_recipe_comes_back_from_what_is_written_of_it(
    recipe: Recipe, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("recipe") / "any.toml"
    path.write_text(recipes.dumps(recipe), encoding="utf-8", newline="")
    assert recipes.load(path) == recipe


def test_the_originals_are_as_published() -> None:
    fantasy, flower = recipes.load("fantasy"), recipes.load("flower_plant")
    assert fantasy.filter.keywords == ("fantasy",)
    assert flower.filter.keywords == ("plant", "flower", "floral", "vegetation", "garden")
    for recipe in (fantasy, flower):
        assert recipe.source.data == "improved_aesthetics_6.5plus"
        assert (recipe.filter.top, recipe.encode.reduce) == (2000, "mean")


def test_every_fault_is_told_at_once_with_its_line(written: Any) -> None:
    path = written(
        'name = "bad name"\n'
        "source = 3\n"
        "[filter]\n"
        'keyword = "flower"\n'
        "top = 0\n"
        'keywords = ["a", ""]\n'
        "shard_size = 3\n"
        "zonk = 2\n"
        'match = "glob"\n'
        "min_score = nan\n"
        "[downlod]\n"
        "x = 1\n"
        "[encode]\n"
        'reduce = "contrast"\n'
    )
    first, *others = faults_in(path)
    assert first == f"{path} has 11 faults:"
    assert others[0].startswith("line 1: name: must match")
    assert others[1] == "line 2: source: must be a section, [source], not 3"
    assert others[2] == "line 4: filter.keyword: unknown key; did you mean keywords?"
    assert others[3] == "line 5: filter.top: must be at least 1, not 0"
    assert others[4] == "line 6: filter.keywords[1]: must not be empty"
    assert others[5] == "line 7: filter.shard_size: unknown key here; did you mean download.shard_size?"
    assert others[6].startswith("line 8: filter.zonk: unknown key; there are keywords, match, exclude")
    assert others[7] == "line 9: filter.match: must be one of 'substring', 'word' or 'regex', not 'glob'"
    assert others[8] == "line 10: filter.min_score: must be a finite number, not nan"
    assert others[9] == "line 11: downlod: unknown key; did you mean download?"
    assert others[10].startswith('line 13: encode: reduce = "contrast" and baseline belong together')


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ('name = "x"\n[filter]\ntop = "5"', "line 3: filter.top: must be a whole number, not '5'"),
        ('name = "x"\n[filter]\ntop = true', "line 3: filter.top: must be a whole number, not true"),
        ('name = "x"\n[filter]\ntop = 1.5', "line 3: filter.top: must be a whole number, not 1.5"),
        ('name = "x"\n[filter]\nkeywords = [1]', "line 3: filter.keywords[0]: must be text"),
        ('name = "x"\n[filter]\nmax_punsafe = 2.0', "line 3: filter.max_punsafe: must be at most 1"),
        (
            'name = "x"\nfilter.min_score = 7\nfilter.max_score = 6',
            "line 2: filter: min_score = 7.0 is above",
        ),
        ('name = "x"\nfilter = {top = 10, reserve = 5}', "line 2: filter: reserve = 5 counts all candidates"),
        ('name = "x"\ndescription = """\ntop = 0\n"""\n[filter]\ntop = 0', "line 6: filter.top"),
        ('description = "no name"', "name: is missing"),
        ('name = "x"\n[reference]\nsha256 = "abc"', "reference.name: is missing"),
    ],
)
def test_a_fault_is_told_with_its_line(text: str, fault: str, written: Any) -> None:
    assert any(fault in line for line in faults_in(written(text)))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"name = ", "is not valid TOML: Invalid value (at end of document)"),
        (b'name = "a"\nname = "b"', "Cannot overwrite a value"),
        (b"\x89PNG\r\n\x1a\n\0\0\0", "is not UTF-8 text (line 1)"),
        (b'name = "a"\n\xff', "is not UTF-8 text (line 2)"),
        (b"#" * 200_000, "is larger than 128 KiB"),
        (b"x = " + b"[" * 50_000, "is nested too deeply"),
        (b"a." * 60_000 + b"b = 1", "has more than 200 dots in line 1"),
        (b"x = " + b"9" * 50_000, "holds a value that is none"),
        (b'name = "\\ud800"', "is not valid TOML"),
        (b"<!doctype html><html>", "is not valid TOML"),
    ],
)
def test_a_hostile_file_gets_a_sentence(content: bytes, said: str, written: Any) -> None:
    lines = faults_in(written(content))
    assert len(lines) == 1
    assert said in lines[0]
    assert len(lines[0]) < 600


def test_what_is_no_file_is_not_read(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.toml"
    os.mkfifo(pipe)
    for path, said in [
        (pipe, "is a device or pipe"),
        (tmp_path, "is a folder without a recipe.toml"),
        (tmp_path / "none.toml", "the shipped recipes are"),
        ("fantsy", "did you mean fantasy?"),
        ("nothing_like_it", "there are demo_flower"),
        ("a\0b", "no recipe called"),
    ]:
        with pytest.raises(RecipeError, match=said.replace("?", r"\?")):
            recipes.load(path)


def test_a_run_folder_stands_for_its_recipe_and_a_name_before_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "recipe.toml").write_text('name = "mine"')
    assert recipes.load(tmp_path).name == "mine"
    monkeypatch.chdir(tmp_path)
    Path("fantasy").write_text('name = "other"', encoding="utf-8")
    Path("own.toml").write_text('name = "own"', encoding="utf-8")
    assert recipes.load("fantasy").name == "fantasy"
    assert recipes.load("./fantasy").name == "other"
    with pytest.raises(RecipeError, match=r"for the file say own\.toml"):
        recipes.load("own")


def test_overrides_are_toml_values_or_bare_words() -> None:
    changed = recipes.load(
        "fantasy",
        [
            "filter.top=500",
            "filter.keywords=rose, tulip",
            "filter.exclude=['a, b']",
            "filter.min_score = 6",
            "encode.model=ViT-B-32",
            'description="a = b"',
            "download.allow_private=true",
            "source=my/*.parquet",
            "source.columns.url=link",
            "reference=",
        ],
    )
    assert (changed.filter.top, changed.filter.min_score) == (500, 6.0)
    assert changed.filter.keywords == ("rose", "tulip")
    assert changed.filter.exclude == ("a, b",)
    assert (changed.encode.model, changed.description) == ("ViT-B-32", "a = b")
    assert changed.download.allow_private is True
    assert (changed.source.data, changed.source.columns.url) == ("my/*.parquet", "link")
    assert changed.reference is None


def test_a_regular_expression_keeps_its_commas() -> None:
    changed = recipes.load("fantasy", ["filter.match=regex", "filter.keywords=a{1,2}"])
    assert changed.filter.keywords == ("a{1,2}",)


def test_overrides_may_be_a_mapping_and_repair_a_file(written: Any) -> None:
    path = written('name = "x"\n[filter]\ntop = 0')
    assert recipes.load(path, {"filter.top": 7}).filter.top == 7
    assert recipes.override(recipes.load("fantasy"), {"filter.keywords": ["a"]}).filter.keywords == ("a",)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("filter.top=0", "--set filter.top: must be at least 1, not 0"),
        ('filter.top="5"', "--set filter.top: must be a whole number"),
        ("filter.tpo=5", "--set filter.tpo: unknown key; did you mean top?"),
        ("filter.keywords=a,,b", "--set filter.keywords[1]: must not be empty"),
        ("encode.reduce=contrast", "--set encode: reduce"),
        ("filter=5", "--set filter: must be a section"),
        ("name=", "--set name: is missing"),
        ("top", "is not of the form"),
        ("=5", "is not of the form"),
        ("name.first=x", "--set name: must be text"),
    ],
)
def test_a_senseless_override_is_a_fault_of_usage(override: str, said: str) -> None:
    with pytest.raises(OverrideError) as caught:
        recipes.load("fantasy", [override])
    assert said in str(caught.value)
    assert isinstance(caught.value, UsageError)
    assert caught.value.exit_code == 2


def test_faults_of_file_and_override_come_together(written: Any) -> None:
    path = written('name = "x"\n[filter]\ntop = 0')
    lines = faults_in(path, "encode.batch_size=-1")
    assert lines[1:] == [
        "line 3: filter.top: must be at least 1, not 0",
        "--set encode.batch_size: must be at least 1, not -1",
    ]
    with pytest.raises(RecipeError) as caught:
        recipes.load(path, ["encode.batch_size=-1"])
    assert caught.value.exit_code == 1


@settings(max_examples=200, deadline=None)
@given(text=st.text(max_size=60))
def test_no_text_does_more_than_raise_a_named_error(
    text: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("recipe") / "any.toml"
    path.write_text(text, encoding="utf-8", errors="surrogatepass")
    with pytest.raises(RecipeError):
        recipes.load(path)


def test_every_key_is_described_once_and_stands_in_the_table() -> None:
    table = describe.schema_table()
    for path in faults.all_keys():
        assert table.count(f"| `{'.'.join(path)}` |") == 1
        assert describe.key_field(path).description
    assert '| `filter.match` | `substring`, `word`, `regex` | `"substring"` |' in table
    assert "| `name` | text | required |" in table
