"""The files about the project agree with one another: version, licence, checks."""

import ast
import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT = PYPROJECT["project"]
PACKAGES = PYPROJECT["tool"]["setuptools"]["package-dir"].values()


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


def without_encoding(tree: ast.AST) -> list[int]:
    """Lines that read or write text in the encoding of whichever locale the command was started in."""
    found = []
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        name = getattr(call.func, "attr", getattr(call.func, "id", ""))
        modes = [arg.value for arg in call.args[-1:] if isinstance(arg, ast.Constant)]
        text_mode = any(re.fullmatch("[rwax][t+]*", str(mode)) for mode in modes)
        asks = (isinstance(call.func, ast.Attribute) and name in ("read_text", "write_text")) or (
            name in ("open", "fdopen") and text_mode
        )
        if asks and not any(keyword.arg == "encoding" for keyword in call.keywords):
            found.append(call.lineno)
    return found


def test_no_file_is_read_in_the_encoding_of_the_locale() -> None:
    assert without_encoding(ast.parse("path.read_text()\nopen(path, 'w')\nfile.open('r')")) == [1, 2, 3]
    packages = [ROOT / name for name in (*PACKAGES, "benchmarks")]
    modules = [module for package in packages for module in package.rglob("*.py")]
    assert len(modules) > 100
    assert {
        str(module.relative_to(ROOT)): lines
        for module in modules
        if (lines := without_encoding(ast.parse(module.read_text(encoding="utf-8"))))
    } == {}
