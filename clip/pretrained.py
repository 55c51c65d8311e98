"""Where a model's weights are: on this machine, or on the Hub and how to get them from there."""

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from visunex.base.errors import first_line
from visunex.base.folders import expanded
from visunex.demo import CLIP_FOLDERS, TINY_MODEL

from .errors import ModelError

LOCAL_FOLDER = "local-dir:"
ONLINE_SECONDS = 10.0  # that the Hub may take to answer
_FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
_PREFERRED = (
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.safetensors",
    "open_clip_pytorch_model.bin",
    "open_clip_pytorch_model.pth",
    "model.safetensors",
    "pytorch_model.bin",
    "pytorch_model.pth",
    "model.pth",
)
_CONFIGURATIONS = ("open_clip_config.json", "config.json", "tokenizer_config.json")  # read by what loads it
_ELSEWHERE = frozenset({"auto_map", "custom_pipelines", "hf_model_name", "trust_remote_code"})


@dataclass(frozen=True)
class Checkpoint:
    """A file of weights and what open_clip needs to build the model for it.

    `model` is open_clip's name or `local-dir:PATH`; `settings` (mean, std, interpolation, resize_mode,
    quick_gelu) are those published with the weights.
    """

    model: str
    file: Path
    settings: dict[str, Any]


def locate(model: str, pretrained: str) -> Checkpoint:
    """The weights that `--model` and `--pretrained` mean, fetched from the Hub when they are not here yet.

    Raises ModelError: an unknown model or tag (naming those there are), a folder without weights, or weights
    that are neither cached nor reachable, saying which file is missing and how to bring it.
    """
    if model in CLIP_FOLDERS:
        return _in_folder(CLIP_FOLDERS[model])
    if model.startswith(LOCAL_FOLDER):
        return _in_folder(Path(model.removeprefix(LOCAL_FOLDER)))
    import open_clip

    if model not in open_clip.list_models():
        raise ModelError(f"open_clip knows no model {model!r}; {_nearest(model, open_clip.list_models())}")
    settings = open_clip.get_pretrained_cfg(model, pretrained)
    if settings:
        return Checkpoint(model, _published(model, pretrained, settings), settings)
    if Path(pretrained).is_file():
        return Checkpoint(model, Path(pretrained), {})
    tags = open_clip.list_pretrained_tags_by_model(model)
    raise ModelError(
        f"{model} has no weights {pretrained!r}, and there is no such file; "
        f"published are {', '.join(tags) or 'none'}"
    )


def _in_folder(folder: Path) -> Checkpoint:
    config = folder / "open_clip_config.json"
    try:
        described = json.loads(config.read_text(encoding="utf-8"))
        settings = described.get("preprocess_cfg", {})
        described["model_cfg"]["vision_cfg"]  # has to be there
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ModelError(f"{folder} is no open_clip folder: {config.name}: {_short(error)}") from None
    _require_no_code(folder)
    return Checkpoint(f"{LOCAL_FOLDER}{folder}", _weights_in(folder), settings)


def _require_no_code(folder: Path) -> None:
    """Raise ModelError where a folder's configuration has other code or other models loaded.

    open_clip hands such names to transformers and timm, which run what lies behind them after a `y`, and
    with `trust_remote_code` without asking.
    """
    for path in (folder / name for name in _CONFIGURATIONS):
        try:
            described = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            continue
        except (OSError, ValueError, RecursionError) as error:
            raise ModelError(f"{path} cannot be read: {_short(error)}") from None
        for key, value in _entries(described):
            if value not in (None, False) and (
                key in _ELSEWHERE or (key == "timm_model_name" and ":" in str(value))
            ):
                raise ModelError(
                    f"{path} names {key} ({value!r}): code or a model from elsewhere, whose code would be "
                    "run, which a folder may not load; use a model whose folder is complete, or a name that "
                    "open_clip knows"
                )


def _entries(described: Any) -> Iterator[tuple[str, Any]]:
    """All keys in nested JSON, with their values."""
    left = [described]
    while left:
        value = left.pop()
        if isinstance(value, dict):
            yield from value.items()
        left += value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()


def _weights_in(folder: Path) -> Path:
    """The file that open_clip loads from a folder: the first of the names it prefers, else the only one."""
    there = [path for path in sorted(folder.iterdir()) if path.suffix in (".safetensors", ".bin", ".pth")]
    preferred = [folder / name for name in _PREFERRED if folder / name in there]
    if preferred:
        return preferred[0]
    if not there:
        raise ModelError(f"{folder} has no weights; put {_FILES[0]} beside open_clip_config.json")
    if len(there) > 1:
        names = ", ".join(path.name for path in there)
        raise ModelError(f"{folder} has several files of weights ({names}); name the right one {_FILES[0]}")
    return there[0]


def cached(model: str, tag: str) -> tuple[str, Path | None]:
    """Where a published tag's weights are on the Hub, and their file if it is on this machine already."""
    import open_clip
    from huggingface_hub import try_to_load_from_cache

    repository, names = _on_hub(open_clip.get_pretrained_cfg(model, tag))
    found = (try_to_load_from_cache(repository, name) for name in names if repository)
    return repository, next((Path(file) for file in found if isinstance(file, str)), None)


def _on_hub(settings: dict[str, Any]) -> tuple[str, tuple[str, ...]]:
    """The repository that open_clip's settings name, and the files in it that may hold the weights."""
    repository, _, name = settings.get("hf_hub", "").rpartition("/")
    return repository, (name,) if name else _FILES


def _published(model: str, tag: str, settings: dict[str, Any]) -> Path:
    """The file of a published tag: cached, or fetched."""
    repository, names = _on_hub(settings)
    if not repository:
        return _from_address(model, tag, settings.get("url", ""))
    return cached(model, tag)[1] or _from_hub(model, tag, repository, names)


def _from_hub(model: str, tag: str, repository: str, names: tuple[str, ...]) -> Path:
    from huggingface_hub import hf_hub_download

    name = _first_on_hub(model, tag, repository, names)
    try:
        return Path(hf_hub_download(repository, name))
    except Exception as error:
        raise _missing(model, tag, repository, name, error) from None


def _first_on_hub(model: str, tag: str, repository: str, names: tuple[str, ...]) -> str:
    """The first of `names` that the Hub has; asked briefly, as the Hub's client retries for half a minute."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_url
    from huggingface_hub.errors import EntryNotFoundError

    for name in names:
        question = partial(get_hf_file_metadata, hf_hub_url(repository, name), timeout=5)
        answer = _within(ONLINE_SECONDS, question)
        if not isinstance(answer, Exception):
            return name
        if not isinstance(answer, EntryNotFoundError) or name == names[-1]:
            raise _missing(model, tag, repository, names[0], answer)
    raise _missing(model, tag, repository, names[0], FileNotFoundError("not on the Hub"))


def _within(seconds: float, question: Any) -> Any:
    """What `question()` returns or raises, or TimeoutError: a silent name server has no time limit itself."""
    answers: list[Any] = []

    def ask() -> None:
        try:
            answers.append(question())
        except Exception as error:
            answers.append(error)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(seconds)
    return answers[0] if answers else TimeoutError(f"no answer within {seconds:.0f} seconds")


def _missing(model: str, tag: str, repository: str, name: str, error: Exception) -> ModelError:
    from huggingface_hub.constants import HF_HUB_CACHE

    return ModelError(
        f"the weights of {model} {tag} are not here: {repository}/{name} is not in {HF_HUB_CACHE} and the "
        "Hub gave "
        f"none ({_short(error)}).\nOn a machine with network: hf download {repository} --local-dir clip; "
        "bring that "
        f"folder and use --model local-dir:clip. To try without: --model {TINY_MODEL}"
    )


def _from_address(model: str, tag: str, url: str) -> Path:
    """Weights published outside the Hub, where open_clip keeps them."""
    file = expanded("~/.cache/clip") / url.rpartition("/")[2]
    if file.is_file():
        return file
    raise ModelError(
        f"the weights of {model} {tag} are not here: {file} is missing, and they are not on the Hub. "
        f"Fetch {url} "
        f"to there, or give the file with --pretrained"
    )


def _nearest(word: str, names: list[str]) -> str:
    import difflib

    near = difflib.get_close_matches(word, names, n=3, cutoff=0.5)
    if near:
        return f"did you mean {', '.join(near)}?"
    return f"{LOCAL_FOLDER}PATH takes a folder, {TINY_MODEL} is built in"


def _short(error: Exception) -> str:
    kind, said = type(error).__name__, first_line(error)
    return kind if said == kind else f"{kind}: {said[:150]}"
