"""`docs/architecture.md` tells the truth about the code, and the code keeps to the rules of the house."""

import ast
import re
import statistics
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from house import PACKAGES, ROOT, functions, lines, modules, public, rooms, symbols, users, uses

PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
MOST_MODULES, MOST_LINES, LONGEST_FUNCTION, MEDIAN_FUNCTION, DOCUMENTED = 14, 350, 45, 8, 0.95
FOR_ALL = ("base", "recipes")  # what any room may use without its row of the table saying so


def table(heading: str) -> list[list[str]]:
    """The rows of all tables under a heading, as cells; the tables' own heads left out."""
    text = PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return [
        [cell.strip() for cell in line.strip().strip("|").split("|")]
        for block in re.findall(r"^\|[-| ]+\|\n((?:\|.*\n)+)", text, re.MULTILINE)
        for line in block.splitlines()
    ]


def code(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


ROOMS = {code(row[0])[0].rstrip("/"): row for row in table("Rooms")}
PLACES = [
    (*code(row[1]), *code(row[2])) for row in [*table("To change"), *table("The way of a row to a picture")]
]


def test_the_table_has_every_room_and_no_other() -> None:
    described = {name for name in ROOMS if not name.endswith(".py")}
    assert described == set(rooms())


def test_the_modules_beside_the_rooms_are_described() -> None:
    beside = {
        path.as_posix()
        for package in ("pipeline", "generate", "studio")
        for path in rooms()[package]
        if path.name not in ("__init__.py", "__main__.py")
    }
    assert {name for name in ROOMS if name.endswith(".py")} == beside


def allowed(room: str) -> Iterator[str]:
    """What a room's row lets it import; a name ends in / where all that is below it is meant."""
    package, cell = room.partition("/")[0], ROOMS[room][-1]
    yield from (*FOR_ALL, f"{package}/errors.py")
    if cell == "all below":
        yield f"{package}/"
    for name in code(cell):
        own = (f"{package}/{name}", f"{package}/{name}.py")
        here = [path for path in own if path in ROOMS]
        yield from here or [name]
        yield f"{here[0] if here else name}/"


@pytest.mark.parametrize("room", sorted(room for room in users() if not room.endswith("/__main__.py")))
def test_a_room_imports_what_its_row_names(room: str) -> None:
    may = tuple(allowed(room))
    wrong = {
        other
        for other in uses(room)
        if other not in may and not other.startswith(tuple(name for name in may if name.endswith("/")))
    }
    assert not wrong, (
        f"{room} uses {', '.join(sorted(wrong))}, which its row in docs/architecture.md does not name"
    )


def keys(data: Any) -> Iterator[str]:
    """Every key of a TOML document."""
    if isinstance(data, dict):
        for key, value in data.items():
            yield key
            yield from keys(value)


def test_the_page_says_where_each_thing_is_changed() -> None:
    asked = {
        "User-Agent",
        "TSV",
        "batch size on a GPU",
        "`contrast`",
        "grid's labels",
        "LAION set",
        "deadline",
    }
    answered = " ".join(row[0] for row in table("To change"))
    assert not {question for question in asked if question not in answered}


@pytest.mark.parametrize(("file", "symbol"), PLACES)
def test_what_the_page_names_is_there(file: str, symbol: str) -> None:
    path = Path(file)
    if path.suffix == ".py":
        assert symbol in set(symbols(modules()[path]))
    elif path.suffix == ".toml":
        assert symbol in set(keys(tomllib.loads((ROOT / path).read_text(encoding="utf-8"))))
    else:
        assert symbol in (ROOT / path).read_text(encoding="utf-8")


FILE = re.compile(r"(?:[\w.]+/)*\w+\.(?:py|toml|j2|md)|(?:[a-z_0-9]+/)+")


@pytest.mark.parametrize("page", [PAGE, CONTRIBUTING], ids=["architecture", "CONTRIBUTING"])
def test_files_that_a_page_names_are_there(page: str) -> None:
    named = {name for name in code(page) if FILE.fullmatch(name) and "/" in name}
    outputs = {"shards/", "vectors/", "outputs/", "exports/", "contact/"}  # of a run and the studio
    assert not {name for name in named - outputs if not (ROOT / name).exists()}


def items() -> list[str]:
    """The steps in CONTRIBUTING that say how something is added."""
    steps = CONTRIBUTING.partition("## How to add")[2]
    return re.findall(r"^\d\. .*\n(?:   .*\n)*", steps, re.MULTILINE)


@pytest.mark.parametrize("item", items())
def test_contributing_names_what_is_in_the_files(item: str) -> None:
    files = [ROOT / name for name in code(item) if FILE.fullmatch(name)]
    text = "\n".join(path.read_text(encoding="utf-8") for path in files if path.is_file())
    named = [name for name in code(item) if re.fullmatch(r"[A-Za-z_]\w*", name)]
    assert not [name for name in named if not re.search(rf"\b{name}\b", text)]


def test_the_page_has_the_layers_that_are_checked() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    (contract,) = [each for each in project["tool"]["importlinter"]["contracts"] if each["type"] == "layers"]
    block = re.findall(r"```\n(.*?)```", PAGE.partition("\n## Layers\n")[2], re.DOTALL)[0]
    shown = [
        [name.removesuffix(".py").replace("/", ".") for name in line.split()] for line in block.splitlines()
    ]
    assert shown == [layer.replace("visunex.", "").split(" | ") for layer in contract["layers"]]


@pytest.mark.parametrize("room", rooms())
def test_a_folder_can_be_taken_in_at_a_glance(room: str) -> None:
    assert len([path for path in rooms()[room] if path.name != "__init__.py"]) <= MOST_MODULES


@pytest.mark.parametrize("room", rooms())
def test_functions_of_a_room_are_of_a_few_lines(room: str) -> None:
    lengths = [lines(function) for path in rooms()[room] for function in functions(modules()[path])]
    assert statistics.median(lengths or [0]) <= MEDIAN_FUNCTION


def test_no_function_is_long() -> None:
    found = [
        f"{path}:{function.lineno} {function.name}: {lines(function)} lines"
        for path, tree in modules().items()
        for function in functions(tree)
        if lines(function) > LONGEST_FUNCTION
    ]
    assert not found


def test_no_file_is_long() -> None:
    sizes = {
        path.as_posix(): len((ROOT / path).read_text(encoding="utf-8").splitlines()) for path in modules()
    }
    assert not {path: size for path, size in sizes.items() if size > MOST_LINES}


@pytest.mark.parametrize("package", PACKAGES)
def test_what_is_public_is_documented(package: str) -> None:
    found = [node for path, tree in modules().items() if path.parts[0] == package for node in public(tree)]
    documented = sum(ast.get_docstring(node) is not None for node in found)
    assert documented >= DOCUMENTED * len(found)
