"""The product's names use the field's words: none of those that the first release had in their place."""

import ast
import re
from collections.abc import Iterator

from house import modules

OLD = {
    *("picture", "pictures"),  # image
    *("tower", "towers"),  # image encoder, text encoder
    *("had", "told", "untold"),  # downloaded; override; no-op progress
    *("crew", "helper", "helpers"),  # worker pool; worker
    *("stamp", "stamps", "notes"),  # fingerprint; metadata, provenance
    *("known", "mixed", "seeking", "sieve", "making", "cell", "cells", "account"),  # what it holds or does
}


def names_in(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """The names that a module gives to what it defines, with their lines."""
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef() | ast.ClassDef() | ast.AsyncFunctionDef():
                yield node.lineno, node.name
            case ast.arg():
                yield node.lineno, node.arg
            case ast.Name(ctx=ast.Store()):
                yield node.lineno, node.id
            case ast.Attribute(ctx=ast.Store()):
                yield node.lineno, node.attr


def words(name: str) -> set[str]:
    """`ImageEncoder`, `image_encoder` -> image, encoder."""
    return {part.lower() for part in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)}


def test_names_use_the_fields_words() -> None:
    found = [f"{path}:{line} {name}" for path, tree in modules().items() for line, name in names_in(tree)]
    found += [f"{path} {path.stem}" for path in modules()]
    wrong = [each for each in found if words(each.rpartition(" ")[2]) & OLD]
    assert not wrong, "\n".join(["names with words of the first release:", *wrong])
