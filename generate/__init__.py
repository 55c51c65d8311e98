"""From a prompt and an aesthetic embedding to images, with any Stable Diffusion or FLUX.1 model.

    from visunex.generate import Sampler, Settings, Taste

    sampler = Sampler.load("visunex-tiny")
    taste = Taste.load("flower_plant", steps=10)
    for batch in sampler.sample("a castle at night", Settings(samples=4, seed=332), taste):
        batch.images[0].show()

`steered` is for diffusers pipelines of one's own, `personalise` the method on tensors. Reads models,
embeddings and recipes; writes the images that the command `visunex-generate` is asked for. May import
`aesthetic_embeddings`, `recipes`, `clip`, `demo`, `net` and `base`; never `pipeline`.
"""

from typing import TYPE_CHECKING

from visunex.base.lazy import public

if TYPE_CHECKING:
    from .controls import Controls as Controls
    from .controls import Steering as Steering
    from .pipelines.condition import steered as steered
    from .sampling.sampler import Batch as Batch
    from .sampling.sampler import Sampler as Sampler
    from .settings import Settings as Settings
    from .start import Start as Start
    from .steering.steer import personalise as personalise
    from .taste import Taste as Taste

__all__ = ["Batch", "Controls", "Sampler", "Settings", "Start", "Steering", "Taste", "personalise", "steered"]
__getattr__, __dir__ = public(
    __name__,
    {
        "Batch": "sampling.sampler",
        "Controls": "controls",
        "Sampler": "sampling.sampler",
        "Settings": "settings",
        "Start": "start",
        "Steering": "controls",
        "Taste": "taste",
        "personalise": "steering.steer",
        "steered": "pipelines.condition",
    },
)
