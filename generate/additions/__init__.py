"""What people add to a model: LoRAs, textual inversions and another VAE, from files of any layout in use.

    from visunex.generate.additions import Additions, added

    changed = added(model, Additions.of(loras=["style.safetensors:0.7"], vae="vae.safetensors"))

The model itself is never written to: `added` gives another that shares whatever is as it was. All arithmetic
is ours, W + scale * (alpha / rank) * B A. Reads the files, which may be a stranger's, and runs nothing in
them; writes none. May import `families`, `checkpoint`, `steering`, `added` and below.
"""

from typing import TYPE_CHECKING

from visunex.base.lazy import public

if TYPE_CHECKING:
    from .put import added as added
    from .wanted import Additions as Additions
    from .wanted import Lora as Lora

__all__ = ["Additions", "Lora", "added"]
__getattr__, __dir__ = public(__name__, {"Additions": "wanted", "Lora": "wanted", "added": "put"})
