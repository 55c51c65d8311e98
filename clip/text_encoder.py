"""A text encoder at work: texts -> vectors in the space of the same model's image encoder."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["TextEncoder"]


@dataclass(frozen=True, eq=False)
class TextEncoder:
    """A CLIP's text encoder on its device, for putting words beside images.

    `network` is open_clip's whole model, `tokenizer` what turns texts into its token ids [n, context].
    """

    model: str
    device: str
    network: Any
    tokenizer: Any

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Raw (not normalised) vectors float32 [n, D] of texts; what exceeds the context is cut off."""
        import torch

        with torch.inference_mode():
            vectors = self.network.encode_text(self.tokenizer(list(texts)).to(self.device))
        return vectors.float().cpu().numpy()
