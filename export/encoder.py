"""A text encoder and its taste: texts become hidden states and features, with something added or changed.

The encoder is transformers' CLIP text model, as `visunex-generate` loads it, and is never written to: what
is tried on it (a LoRA, learnt vectors in the place of tokens) works through hooks while a block runs.
"""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from visunex.base.console import quiet_libraries
from visunex.generate import Sampler, Taste
from visunex.generate.checkpoint.kinds import NAMES
from visunex.generate.families.family import Encoder
from visunex.generate.families.sd1 import conditioning as sd1
from visunex.generate.families.sdxl import conditioning as sdxl
from visunex.generate.steering.steer import move

from .errors import ExportError

__all__ = ["FAMILIES", "Rows", "States", "TextSide", "load", "missing_in"]

FAMILIES = {"sd1": sd1.FAMILY, "sdxl": sdxl.FAMILY}


@dataclass(frozen=True)
class Rows:
    """Token ids `[N, L]`, where each text ends, `[N]`, and where what was put behind it begins, `[N]`."""

    ids: Tensor
    ends: Tensor
    begins: Tensor

    @property
    def cut(self) -> "Rows":
        """The same without the columns in which every text has ended; the encoder is causal."""
        return Rows(self.ids[:, : int(self.ends.max()) + 1], self.ends, self.begins)

    def __getitem__(self, places: Any) -> "Rows":
        return Rows(self.ids[places], self.ends[places], self.begins[places])


@dataclass(frozen=True, eq=False)
class States:
    """What an encoder makes of texts, in fp32: the hidden states that condition `[N, L, D]`, and the last one
    under the final norm where each text ends, `[N, D]`, which the text features are projections of."""

    hidden: Tensor
    pooled: Tensor

    def __getitem__(self, places: Any) -> "States":
        return States(self.hidden[places], self.pooled[places])

    @staticmethod
    def of(parts: "Sequence[States]") -> "States":
        """All texts of several, in their order."""
        return States(torch.cat([each.hidden for each in parts]), torch.cat([each.pooled for each in parts]))


@dataclass(frozen=True, eq=False)
class TextSide:
    """A text encoder of a model, its projection `[D_proj, D]` in fp32, its tokenizer; a taste of its CLIP.

    `name` is the model's, `part` what diffusers calls the encoder. `skipped` last layers are left out of the
    states that condition, the final norm is laid on them where `normed`; `pools` where the feature does, too.
    """

    encoder: Any
    projection: Tensor
    tokenizer: Any
    taste: Taste
    name: str
    family: str = "sd1"
    part: str = "text_encoder"
    skipped: int = 0
    normed: bool = True
    pools: bool = False

    @property
    def length(self) -> int:
        """Tokens that the encoder takes, start and end among them: 77 for CLIP."""
        return int(self.encoder.config.max_position_embeddings)

    @property
    def device(self) -> torch.device:
        """Where the encoder computes."""
        return self.projection.device

    @cached_property
    def direction(self) -> Tensor:
        """The taste at length 1, `[D_proj]`."""
        return normalize(self.taste.embedding.float().reshape(-1).to(self.device), dim=0)

    @property
    def table(self) -> Tensor:
        """The vectors of all tokens, `[V, D]`."""
        table: Tensor = self.encoder.embeddings.token_embedding.weight
        return table

    @cached_property
    def fingerprint(self) -> str:
        """16 hex digits of a SHA-256 over a sample of the text encoder's weights, to tell models apart."""
        digest = hashlib.sha256()
        for name, value in sorted(self.encoder.state_dict().items()):
            digest.update(name.encode())
            digest.update(value.flatten()[:16].to("cpu", torch.float16).numpy().tobytes())
        return digest.hexdigest()[:16]

    def words(self, text: str) -> list[int]:
        """The ids of a text's tokens, without start and end."""
        return list(self.tokenizer(text, add_special_tokens=False, verbose=False).input_ids)

    def rows(self, texts: Sequence[Sequence[int]], behind: Sequence[int] = ()) -> Rows:
        """Ids of texts, each given by `words`, with the tokens `behind` each, cut and padded."""
        bos, eos, pad = (getattr(self.tokenizer, f"{kind}_token_id") for kind in ("bos", "eos", "pad"))
        room = self.length - 2 - len(behind)
        ids, begins = [], []
        for text in texts:
            kept = list(text)[:room]
            begins.append(1 + len(kept))
            whole = [bos, *kept, *behind, eos]
            ids.append(whole + [eos if pad is None else pad] * (self.length - len(whole)))
        starts = torch.tensor(begins, device=self.device)
        return Rows(torch.tensor(ids, device=self.device), starts + len(behind), starts)

    def states(self, rows: Rows) -> States:
        """What the encoder makes of texts; gradients flow through what is hooked in."""
        found = self.encoder(input_ids=rows.ids, output_hidden_states=bool(self.skipped))
        last = found.last_hidden_state.float()
        hidden = found.hidden_states[-1 - self.skipped].float() if self.skipped else last
        if self.skipped and self.normed:
            hidden = self.encoder.final_layer_norm(hidden)
        return States(hidden, last[torch.arange(len(last), device=self.device), rows.ends])

    def features(self, states: States) -> Tensor:
        """The projected text features `[N, D_proj]`, at length 1."""
        return normalize(states.pooled @ self.projection.T, dim=-1)

    @torch.no_grad()
    def cosine(self, states: States) -> float:
        """The mean cosine of the text features to the taste."""
        return float((self.features(states) @ self.direction).mean())

    @contextmanager
    def replaced(self, rows: Rows, vectors: Tensor) -> Iterator[None]:
        """While the block runs the tokens behind each text of `rows` have the `vectors` `[n, D]`."""
        places = rows.begins[:, None] + torch.arange(len(vectors), device=self.device)
        texts = torch.arange(len(rows.ids), device=self.device)[:, None]

        def put(_module: Any, _given: Any, table_rows: Tensor) -> Tensor:
            changed = table_rows.clone()
            changed[texts, places] = vectors.to(table_rows.dtype)
            return changed

        hook = self.encoder.embeddings.token_embedding.register_forward_hook(put)
        try:
            yield
        finally:
            hook.remove()

    def steered(self, ids: Tensor, steps: int) -> States:
        """What one text `[1, L]` becomes by so many steps towards the taste."""
        moved = move(
            self.encoder,
            self.projection,
            ids,
            self.taste.embedding,
            steps=steps,
            lr=self.taste.lr,
            skipped=self.skipped,
            normed=self.normed,
            eos_token_id=self.tokenizer.eos_token_id,
        )
        return States(moved.states, moved.pooled)


def missing_in(sides: Sequence[TextSide]) -> list[Encoder]:
    """The text encoders of a model for which the taste has no vector."""
    moved = {side.part for side in sides}
    return [each for each in FAMILIES[sides[0].family].encoders if each.part not in moved]


def load(
    name: str, taste: Taste, *, device: str = "auto", variant: str | None = None
) -> tuple[TextSide, ...]:
    """The text encoders of a model that a taste is for: of SDXL's two those of whose CLIP it is, or one of
    its `others`. The model is a name, a folder, a file, or `visunex-tiny`.

    Raises CheckpointError for a model that is not there, UsageError for a device that is not there,
    EmbeddingError for a taste of another CLIP's space, ExportError for one of another size.
    """
    quiet_libraries()
    sampler = Sampler.load(name, device=device, variant=variant)
    rooms, family = sampler.conditioner.rooms, sampler.model.KIND
    if family not in FAMILIES:
        raise ExportError(
            f"{name} is of the family {NAMES[family]}: what is learnt is for Stable Diffusion 1.x and SDXL; "
            "give --model one of those, and a taste of its CLIP"
        )
    found = [side for room in rooms if (side := _side(name, room, family, taste)) is not None]
    if not found:
        sizes = " or ".join(f"1x{len(room.projection())}" for room in rooms)
        raise ExportError(
            f"{taste.name} is 1x{taste.embedding.shape[-1]}, the text features of {name} are {sizes}: "
            "take an embedding of that model's CLIP"
        )
    return tuple(found)


def _side(name: str, room: Any, family: str, taste: Taste) -> TextSide | None:
    """A text encoder of a model with what of a taste is of its size; None where nothing is."""
    projection = room.projection().detach().float()
    fitting = [each for each in (taste, *taste.others) if each.embedding.shape[-1] == len(projection)]
    if not fitting:
        return None
    mine = replace(fitting[0], steps=taste.steps, lr=taste.lr)
    mine.require_space(name, None if room.space is None else room.space.as_model())
    encoder = room.text_model.float().eval().requires_grad_(False)
    return TextSide(
        encoder=encoder,
        projection=projection.to(encoder.device),
        tokenizer=room.tokenizer,
        taste=mine,
        name=name,
        family=family,
        part=room.encoder.part,
        skipped=room.encoder.skipped or 0,
        normed=room.encoder.normed,
        pools=room.encoder.pooled is not None,
    )
