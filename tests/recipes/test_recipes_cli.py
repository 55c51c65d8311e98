"""`visunex-data recipes`: list, show, validate, copy."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from visunex import recipes
from visunex.pipeline.cli.recipes import command


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


def test_list_names_each_recipe_with_its_description() -> None:
    result = invoke("list")
    assert result.exit_code == 0
    assert [line.split()[0] for line in result.stdout.splitlines()] == recipes.names()
    assert json.loads(invoke("list", "--json").stdout)["fantasy"]["description"].startswith("The 2000 best")


def test_show_prints_the_file_or_every_key() -> None:
    assert invoke("show", "fantasy").stdout == recipes.find("fantasy").read_text()
    shown = json.loads(invoke("show", "fantasy", "--json").stdout)
    assert shown["filter"]["keywords"] == ["fantasy"]
    assert shown["filter"]["dedupe"] == "url"


def test_validate_tells_every_fault_of_every_file(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.toml", tmp_path / "bad.toml"
    good.write_text('name = "good"')
    bad.write_text("[filter]\ntop = 0\nkeyword = 'a'")
    assert invoke("validate", good, "fantasy").stdout == f"{good} is valid\nfantasy is valid\n"
    result = invoke("validate", good, bad, tmp_path / "none.toml")
    assert result.exit_code == 1
    for said in ("name: is missing", "line 2: filter.top", "did you mean keywords?", "no recipe file"):
        assert said in result.stderr
    assert "Traceback" not in result.stderr


def test_copy_never_replaces_a_file_unasked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert invoke("copy", "fantasy").exit_code == 0
    assert recipes.load("fantasy.toml") == recipes.load("fantasy")
    Path("fantasy.toml").write_text('name = "mine"', encoding="utf-8")
    result = invoke("copy", "fantasy")
    assert (result.exit_code, Path("fantasy.toml").read_text(encoding="utf-8")) == (1, 'name = "mine"')
    assert "--overwrite replaces it" in result.stderr
    assert invoke("copy", "fantasy", "--overwrite").exit_code == 0
    Path("folder").mkdir()
    assert invoke("copy", "flower_plant", "folder").exit_code == 0
    assert recipes.load("folder/flower_plant.toml").name == "flower_plant"
    assert invoke("copy", "fantsy").exit_code == 1
