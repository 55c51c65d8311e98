"""How many image vectors become one, streamed in batches: memory does not grow with their number."""

import math
from collections.abc import Iterable, Iterator
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from visunex.base.errors import described, numbers, require

from .errors import EmbeddingError
from .sums import Matrix, Sum

How = Literal["mean", "unit-mean", "score-weighted", "score-contrast", "median", "contrast"]
BY_SCORES: tuple[How, ...] = ("score-weighted", "score-contrast")

_MEDIAN_PASSES = 200
_MEDIAN_STEP = 1e-10


def reduce(
    batches: Iterable[ArrayLike],
    how: How = "unit-mean",
    *,
    scores: ArrayLike | None = None,
    baseline: Iterable[ArrayLike] | None = None,
) -> NDArray[np.float32]:
    """Reduce image vectors to one aesthetic embedding, float32 [1, D].

    `batches` yields arrays [n, D] (a vector [D] counts as one row) and may have to be iterated more than
    once, so give a list or any object whose `__iter__` starts anew. Sums carry about 106 bits: the result
    does not depend on the order of the vectors or on how they are cut into batches.

    - `mean`: the mean of the vectors as they are (give raw ones).
    - `unit-mean`: each is normalised, their mean is normalised.
    - `score-weighted`: as `unit-mean`, each weighted by how far its score lies above the lowest of all, so
      that the lowest counts nothing; where all scores are equal, all weigh the same. `scores` is [number of
      vectors].
    - `score-contrast`: as `unit-mean`, each weighted by how far its score lies above or below the mean:
      what is rated high pulls, what is rated low pushes away. Of scores of two values it is the direction of
      `contrast`.
    - `median`: the geometric median of the normalised vectors (Weiszfeld's iteration, several passes),
      normalised: a minority of outliers cannot drag it away.
    - `contrast`: mean of `batches` minus mean of `baseline`, both as they are; not normalised.

    Raises EmbeddingError when there is nothing to reduce, a vector is not finite, scores are missing, or the
    vectors cancel out.
    """
    wanted = "a list of arrays [n, D], a row for each picture"
    require(batches, "batches", Iterable, wanted, EmbeddingError)
    require(() if baseline is None else baseline, "baseline", Iterable, wanted, EmbeddingError)
    if how not in get_args(How):
        raise EmbeddingError(f"how is {described(how)}: give one of {', '.join(get_args(How))}")
    if (how == "contrast") != (baseline is not None):
        raise EmbeddingError("contrast needs a baseline to stand against, and no other reduction takes one")
    match how:
        case "mean":
            result = _mean(batches)
        case "unit-mean":
            result = _unit(_mean(_units(batches)))
        case "score-weighted":
            result = _unit(_weighted_mean(_units(batches), _weights(scores)))
        case "score-contrast":
            result = _unit(_weighted_mean(_units(batches), _pulls(scores)))
        case "median":
            result = _unit(geometric_median(_Units(batches)))
        case "contrast":
            result = _contrast(batches, baseline or ())
    return result.astype(np.float32).reshape(1, -1)


def geometric_median(batches: Iterable[Matrix]) -> Matrix:
    """The point with the least sum of distances to all vectors, float64 [D].

    Weiszfeld's iteration from the mean, with Vardi and Zhang's step (PNAS 97, 2000) that does not get stuck
    when it lands on one of the vectors.
    """
    point = _mean(batches)
    for _ in range(_MEDIAN_PASSES):
        after = _weiszfeld(batches, point)
        moved = np.linalg.norm(after - point)
        point = after
        if moved <= _MEDIAN_STEP * np.linalg.norm(point):
            break
    return point


def _weiszfeld(batches: Iterable[Matrix], point: Matrix) -> Matrix:
    pull, weight, here = Sum(len(point)), Sum(1), 0
    for batch in batches:
        distance = np.linalg.norm(batch - point, axis=1)
        apart = distance > 0
        here += int(np.count_nonzero(~apart))
        inverse = 1 / distance[apart, None]
        pull.add(batch[apart] * inverse)
        weight.add(inverse)
    total = weight.value()[0]
    if total == 0:  # every vector is this point
        return point
    target = pull.value() / total
    # What is left of the pull once the vectors that lie right here hold on to the point.
    force = np.linalg.norm(target - point) * total
    held = min(1.0, here / force) if force else 1.0
    return (1 - held) * target + held * point


def _contrast(wanted: Iterable[ArrayLike], baseline: Iterable[ArrayLike]) -> Matrix:
    first, second = _mean(wanted), _mean(baseline)
    if first.shape != second.shape:
        raise EmbeddingError(
            f"the baseline's vectors have {len(second)} dimensions, the wanted ones {len(first)}; "
            "both must come from the same image tower"
        )
    return _nonzero(first - second)


def _mean(batches: Iterable[ArrayLike]) -> Matrix:
    total, count = None, 0
    for batch in _checked(batches):
        total = total or Sum(batch.shape[1])
        _require_same(batch, total)
        total.add(batch)
        count += len(batch)
    if total is None or count == 0:
        raise EmbeddingError("there are no vectors to reduce; see what became of the images in the report")
    return total.value() / count


def _require_same(batch: Matrix, total: Sum) -> None:
    if batch.shape[1] != len(total.value()):
        raise EmbeddingError(
            f"a vector has {batch.shape[1]} dimensions, others {len(total.value())}: all must be of one model"
        )


def _weighted_mean(batches: Iterable[Matrix], weights: Matrix) -> Matrix:
    total, begin = None, 0
    for batch in batches:
        part = weights[begin : begin + len(batch), None]
        begin += len(batch)
        if len(part) < len(batch):
            break
        total = total or Sum(batch.shape[1])
        _require_same(batch, total)
        total.add(batch * part)
    if begin != len(weights) or total is None:
        raise EmbeddingError(f"there are {len(weights)} scores, which is not the number of vectors")
    return total.value()


def _weights(scores: ArrayLike | None) -> Matrix:
    values = _scores(scores, "score-weighted")
    above = values - values.min(initial=np.inf)
    return above if np.any(above) else np.ones_like(values)


def _pulls(scores: ArrayLike | None) -> Matrix:
    values = _scores(scores, "score-contrast")
    pulls = values - math.fsum(values.tolist()) / max(values.size, 1)
    if values.size and not np.ptp(values):
        raise EmbeddingError(
            "score-contrast needs scores that differ, and all are equal: nothing is liked more than another; "
            "choose unit-mean"
        )
    return pulls


def _scores(scores: ArrayLike | None, how: How) -> Matrix:
    if scores is None:
        raise EmbeddingError(f"{how} needs a score for every image; choose unit-mean where there are none")
    values = numbers(scores, "scores", "a number for each vector", EmbeddingError)
    missing = int(np.count_nonzero(~np.isfinite(values)))
    if missing:
        raise EmbeddingError(
            f"{how} needs a score for every image, but {missing} of {values.size} have none; "
            "filter with --min-score to leave those out, or choose unit-mean"
        )
    return np.asarray(values)


class _Units:
    """Normalised batches that can be iterated again and again."""

    def __init__(self, batches: Iterable[ArrayLike]) -> None:
        if iter(batches) is batches:
            raise EmbeddingError(
                "the median goes over the vectors several times; give a list, not an iterator"
            )
        self._batches = batches

    def __iter__(self) -> Iterator[Matrix]:
        return _units(self._batches)


def _units(batches: Iterable[ArrayLike]) -> Iterator[Matrix]:
    for batch in _checked(batches):
        norms = np.linalg.norm(batch, axis=1, keepdims=True)
        if not np.all(norms > 0):
            raise EmbeddingError(
                "an image vector is all zeros, so it has no direction; encode the images again"
            )
        yield batch / norms


def _checked(batches: Iterable[ArrayLike]) -> Iterator[Matrix]:
    for batch in batches:
        rows = np.atleast_2d(
            numbers(batch, "a batch", "arrays [n, D], a row for each picture", EmbeddingError)
        )
        if rows.ndim != 2:
            raise EmbeddingError(f"a batch is {described(rows)}: give arrays [n, D], a row for each picture")
        if not np.isfinite(rows).all():
            raise EmbeddingError("an image vector contains NaN or infinity; encode the images again")
        yield rows


def _unit(vector: Matrix) -> Matrix:
    return _nonzero(vector) / np.linalg.norm(vector)


def _nonzero(vector: Matrix) -> Matrix:
    if not np.any(vector):
        raise EmbeddingError(
            "the vectors cancel each other out, so there is no direction; choose other images"
        )
    return vector
