"""A run's groups as one taste of several vectors: `RUN#groups`, the centres that its `groups.parquet` has."""

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visunex.base.errors import first_line

from .artefact import Embedding
from .errors import EmbeddingError
from .finding import find

__all__ = ["GROUPS", "as_metadata", "centres_of", "names_groups", "run_of"]

GROUPS = "groups.parquet"
_MARK = "#groups"
_CENTRES, _DIMENSION = b"visunex.centres", b"visunex.dimension"
_MOST_BYTES = 1 << 26  # of the file: a row for each of a run's pictures
_MOST_CENTRES = 64


def names_groups(name: str) -> bool:
    """Whether a name means the groups of a run, and no file that is called so."""
    return name.endswith(_MARK) and not Path(name).exists()


def run_of(name: str) -> str:
    """What the run is called whose groups are meant, or the name itself."""
    return name.removesuffix(_MARK) if names_groups(name) else name


def as_metadata(centres: NDArray[np.float32]) -> Mapping[bytes, bytes]:
    """Unit centres [K, D] as a parquet file's metadata has them, which is text: float32 bytes in base64."""
    return {
        _CENTRES: base64.b64encode(np.ascontiguousarray(centres, "<f4").tobytes()),
        _DIMENSION: str(centres.shape[1]).encode(),
    }


def centres_of(name: str) -> tuple[Embedding, NDArray[np.float32]]:
    """The embedding of the run whose groups `name` means, and their unit centres float32 [K, D].

    Raises EmbeddingError where there is no such run, or its groups are not there.
    """
    found = find(run_of(name))
    if found.path is None or not (path := found.path.parent / GROUPS).is_file():
        raise EmbeddingError(
            f"{name}: there is no {GROUPS} beside {found.path or found.name}; groups are looked for by "
            "`visunex-data encode` where a run has more than some dozens of pictures"
        )
    centres = _read(path)
    if centres.shape[1] != found.vector.shape[1]:
        raise EmbeddingError(f"{path} is of {centres.shape[1]} dimensions, the run's embedding of others")
    return found, centres


def _read(path: Path) -> NDArray[np.float32]:
    """The centres [K, D] in a file's metadata. Raises EmbeddingError."""
    import pyarrow.parquet as pq

    old = f"{path} does not have its groups' centres: `visunex-data encode --overwrite` writes them"
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise EmbeddingError(f"{path} has more than {_MOST_BYTES >> 20} MB, and is no run's groups")
        metadata: Mapping[bytes, Any] = pq.read_schema(path).metadata or {}
        data = base64.b64decode(metadata[_CENTRES], validate=True)
        values = np.frombuffer(data, "<f4").reshape(-1, int(metadata[_DIMENSION]))
    except KeyError:
        raise EmbeddingError(old) from None
    except (OSError, ValueError) as error:  # pyarrow's are these
        raise EmbeddingError(f"{path} cannot be read: {first_line(error)}") from None
    if not 0 < len(values) <= _MOST_CENTRES or not np.isfinite(values).all() or not values.any(axis=1).all():
        raise EmbeddingError(f"{path} has centres that are no directions")
    return values.astype(np.float32)
