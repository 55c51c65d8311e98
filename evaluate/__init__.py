"""Did pictures come nearer to a taste, at what cost to the prompt, and how much is enough: in numbers.

    visunex-evaluate --aesthetic_embedding flower_plant --aesthetic_steps 0,5,10,20 --outdir evaluation

The same prompts and the same noise under every setting; judged by the taste's own encoder, by others, by
colours and scores. Reads embeddings, runs, models and prompts; writes one folder: the pictures,
`results.parquet`, `report.json` and `report.html`. May import `pipeline`, `generate`, `export`, `clip`,
`aesthetic_embeddings`, `recipes`, `demo` and `base`.
"""

from typing import TYPE_CHECKING

from visunex.base.lazy import public

if TYPE_CHECKING:
    from .errors import EvaluateError as EvaluateError
    from .evaluation import evaluate as evaluate
    from .measures import Interval as Interval
    from .measures import interval as interval
    from .plan import Request as Request

__all__ = ["EvaluateError", "Interval", "Request", "evaluate", "interval"]
__getattr__, __dir__ = public(
    __name__,
    {
        "EvaluateError": "errors",
        "Interval": "measures",
        "Request": "plan",
        "evaluate": "evaluation",
        "interval": "measures",
    },
)
