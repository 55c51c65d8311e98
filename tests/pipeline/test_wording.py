"""A message is in the terms of the command that was run, and an unknown name comes with the nearest one."""

import tomllib
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner, Result

from visunex.base.suggest import did_you_mean
from visunex.pipeline.cli import main
from visunex.pipeline.cli.wording import in_keys

OWN = frozenset({"--set", "--run", "--overwrite", "--discard-images"})


def invoke(*args: object) -> Result:
    return CliRunner().invoke(main, [*map(str, args)])


@pytest.mark.parametrize(
    ("message", "worded"),
    [
        ("To try without: --model visunex-tiny", "To try without: --set encode.model=visunex-tiny"),
        ("give --min-score 6.5, or less", "give --set filter.min_score=6.5, or less"),
        ("use --model local-dir:clip. Else", "use --set encode.model=local-dir:clip. Else"),
        ("with --top N.", "with --set filter.top=N."),
        (
            "--keywords needs a column; use --caption-column",
            "filter.keywords needs a column; use source.columns.caption",
        ),
        ("--overwrite starts anew, --run DIR keeps both", "--overwrite starts anew, --run DIR keeps both"),
        ("--discard-images cannot", "--discard-images cannot"),
        ("--like-image a.jpg", "--set filter.like_images=a.jpg"),
        ("run it with --unknown-option 5", "run it with --unknown-option 5"),
    ],
)
def test_run_names_the_keys_of_the_recipe(message: str, worded: str) -> None:
    assert in_keys(message, OWN) == worded


def test_what_run_advises_can_be_given_to_run(tmp_path: Path) -> None:
    pl.DataFrame({"url": ["http://a/1"], "words": ["a garden"]}).write_parquet(tmp_path / "m.parquet")
    recipe = tmp_path / "r.toml"
    recipe.write_text(
        f'name = "r"\n[source]\ndata = "{tmp_path}/m.parquet"\n[filter]\nkeywords = ["rose"]\n', "utf-8"
    )
    said = invoke("run", recipe, "--run", tmp_path / "run").stderr
    assert "--caption-column" not in said
    assert "source.columns.caption" in said
    again = invoke("run", recipe, "--run", tmp_path / "run", "--set", "source.columns.caption=words").stderr
    assert "source.columns.caption" not in again


@pytest.mark.parametrize(("match", "keywords"), [("word", ["rose", "tulip"]), ("regex", ["rose,tulip"])])
def test_run_has_options_for_what_is_asked_most(tmp_path: Path, match: str, keywords: list[str]) -> None:
    """They go before `--set`, and keywords are split at commas where the recipe's own `match` lets them."""
    pl.DataFrame({"url": ["http://a/1"], "caption": ["a garden"]}).write_parquet(tmp_path / "m.parquet")
    recipe, run = tmp_path / "r.toml", tmp_path / "run"
    text = f'name = "r"\n[source]\ndata = "{tmp_path}/m.parquet"\n[filter]\nmatch = "{match}"\n'
    recipe.write_text(text, "utf-8")
    given = ("--set", "filter.reserve=9", "--set", "filter.top=800", "--top", 7, "--keywords", "rose,tulip")
    assert "none of the 1 rows passes" in invoke("run", recipe, "--run", run, *given).stderr
    asked = tomllib.loads((run / "recipe.toml").read_text("utf-8"))["filter"]
    assert (asked["top"], asked["reserve"], asked["keywords"]) == (7, 9, keywords)
    assert "--top" in invoke("run", recipe, "--run", run, "--top", 0).stderr


@pytest.mark.parametrize(
    ("args", "meant"),
    [
        (("fitler",), "filter"),
        (("embeddings", "shwo"), "show"),
        (("recipes", "show", "Flower-Plant"), "flower_plant"),
        (("recipes", "show", "fantasi"), "fantasy"),
        (("embeddings", "show", "sac8plus"), "sac_8plus"),
        (("embeddings", "fetch", "gloomcor"), "gloomcore"),
        (("filter", "laion-aesthetic", "--run", "x"), None),
    ],
)
def test_an_unknown_name_comes_with_the_nearest(
    args: tuple[str, ...], meant: str | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    result = invoke(*args)
    assert result.exit_code in (1, 2)
    assert f"did you mean {meant or ''}" in result.stderr


def test_nothing_near_is_not_proposed() -> None:
    assert did_you_mean("xyzzy", ["flower", "castle"]) == ""
    assert did_you_mean("Flower-Plant", ["flower_plant", "castle"]) == "did you mean flower_plant? "


def test_more_images_than_are_asked_for_cannot_be_the_least() -> None:
    result = invoke("run", "flower_plant", "--set", "filter.top=10", "--set", "download.min_images=11")
    assert result.exit_code in (1, 2)
    assert "filter.top asks for 10" in result.stderr


def test_a_copied_recipe_is_called_after_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from visunex.recipes import load, names, renamed

    monkeypatch.chdir(tmp_path)
    for name in names():
        assert invoke("recipes", "copy", name, f"mine_{name}.toml").exit_code == 0
        copied, shipped = load(tmp_path / f"mine_{name}.toml"), load(name)
        assert copied == shipped.model_copy(update={"name": f"mine_{name}"})
    assert renamed('name = "a"', "not a name") == 'name = "a"'
    assert renamed('[filter]\nname = "a"', "b") == '[filter]\nname = "a"'
