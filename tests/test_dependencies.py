"""pyproject.toml declares what the code imports, and nothing else; each import where it may stand."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PRODUCT = [package.partition(".")[2] for package in PROJECT["tool"]["importlinter"]["root_packages"]]
TESTS = list((ROOT / "tests").rglob("*.py"))
COMFYUI = {"comfy", "execution", "folder_paths", "nodes"}  # modules of a program that no index has
OURS = {"visunex", "benchmarks", *(path.stem for path in TESTS), *(path.parent.name for path in TESTS)}

# What is imported under another name than it is installed by.
DISTRIBUTIONS = {
    "PIL": "pillow",
    "backports": "backports.zstd",
    "open_clip": "open_clip_torch",
    "pydantic_core": "pydantic",  # which wants one version of it exactly
}
# Imported by no line of ours, and needed all the same.
NEEDED = {"standard-imghdr": "img2dataset imports imghdr, which Python 3.13 removed"}
TOOLS = {
    "coverage",
    "import-linter",
    "mypy",
    "pre-commit",
    "pytest-cov",
    "pytest-xdist",
    "ruff",
    "setuptools",
}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def declared(requirements: list[str]) -> set[str]:
    return {normal(re.split(r"[\s\[<>=!~;]", text, maxsplit=1)[0]) for text in requirements}


def imported(folder: Path) -> Iterator[tuple[str, str]]:
    """What a folder's modules import of others, at their top or later, and where."""
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module or ""]
            for top in {name.partition(".")[0] for name in names}:
                if top not in {*sys.stdlib_module_names, *OURS, *COMFYUI}:
                    where = f"{path.relative_to(ROOT)}:{node.lineno}"
                    yield normal(DISTRIBUTIONS.get(top, top)), where


MAIN = declared(PROJECT["project"]["dependencies"])
EXTRAS = {name: declared(texts) for name, texts in PROJECT["project"]["optional-dependencies"].items()}
DEV = declared(PROJECT["dependency-groups"]["dev"])


@cache
def by(*folders: str) -> dict[str, str]:
    """What is imported in these folders, and where."""
    return {name: where for folder in folders for name, where in imported(ROOT / folder)}


def test_all_that_the_product_imports_is_declared() -> None:
    may = MAIN.union(*EXTRAS.values())
    assert not {name: where for name, where in by(*PRODUCT).items() if name not in may}


def test_all_that_is_declared_is_imported() -> None:
    assert MAIN - by(*PRODUCT).keys() == NEEDED.keys()
    for name, extra in EXTRAS.items():
        assert extra <= by(*PRODUCT).keys(), name
        assert not extra & MAIN, f"{name} is an extra of what everyone has"


def test_what_tests_and_benchmarks_import_is_declared_and_nothing_else() -> None:
    assert not {name: where for name, where in by("tests", "benchmarks").items() if name not in MAIN | DEV}
    assert by("tests", "benchmarks").keys() | set().union(*EXTRAS.values()) >= DEV - TOOLS
    assert not DEV & MAIN
    assert set().union(*EXTRAS.values()) <= DEV, "the tests have every extra"


def test_extras_are_imported_where_they_are_asked_for_and_not_at_a_modules_top() -> None:
    optional = set().union(*EXTRAS.values())
    for package in PRODUCT:
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.parse(path.read_text(encoding="utf-8")).body:
                if isinstance(node, ast.Import | ast.ImportFrom) and not getattr(node, "level", 0):
                    names = {alias.name for alias in node.names} | {getattr(node, "module", "") or ""}
                    assert not {normal(name.partition(".")[0]) for name in names} & optional, path


@pytest.mark.parametrize("text", [*PROJECT["project"]["dependencies"], *PROJECT["dependency-groups"]["dev"]])
def test_every_requirement_has_a_floor(text: str) -> None:
    assert ">=" in text or "python_version" in text


def test_torch_is_of_the_versions_whose_weights_only_is_safe() -> None:
    (torch,) = (text for text in PROJECT["project"]["dependencies"] if re.match(r"torch\b", text))
    floor = re.search(r">=(\d+)\.(\d+)", torch)
    assert floor is not None
    assert tuple(map(int, floor.groups())) >= (2, 6)
