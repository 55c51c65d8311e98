"""Messages in the terms of the command that was run: stages have options, `run` has the recipe's keys."""

import re
from functools import cache
from typing import Any

from visunex.base.console import Command

from .options import option_name

__all__ = ["RecipeCommand", "in_keys"]

# An option and, where the next word is one, its value: no plain word, as "--model needs" has none.
_OPTION = re.compile(
    r"(?<![\w-])(--[a-z][a-z0-9-]*)(?:[= ](?P<value>[\w:/~.+-]*(?:[A-Z0-9:/_-]|\.\w)[\w:/~+-]*(?:\.\w+)*))?"
)


class RecipeCommand(Command):
    """A command that takes settings by `--set KEY=VALUE`: the messages of the stages name its keys."""

    def worded(self, message: str) -> str:
        """`message` with the recipe's keys in place of options that this command does not have."""
        return in_keys(message, own=frozenset(name for each in self.params for name in each.opts))


def in_keys(message: str, own: frozenset[str]) -> str:
    """`message` with `--min-score` as `filter.min_score`, `--top 50` as `--set filter.top=50`.

    Options that the command has itself (`own`), and those that stand for no key, stay.
    """

    def key_of(match: re.Match[str]) -> str:
        option, value = match[1], match["value"]
        if option in own or option not in _keys():
            return match[0]
        return f"--set {_keys()[option]}={value}" if value else _keys()[option]

    return _OPTION.sub(key_of, message)


@cache
def _keys() -> dict[str, str]:
    """Option -> the recipe's key that it sets."""
    from visunex.recipes import Recipe
    from visunex.recipes.schema import Columns, Made

    sections: dict[str, Any] = {
        name: Recipe.model_fields[name].annotation for name in ("encode", "download", "filter")
    }
    keys = {
        option_name(key): f"{section}.{key}"
        for section, model in sections.items()
        for key in model.model_fields
    }
    columns = {
        f"--{name.replace('_', '-')}-column": f"source.columns.{name}" for name in Columns.model_fields
    }
    columns |= {f"--made-{name}": f"source.made.{name}" for name in Made.model_fields}
    return {
        **keys,
        **columns,
        "--like-image": "filter.like_images",
        "--unlike-image": "filter.unlike_images",
        "--column-names": "source.column_names",
    }
