"""`visunex-data filter`: options, exit codes, and what is said when something is wrong."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner, Result
from filtering import rows

from visunex import recipes
from visunex.pipeline.cli import main
from visunex.recipes import Columns, Filter


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with metadata of five rows."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("VISUNEX_RUN", raising=False)
    rows(
        "red rose", "rose garden", "oak", "tulip, a{2}", None, WIDTH=[900, 500, 900, 900, 900]
    ).write_parquet(tmp_path / "m.parquet")
    return tmp_path


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["filter", *arguments])


def selected(run: str = "runs/default") -> list[str]:
    return pl.read_parquet(Path(run) / "selected.parquet")["caption"].to_list()


def test_it_writes_the_selection_and_tells_the_counts(here: Path) -> None:
    result = invoke("m.parquet", "--keywords", "rose,oak", "--exclude", "garden", "--top", "1")
    assert result.exit_code == 0, result.output
    assert selected() == ["red rose", "oak"]
    assert result.stdout.splitlines()[0] == "5 rows of m.parquet"
    assert "2  selected: the 1 best, and 1 in reserve" in result.stdout


def test_json_goes_to_stdout_alone(here: Path) -> None:
    report = json.loads(invoke("m.parquet", "--keywords", "rose", "--json").stdout)
    assert report["rows"] == sum(report["dropped"].values()) + report["selected"] == 5


def test_keywords_are_split_at_commas_and_repeated_unless_they_are_expressions(here: Path) -> None:
    assert invoke("m.parquet", "--keywords", "oak, red", "--keywords", "garden", "--run", "a").exit_code == 0
    assert selected("a") == ["red rose", "rose garden", "oak"]
    assert invoke("m.parquet", "--match", "regex", "--keywords", r"a\{2,?\}", "--run", "b").exit_code == 0
    assert selected("b") == ["tulip, a{2}"]
    Path("mine.toml").write_text(
        'name = "mine"\nsource = "m.parquet"\n[filter]\nmatch = "regex"', encoding="utf-8"
    )
    assert invoke("--recipe", "mine.toml", "--keywords", "e{1,1}d", "--run", "c").exit_code == 0
    assert selected("c") == ["red rose"]


def test_a_recipe_to_start_from_and_settings_over_it(here: Path) -> None:
    arguments = ["m.parquet", "--recipe", "flower_plant", "--min-width", "600", "--set", "filter.top=7"]
    result = invoke(*arguments, "--keywords", "rose,oak", "--run", "x")
    assert result.exit_code == 0, result.output
    recipe = recipes.load("x")
    assert (recipe.name, recipe.filter.top, recipe.filter.min_width) == ("flower_plant", 7, 600)
    assert (recipe.filter.keywords, recipe.source.data) == (("rose", "oak"), "m.parquet")
    assert selected("x") == ["red rose", "oak"]


def test_columns_can_be_told(here: Path) -> None:
    pl.read_parquet("m.parquet").rename({"URL": "link"}).write_parquet("n.parquet")
    assert invoke("n.parquet", "--url-column", "LINK", "--caption-column", "text").exit_code == 0
    assert recipes.load("runs/default").source.columns.url == "LINK"


def test_each_key_of_the_recipe_has_its_option(here: Path) -> None:
    shown = invoke("--help").stdout
    for key in Filter.model_fields:
        assert f"--{key.replace('_', '-')} " in shown
    for role in Columns.model_fields:
        assert f"--{role}-column" in shown


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--keywords", ""], "--keywords"),
        (["--keywords", "a,,b"], "--keywords: must not be empty"),
        (["--top", "0"], "--top: must be at least 1, not 0"),
        (["--top", "many"], "--top"),
        (["--reserve", "5", "--top", "9"], "cannot be below top = 9"),
        (["--min-score", "8", "--max-score", "7"], "min_score = 8.0 is above max_score = 7.0"),
        (["--min-score", "nan"], "--min-score: must be a finite number"),
        (["--max-punsafe", "1.5"], "--max-punsafe"),
        (["--match", "glob"], "--match"),
        (["--match", "regex", "--keywords", "("], "keyword '(' is not a valid regular expression"),
        (["--where", "width > 1"], "the columns are URL, TEXT"),
        (["--set", "filter.tpo=5"], "did you mean top?"),
        (["--set", "nonsense"], "is not of the form section.key=value"),
        (["--colour", "red"], "No such option"),
        (["other.parquet"], "put a pattern in quotes"),
    ],
)
def test_senseless_usage_ends_with_2_and_a_sentence(here: Path, arguments: list[str], said: str) -> None:
    result = invoke("m.parquet", *arguments)
    assert (result.exit_code, said in result.stderr) == (2, True), result.stderr
    assert "Traceback" not in result.stderr
    assert not Path("runs/default/selected.parquet").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["m.parquet", "--keywords", "rosse"], "Words that do occur: rose"),
        (["none.parquet"], "there is no file, folder or known data set 'none.parquet'"),
        (["--recipe", "nothing"], "no recipe called 'nothing'"),
        (["m.parquet", "--score-column", "stars"], "there are URL, TEXT"),
        (["https://nowhere.invalid/m.parquet"], "nowhere.invalid cannot be reached"),
        (["--keywords", "rose"], "larger LAION-aesthetics set with --min-score 6.5"),
    ],
)
def test_what_fails_ends_with_1_and_a_sentence(here: Path, arguments: list[str], said: str) -> None:
    result = invoke(*arguments)
    assert (result.exit_code, said in result.stderr) == (1, True), result.stderr
    assert result.stderr.count("\n") <= 4
    assert "Traceback" not in result.stderr


def test_another_selection_is_refused_and_overwritten_when_asked(here: Path) -> None:
    assert invoke("m.parquet", "--keywords", "rose").exit_code == 0
    refused = invoke("m.parquet", "--keywords", "oak")
    assert (refused.exit_code, "keywords changed since" in refused.stderr) == (1, True)
    assert selected() == ["red rose", "rose garden"]
    assert invoke("m.parquet", "--keywords", "oak", "--overwrite").exit_code == 0
    assert selected() == ["oak"]


def test_ctrl_c_ends_with_130_at_once(here: Path) -> None:
    """In the middle of a scan that takes long: the same file a thousand times, a slow condition each time."""
    rows(*[f"rose {n}" for n in range(20_000)]).write_parquet("big.parquet")
    Path("many").mkdir()
    for n in range(1000):
        os.link("big.parquet", f"many/{n}.parquet")
    command = [
        sys.executable,
        "-m",
        "visunex.pipeline",
        "filter",
        "many",
        "--where",
        "TEXT ~ '(a|b|c)*xy'",
    ]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    while not Path("runs/default/.visunex/filter.json").exists() and process.poll() is None:
        time.sleep(0.01)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    start = time.monotonic()
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert time.monotonic() - start < 20
    assert "Interrupted" in said
    assert "Traceback" not in said
    assert not Path("runs/default/selected.parquet").exists()
