"""Samplers by the names that people type: the original's, diffusers' and the web UI's. It loads no torch."""

import difflib
from collections.abc import Mapping

from ..errors import UsageError
from ..output.infotext import SAMPLERS

__all__ = ["DDIM", "FLOWING", "OTHERS", "PLMS", "SPACED", "canonical", "kind_of", "names", "settings_of"]

DDIM, PLMS = "ddim", "plms"
# diffusers' others that run over the model's own noise schedule (EDM's has another), without `Scheduler`.
OTHERS = (
    "DDPM",
    "DEISMultistep",
    "DPMSolverMultistep",
    "DPMSolverSDE",
    "DPMSolverSinglestep",
    "EulerAncestralDiscrete",
    "EulerDiscrete",
    "HeunDiscrete",
    "KDPM2AncestralDiscrete",
    "KDPM2Discrete",
    "LMSDiscrete",
    "UniPCMultistep",
)
# Those that may space the noise levels otherwise: `DPM++ 2M Karras`.
SPACED = frozenset(OTHERS) - {"DDPM", "EulerAncestralDiscrete"}
# Those that go along a flow.
FLOWING = ("EulerDiscrete", "DPMSolverMultistep", "UniPCMultistep")
_SPACINGS = {"Karras": "use_karras_sigmas", "Exponential": "use_exponential_sigmas"}
_SDE = "DPM++ 2M SDE"  # of DPMSolverMultistep
_VARIANTS = {_SDE: ("DPMSolverMultistep", {"algorithm_type": "sde-dpmsolver++"})}
_MOST_NEAR = 3


def names() -> list[str]:
    """Every sampler: `ddim`, `plms` and diffusers' others without `Scheduler`."""
    return [DDIM, PLMS, *OTHERS]


def canonical(name: str) -> str:
    """The sampler meant by `name`, whatever its case, blanks, hyphens and underscores.

    It is one of `names()`, or the web UI's name where that says more (`DPM++ 2M Karras`). Raises UsageError,
    with the nearest and the list, for one that is not samplers.
    """
    found = _samplers().get(_plain(name))
    if found is None:
        near = difflib.get_close_matches(_plain(name), _samplers(), n=_MOST_NEAR, cutoff=0.5)
        meant = list(dict.fromkeys(_shown(_samplers()[each]) for each in near))
        question = f"did you mean {' or '.join(meant)}? " if meant else ""
        raise UsageError(
            f"unknown scheduler {name!r}; {question}there are {', '.join(names())}, and the web UI's names "
            f"({', '.join(SAMPLERS[each] for each in OTHERS if each in SAMPLERS)}, {_SDE}), most also with "
            "Karras or Exponential behind them"
        )
    return found


def kind_of(name: str) -> str:
    """The one of `names()` that a canonical name is a setting of."""
    bare = _bare(name)
    return _VARIANTS[bare][0] if bare in _VARIANTS else _samplers()[_plain(bare)]


def settings_of(name: str) -> Mapping[str, object]:
    """What a canonical name sets of its scheduler's configuration."""
    bare = _bare(name)
    spacing = {setting: True for word, setting in _SPACINGS.items() if name.endswith(f" {word}")}
    return {**(_VARIANTS[bare][1] if bare in _VARIANTS else {}), **spacing}


def _bare(name: str) -> str:
    for word in _SPACINGS:
        name = name.removesuffix(f" {word}")
    return name


def _shown(name: str) -> str:
    """The web UI's name, which people know, where there is one."""
    return SAMPLERS.get(name, name)


def _samplers() -> dict[str, str]:
    """Plain names to canonical ones."""
    samplers = {_plain(name): name for name in names()} | {"pndm": PLMS}
    for name in OTHERS:  # UniPC, Euler, k-diffusion's euler_ancestral
        samplers.setdefault(_plain(name.removesuffix("Discrete").removesuffix("Multistep")), name)
    samplers |= {_plain(shown): name for name, shown in SAMPLERS.items() if name in names()}
    samplers |= {"dpm2ancestral": "KDPM2AncestralDiscrete", _plain(_SDE): _SDE}
    for word in _SPACINGS:
        spaced = {plain: name for plain, name in samplers.items() if name in SPACED or name == _SDE}
        samplers |= {f"{plain}{word.lower()}": f"{_shown(name)} {word}" for plain, name in spaced.items()}
    return {
        **samplers,
        **{f"k{plain}": name for plain, name in samplers.items() if f"k{plain}" not in samplers},
    }


def _plain(name: str) -> str:
    plain = name.casefold().replace("++", "pp")
    return "".join(each for each in plain if each.isalnum()).removesuffix("scheduler")
