"""What is asked for on the command line of `visunex-generate`: its options, and the job that they make.

`options.py` are the options, `values.py` what their values may be, `request.py` makes a `Job` of them and
finds every fault before a model is loaded, `variants.py` the tastes and sweeps of it, `unused.py` says what
has no effect. Reads embeddings, recipes, prompt files and what of models can be said without torch; writes
nothing. May import all of `generate` but `cli`, and `aesthetic_embeddings` and `recipes`.
"""

from typing import TYPE_CHECKING

from visunex.base.lazy import public

if TYPE_CHECKING:
    from .options import generate_options as generate_options
    from .request import Options as Options
    from .request import job_of as job_of

__all__ = ["Options", "generate_options", "job_of"]
__getattr__, __dir__ = public(
    __name__, {"Options": "request", "generate_options": "options", "job_of": "request"}
)
