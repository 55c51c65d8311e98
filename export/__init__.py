"""From one aesthetic embedding to what other programs and models take: the vector, a LoRA, a token, words.

    visunex-export flower_plant --to lora --model MODEL --out flowers.safetensors

All is made from the embedding with a model's text encoder alone: no pictures, no UNet, a CPU suffices. Reads
embeddings, models and files of prompts and captions; writes the file that is asked for and, beside it, how it
was made. May import `generate`, `clip`, `aesthetic_embeddings`, `recipes`, `demo` and `base`; never
`pipeline`.
"""

from typing import TYPE_CHECKING

from visunex.base.lazy import public

if TYPE_CHECKING:
    from .errors import ExportError as ExportError

__all__ = ["ExportError"]
__getattr__, __dir__ = public(__name__, {"ExportError": "errors"})
