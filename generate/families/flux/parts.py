"""The parts that a FLUX.1 model is made of, whatever they were read from."""

from dataclasses import dataclass
from typing import Any

from .. import flow

__all__ = ["Parts"]


@dataclass(frozen=True, eq=False, kw_only=True)
class Parts(flow.Parts):
    """A flow's parts; T5 as the second text encoder."""

    @property
    def networks(self) -> tuple[Any, ...]:
        """Everything that has weights."""
        return *super().networks, self.text_encoder_2
