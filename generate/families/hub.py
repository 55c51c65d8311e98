"""What the Hub says of a model's name before anything of it is fetched: is it there, and of which family.

Nothing here loads torch. Where the Hub cannot be asked nothing is said: who fetches the model will tell.
"""

import json
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from visunex.base.hub_cache import DEFAULT_MODEL
from visunex.base.proxies import is_offline
from visunex.net.errors import FetchError
from visunex.net.probe import authorization, get

from ..checkpoint.configs import CONFIGS
from ..checkpoint.folders import kind_of_folder
from ..checkpoint.kinds import Family, Kind, accepted, kind_of, kind_of_pipeline
from ..errors import CheckpointError

__all__ = ["cached_folder", "check_hub", "unreachable"]

LARGEST = 8 << 20  # bytes of what the Hub says of a model
UNET = CONFIGS["unet"]
SINGLE = (".safetensors", ".ckpt")
# Files by which a repository is told that has no folder of a UNet, and what of that kind is told by in files.
ADAPTERS = {
    "adapter_config.json": "lora_A",
    "pytorch_lora_weights.safetensors": "lora_A",
    "learned_embeds.safetensors": "string_to_param",
    "learned_embeds.bin": "string_to_param",
}


def cached_folder(name: str) -> Path | None:
    """The folder of a model of that name in the Hub's cache, with what of it is there; None without one."""
    from huggingface_hub import try_to_load_from_cache

    for config in (UNET, CONFIGS["transformer"]):
        try:
            found = try_to_load_from_cache(name, config)
        except (OSError, ValueError):  # a name that none can have, a cache that cannot be read
            return None
        if isinstance(found, str):
            return Path(found).parents[1]
    return None


def check_hub(name: str) -> Family | None:
    """The family of the model of that name on the Hub, as it says; None where it may be any.

    Raises CheckpointError, saying why, for one that is certainly of no family that is taken.
    """
    folder = cached_folder(name)
    if folder is not None:
        return accepted(kind_of_folder(folder), name)
    if is_offline():
        raise CheckpointError(unreachable(name, "HF_HUB_OFFLINE is set"))
    said = _asked(name)
    kind = None if said is None else _kind(said)
    return None if kind is None else accepted(kind, name)


def unreachable(name: str, reason: str) -> str:
    """The sentence for a model that is neither here nor to be fetched."""
    return (
        f"the model {name} is not on this machine and cannot be fetched from the Hub ({reason}); "
        "check the name and the network, or give --model a folder or a file"
    )


def _asked(name: str) -> dict[str, Any] | None:
    """What the Hub says of a model; None where it does not answer in its own form."""
    from huggingface_hub import constants, get_token

    url = f"{constants.ENDPOINT.rstrip('/')}/api/models/{urllib.parse.quote(name)}"
    try:
        answer = get(url, authorization(get_token()), most=LARGEST)
    except FetchError as error:
        if error.kind in ("dns", "refused"):
            raise CheckpointError(unreachable(name, str(error))) from None
        return None
    gated = answer.headers.get("X-Error-Code") == "GatedRepo"
    if answer.status in (401, 404) and not gated:  # it says 401 where it will not tell whether there is one
        raise CheckpointError(
            f"the Hub has no model {name}, or it is private (HTTP {answer.status}): check the name; "
            f"without --model it is {DEFAULT_MODEL}"
        )
    return _parsed(answer.body)


def _parsed(body: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _kind(said: dict[str, Any]) -> Kind | None:
    """What a repository is, where it says more than that it may be a folder of Stable Diffusion 1.x."""
    files = _files(said)
    has_unet = not files or UNET in files
    kinds = (kind_of_pipeline(each, has_unet=has_unet) for each in _classes(said))
    if (kind := next(filter(None, kinds), None)) or has_unet:
        return kind
    return _kind_by_files(files, str(said.get("id", "OWNER/NAME")))


def _files(said: dict[str, Any]) -> list[str]:
    return [str(each.get("rfilename")) for each in said.get("siblings") or () if isinstance(each, dict)]


def _kind_by_files(files: list[str], name: str) -> Kind | None:
    """What a repository without a UNet is, by the names of its files."""
    if adapter := next((ADAPTERS[file] for file in files if file in ADAPTERS), None):
        return kind_of({adapter: ()})
    if any(file.endswith(".gguf") for file in files):
        return Kind("a repository of GGUF files, whose weights are quantised", "take the model itself")
    singles = [file for file in files if file.endswith(SINGLE) and "/" not in file]
    if singles:
        fetched = f"fetch one with `hf download {name} {singles[0]}`"
        return Kind("a repository of single files", f"{fetched}, and give --model that file")
    return Kind("a repository without a UNet", "name one that has unet/config.json")


def _classes(said: dict[str, Any]) -> Iterator[str]:
    """The classes of diffusers or transformers that a repository's page names."""
    config = said.get("config")
    config = config if isinstance(config, dict) else {}
    diffusers, named = config.get("diffusers"), config.get("architectures")
    if isinstance(diffusers, dict):
        yield str(diffusers.get("_class_name", ""))
    yield from map(str, named if isinstance(named, list) else ())
    tags = said.get("tags")
    for tag in map(str, tags if isinstance(tags, list) else ()):
        if tag.startswith("diffusers:"):
            yield tag.removeprefix("diffusers:")
