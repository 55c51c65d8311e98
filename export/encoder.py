"""A model's text side: texts become hidden states and text features, with something added or changed.

The encoder is transformers' CLIP text model, as `visunex-generate` loads it, and is never written to: what
is tried on it (a LoRA, learnt vectors in the place of tokens) works through hooks while a block runs.
"""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from visunex.base.console import quiet_libraries
from visunex.generate import Sampler, Taste, personalise

from .errors import ExportError

__all__ = ["Rows", "TextSide", "load"]


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
class TextSide:
    """A text encoder, its projection `[D_proj, D]` in fp32, its tokenizer, and what the model is called."""

    encoder: Any
    projection: Tensor
    tokenizer: Any
    name: str
    clip: Any = None

    @property
    def length(self) -> int:
        """Tokens that the encoder takes, start and end among them: 77 for CLIP."""
        return int(self.encoder.config.max_position_embeddings)

    @property
    def device(self) -> torch.device:
        """Where the encoder computes."""
        return self.projection.device

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

    def hidden(self, rows: Rows) -> Tensor:
        """The last hidden states `[N, L, D]`, in fp32; gradients flow through what is hooked in."""
        states: Tensor = self.encoder(input_ids=rows.ids).last_hidden_state
        return states.float()

    def features(self, hidden: Tensor, rows: Rows) -> Tensor:
        """The projected text features `[N, D_proj]` of hidden states, at length 1."""
        ended = hidden[torch.arange(len(hidden), device=self.device), rows.ends]
        return torch.nn.functional.normalize(ended @ self.projection.T, dim=-1)

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

    def steered(self, ids: Tensor, taste: Taste, steps: int) -> Tensor:
        """The hidden states `[1, L, D]` of one text `[1, L]` after so many steps towards a taste, in fp32."""
        return personalise(
            self.encoder,
            self.projection,
            ids,
            taste.embedding,
            steps=steps,
            lr=taste.lr,
            eos_token_id=self.tokenizer.eos_token_id,
        ).float()


def load(name: str, taste: Taste, *, device: str = "auto", variant: str | None = None) -> TextSide:
    """The text side of a Stable Diffusion 1.x model: a name, a folder, a file, or `visunex-tiny`.

    Raises CheckpointError for a model that is not there, UsageError for a device that is not there,
    ExportError for another family's model, EmbeddingError for a taste of another CLIP's space.
    """
    quiet_libraries()
    model: Any = Sampler.load(name, device=device, variant=variant).model
    if not hasattr(model, "text_projection"):
        raise ExportError(f"{name} is no Stable Diffusion 1.x: for other families this is not there yet")
    taste.require_space(name, model.clip)
    projection = model.text_projection.detach().float().to(model.device)
    if taste.embedding.shape[-1] != len(projection):
        raise ExportError(
            f"{taste.name} has {taste.embedding.shape[-1]} dimensions, the text features of {name} have "
            f"{len(projection)}: take an embedding of that model's CLIP"
        )
    encoder = model.text_encoder.float().eval().requires_grad_(False)
    return TextSide(encoder, projection, model.tokenizer, name, model.clip)
