"""The files about the project agree with one another: version, licence, checks."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def test_the_version_is_the_same_everywhere() -> None:
    assert f'\nversion: "{PROJECT["version"]}"\n' in text("CITATION.cff")
    assert f"\n## {PROJECT['version']} - " in text("CHANGELOG.md")


def test_the_licence_is_the_same_everywhere() -> None:
    assert PROJECT["license"] == "MIT"
    assert text("LICENSE").startswith("MIT License\n")
    assert "\nlicense: MIT\n" in text("CITATION.cff")


def test_the_paper_is_cited_as_in_the_readme() -> None:
    (number,) = set(re.findall(r"arxiv\.org/abs/([\d.]+)", text("README.md")))
    assert f"https://arxiv.org/abs/{number}" in text("CITATION.cff")


def test_a_commit_is_checked_as_make_lint_does() -> None:
    recipe = re.findall(r"^lint:.*\n((?:\t.*\n)+)", text("Makefile"), re.MULTILINE)[0]
    commands = [
        line.strip().replace("$(BIN)", ".venv/bin").replace("$(MAKE) --no-print-directory", "make")
        for line in recipe.splitlines()
    ]
    assert re.findall(r"^ +entry: (.*)$", text(".pre-commit-config.yaml"), re.MULTILINE) == commands
