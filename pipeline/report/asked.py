"""A recipe in words: what a run was asked for."""

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["asked"]

# A key of [filter] and how its bound reads.
_BOUNDS = {
    "min_score": "score from {}",
    "max_score": "score up to {}",
    "min_width": "at least {} pixels wide",
    "min_height": "at least {} pixels high",
    "min_similarity": "caption fits the picture by {} or more",
    "max_punsafe": "at most {} likely to be unsafe",
    "max_unsafe": "at most {} unsafe by its looks",
    "max_pwatermark": "at most {} likely to have a watermark",
    "min_likeness": "likeness from {}",
    "min_ratings": "rated by {} people or more",
    "where": "where {}",
}
_LISTS = {
    "keywords": "captions say {}",
    "exclude": "captions do not say {}",
    "license": "under {}",
    "like": "look like {}",
    "like_images": "look like {}",
    "unlike": "do not look like {}",
    "unlike_images": "do not look like {}",
}


def asked(recipe: Mapping[str, Any], provenance: Mapping[str, Any], *, drawn: bool = False) -> list[str]:
    """Sentences that say what the run was asked for, from its recipe; from `embedding.json` where none is.

    `drawn`: rows were drawn at random.
    """
    made_of = provenance.get("pictures")
    sentences = [_images(made_of) if made_of else _selection(recipe, drawn=drawn)]
    if description := recipe.get("description"):
        sentences.insert(0, str(description))
    model = provenance.get("model") or recipe.get("encode") or {}
    if isinstance(model, Mapping) and (name := model.get("name") or model.get("model")):
        weights = model.get("pretrained")
        reduction = provenance.get("reduction") or (recipe.get("encode") or {}).get("reduce") or ""
        with_what = f"{name} {weights or ''}".rstrip()
        sentences.append(f"Encoded by {with_what}; reduced by {reduction}." if reduction else f"{with_what}.")
    return [sentence for sentence in sentences if sentence]


def _images(names: Sequence[Any]) -> str:
    return f"All pictures of {_listed([str(each) for each in names[:5]], 'and')}" + (
        f" and {len(names) - 5} more places." if len(names) > 5 else "."
    )


def _selection(recipe: Mapping[str, Any], *, drawn: bool) -> str:
    section = recipe.get("filter")
    if not isinstance(section, Mapping):
        return ""
    source = recipe.get("source")
    data = source.get("data") if isinstance(source, Mapping) else source
    conditions = [*_list_conditions(section), *_bounds(section)]
    top = section.get("top", "")
    which = f"{top} rows of {data}, drawn at random," if drawn else f"The best {top} of {data}"
    return f"{which}{' whose ' + '; '.join(conditions) if conditions else ''}."


def _list_conditions(section: Mapping[str, Any]) -> list[str]:
    return [
        text.format(_listed([f"“{each}”" for each in section[key]], "or"))
        for key, text in _LISTS.items()
        if isinstance(section.get(key), (list, tuple)) and section[key]
    ]


def _bounds(section: Mapping[str, Any]) -> list[str]:
    return [text.format(section[key]) for key, text in _BOUNDS.items() if section.get(key) not in (None, "")]


def _listed(items: Sequence[str], word: str) -> str:
    return f"{', '.join(items[:-1])} {word} {items[-1]}" if len(items) > 1 else "".join(items)
