"""The stage encode: images become `vectors/`, and these one embedding.

Reads a run's shards, or images wherever they lie, or vectors that somebody has published; writes `vectors/`
and, by `reduce`, `embedding.pt`. Several processes decode, one for each device encodes. May import `reduce`,
`vectors` and below; never another stage.
"""

from typing import TYPE_CHECKING

from visunex.base.lazy import public

if TYPE_CHECKING:
    from .counts import OutcomeCounts as OutcomeCounts
    from .partition_encoder import PartitionEncoder as PartitionEncoder
    from .precomputed import encode_precomputed as encode_precomputed
    from .published import reduce_published as reduce_published
    from .reports import EncodeReport as EncodeReport
    from .reports import PrecomputedReport as PrecomputedReport
    from .reports import VectorsReport as VectorsReport
    from .request import EncodeRequest as EncodeRequest
    from .stage import Encoded as Encoded
    from .stage import begin_encode as begin_encode
    from .stage import encode as encode
    from .stage import encode_to as encode_to
    from .stage import finish_encode as finish_encode

__all__ = [
    "EncodeReport",
    "EncodeRequest",
    "Encoded",
    "OutcomeCounts",
    "PartitionEncoder",
    "PrecomputedReport",
    "VectorsReport",
    "begin_encode",
    "encode",
    "encode_precomputed",
    "encode_to",
    "finish_encode",
    "reduce_published",
]

__getattr__, __dir__ = public(
    __name__,
    {
        "EncodeReport": "reports",
        "EncodeRequest": "request",
        "Encoded": "stage",
        "OutcomeCounts": "counts",
        "PartitionEncoder": "partition_encoder",
        "PrecomputedReport": "reports",
        "VectorsReport": "reports",
        "begin_encode": "stage",
        "encode": "stage",
        "encode_precomputed": "precomputed",
        "encode_to": "stage",
        "finish_encode": "stage",
        "reduce_published": "published",
    },
)
