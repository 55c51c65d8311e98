"""The product's code as a tree: its rooms, modules, functions and what imports what. Nothing of it is run."""

import ast
from collections.abc import Iterator
from functools import cache
from itertools import chain
from pathlib import Path

ROOT = Path(__file__).parents[2]
NOT_THE_PRODUCT = ("tests", "benchmarks")
PACKAGES = tuple(
    path.parent.name for path in sorted(ROOT.glob("*/__init__.py")) if path.parent.name not in NOT_THE_PRODUCT
)
Function = ast.FunctionDef | ast.AsyncFunctionDef


@cache
def files() -> frozenset[Path]:
    """Every module of the product, by its path from the root."""
    return frozenset(path.relative_to(ROOT) for name in PACKAGES for path in (ROOT / name).rglob("*.py"))


@cache
def modules() -> dict[Path, ast.Module]:
    """Every module of the product, by its path from the root, parsed: seconds, so never while collecting."""
    return {path: ast.parse((ROOT / path).read_text(encoding="utf-8")) for path in sorted(files())}


@cache
def rooms() -> dict[str, list[Path]]:
    """Every folder of the product with its modules: `pipeline/filter` -> its files."""
    found: dict[str, list[Path]] = {}
    for path in sorted(files()):
        found.setdefault(path.parent.as_posix(), []).append(path)
    return found


def functions(tree: ast.AST) -> Iterator[Function]:
    """Every function and method, nested ones too."""
    return (node for node in ast.walk(tree) if isinstance(node, Function))


def lines(function: Function) -> int:
    """How many lines a function has, from `def` to its end, its docstring aside."""
    first = function.body[0]
    documented = ast.get_docstring(function) is not None
    docstring = (first.end_lineno or 0) - first.lineno + 1 if documented else 0
    return (function.end_lineno or 0) - function.lineno + 1 - docstring


def public(tree: ast.Module) -> Iterator[ast.Module | ast.ClassDef | Function]:
    """What of a module anyone may use: itself, its public functions and classes, and their public methods."""
    yield tree
    for node in tree.body:
        if isinstance(node, ast.ClassDef | Function) and not node.name.startswith("_"):
            yield node
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from (
                inner for inner in node.body if isinstance(inner, Function) and not inner.name.startswith("_")
            )


def symbols(tree: ast.Module | ast.ClassDef, prefix: str = "") -> Iterator[str]:
    """What a module or class defines: functions, classes, constants; what is in classes as `Class.name`."""
    for node in chain.from_iterable(_branches(node) for node in tree.body):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield prefix + name
            case ast.ClassDef(name=name):
                yield prefix + name
                yield from symbols(node, f"{prefix}{name}.")
            case ast.Assign(targets=targets):
                yield from (prefix + target.id for target in targets if isinstance(target, ast.Name))
            case ast.AnnAssign(target=ast.Name(id=name)):
                yield prefix + name


def _branches(node: ast.stmt) -> list[ast.stmt]:
    return [*node.body, *node.orelse] if isinstance(node, ast.If) else [node]


def imported(path: Path) -> Iterator[str]:
    """The modules of ours (or names in them) that a module imports, dotted: `pipeline.metadata.table`."""
    for node in ast.walk(modules()[path]):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            module = _absolute(node, path)
            names = [module, *(f"{module}.{alias.name}" for alias in node.names)]
        else:
            continue
        yield from (name.removeprefix("visunex.") for name in names if name.startswith("visunex."))


def _absolute(node: ast.ImportFrom, path: Path) -> str:
    """The module of a `from ... import`, with the dots of a relative one resolved."""
    if not node.level:
        return node.module or ""
    above = path.parent.parts[: len(path.parent.parts) + 1 - node.level]
    return ".".join(["visunex", *above, *([node.module] if node.module else [])])


@cache
def owner(module: str) -> str:
    """The room (or the module beside the rooms) that a dotted path of ours lies in: `pipeline/metadata`."""
    parts, known = module.split("."), rooms()
    for length in range(len(parts), 0, -1):
        path = "/".join(parts[:length])
        if path in known:
            return path if length > 1 or len(parts) == 1 else _beside(parts)
    raise LookupError(f"no module visunex.{module}")


def _beside(parts: list[str]) -> str:
    """`pipeline/run.py` for what lies in a package of rooms but in none of them, else the package."""
    path = f"{parts[0]}/{parts[1]}.py"
    return path if Path(path) in files() and _has_rooms(parts[0]) else parts[0]


def _has_rooms(package: str) -> bool:
    """Whether a package's rooms and the modules beside them are told apart: those of base are for all."""
    return package != "base" and any(room.startswith(f"{package}/") for room in rooms())


@cache
def users() -> dict[str, list[Path]]:
    """Each room, and each module beside the rooms, with its modules."""
    found: dict[str, list[Path]] = {}
    for path in sorted(files()):
        here = owner(".".join(path.with_suffix("").parts).removesuffix(".__init__"))
        found.setdefault(here, []).append(path)
    return found


def uses(room: str) -> set[str]:
    """What a room, or a module beside the rooms, imports of the others."""
    return {owner(name) for path in users()[room] for name in imported(path)} - {room}
