"""What the stage reports, by what its embedding was made of: images, both, or published vectors alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from visunex.base.progress import human_time

from ..errors import EncodeError
from ..reduce.about import GroupWords
from ..reduce.embedding import EmbeddingReport
from ..reduce.nearest_words import Word
from ..rundir import RunDir
from ..score.choice import statuses_in_words
from ..shards.sidecar import count_licenses
from ..workers.executor import lines_of_nodes

if TYPE_CHECKING:
    from visunex.clip.image_encoder import ImageEncoder

__all__ = [
    "FROM_SHARD",
    "SHARD",
    "EncodeReport",
    "PrecomputedReport",
    "VectorsReport",
    "count_gone",
    "facts_of",
    "origin_of",
    "outcome_lines",
    "provenance_of",
    "require_all_there",
]

# Reasons of chosen images that are not where their run says they are.
FROM_SHARD, SHARD = "missing_from_shard", "missing_shard"
_NAMED = 3  # of the names of a list

# What helps where all of a kind failed for the same reason.
_HINTS = {
    "heic": ": these need `pip install 'visunex[heic]'`",
    "git_lfs_pointer": ": Git LFS's pointers; run `git lfs pull` where they were cloned",
}


@dataclass(frozen=True)
class EncodeReport(EmbeddingReport):
    """The report of an embedding from images: `images` = `encoded` + the sum of `failed`.

    `left_out` counts what in tars and folders was no image to begin with; `damaged` names shards that are
    not whole; `examples` names up to five images for each reason. `words` are those of the captions that
    lie nearest to the embedding, `groups` those that the run's images fall into.
    `discarded` says that the images are not kept. Of images that were
    given, `repeated` show the same as an earlier one: each counts, unless `repeats_left_out`. `nodes`: of
    those of a cluster, what each did. `also` are the reports of further encoders of the same images.
    """

    images: int
    encoded: int
    failed: dict[str, int]
    examples: dict[str, list[str]]
    left_out: dict[str, int]
    damaged: dict[str, str]
    model: str
    pretrained: str
    precision: str
    device: str
    words: tuple[Word, ...]
    encoded_now: int
    encoding_seconds: float
    discarded: bool
    repeated: int = 0
    repeats_left_out: bool = False
    baseline_dropped: tuple[str, ...] = ()
    choice: dict[str, Any] | None = None
    groups: tuple[GroupWords, ...] = ()
    nodes: dict[str, dict[str, int]] = field(default_factory=dict)
    also: "tuple[EncodeReport, ...]" = ()

    @property
    def images_per_second(self) -> float:
        """Images encoded by this call in a second of encoding: reading, decoding, encoding and writing."""
        return self.encoded_now / max(self.encoding_seconds, 1e-9)

    def as_dict(self) -> dict[str, Any]:
        """The report for JSON."""
        also = [each.as_dict() for each in self.also]
        found = {**super().as_dict(), "images_per_second": self.images_per_second, "also": also}
        return found if self.nodes else {name: value for name, value in found.items() if name != "nodes"}

    def as_text(self) -> str:
        """The report for a person."""
        kept = ", and discarded" if self.discarded else ""
        with_what = f"{self.model} {self.pretrained}".rstrip()
        lines = [f"{self.encoded} of {self.images} pictures encoded with {with_what}{kept}"]
        lines += outcome_lines(self.failed, self.examples, self.left_out, self.damaged)
        if self.repeated:
            counts = "left out" if self.repeats_left_out else "each counts; --dedupe-images exact takes one"
            lines.append(f"  {self.repeated:>7}  the same as another: {counts}")
        if self.choice is not None:
            lines.append(f"  chosen by their vectors: {statuses_in_words(self.choice)}")
        lines += _dropped_lines(self.baseline_dropped, " of the baseline")
        rate = (
            f", {self.images_per_second:.1f} pictures/s" if self.encoded_now else ", nothing was left to do"
        )
        lines.append(f"  {human_time(self.seconds)}{rate} ({self.precision} on {self.device})")
        lines += lines_of_nodes(self.nodes)
        embedding, *reference = self.outcome()
        reference += [line for each in self.also for line in each.as_another(self.failed)]
        words = [f"  nearest words: {', '.join(each.word for each in self.words)}"] if self.words else []
        return "\n".join([*lines, embedding, *words, *reference])

    def as_another(self, failed: Mapping[str, int]) -> list[str]:
        """The lines of a further encoder's report, where `failed` was told of the first one's already."""
        with_what = f"{self.model} {self.pretrained}".rstrip()
        reasons = {kind: count for kind, count in self.failed.items() if failed.get(kind) != count}
        return [
            f"{self.encoded} of {self.images} pictures encoded with {with_what}",
            *outcome_lines(reasons, self.examples, {}, {}),
            *_dropped_lines(self.baseline_dropped, " of the baseline"),
            *self.outcome(),
        ]


@dataclass(frozen=True)
class PrecomputedReport(EmbeddingReport):
    """The report of an embedding from the published vectors of a selection, and from images for the rest.

    `images` = `precomputed` + `encoded` + the sum of `failed`. `passed_over` candidates would have come
    before the last one taken, but no usable vector of theirs is published. `dropped` names vectors that are
    zero or not finite, `missing_parts` the numbers that the folder leaves out, `baseline_dropped` those of
    the baseline.
    """

    place: str
    found_by: str
    looked_through: int
    images: int
    precomputed: int
    encoded: int
    failed: dict[str, int]
    passed_over: int
    model: str
    pretrained: str
    dropped: list[str]
    missing_parts: list[int]
    baseline_dropped: list[str]

    def as_text(self) -> str:
        """The report for a person."""
        lines = [
            f"{self.precomputed:,} vectors taken from {self.place}, found by {self.found_by} among "
            f"{self.looked_through:,} rows"
        ]
        if self.encoded or self.failed:
            lines.append(
                f"  {self.encoded:>7}  encoded from pictures with {self.model} {self.pretrained}".rstrip()
            )
        lines += [f"  {count:>7}  {kind}" for kind, count in self.failed.items()]
        if self.passed_over:
            lines.append(
                f"  {self.passed_over:>7}  better candidates passed over: no usable vector of theirs is there"
            )
        lines += [*_dropped_lines(self.dropped), *_dropped_lines(self.baseline_dropped, " of the baseline")]
        if self.missing_parts:
            lines.append(f"  parts that are not there: {_shortened(self.missing_parts)}")
        return "\n".join([*lines, f"  {human_time(self.seconds)}", *self.outcome()])


@dataclass(frozen=True)
class VectorsReport(EmbeddingReport):
    """The report of an embedding from published vectors alone, without any image.

    `dropped` names rows that are zero or not finite.
    """

    vectors: tuple[str, ...]
    baseline: tuple[str, ...]
    dropped: list[str]

    def as_text(self) -> str:
        """The report for a person."""
        against = f" minus {', '.join(self.baseline)}" if self.baseline else ""
        made_of = f"published vectors: {', '.join(self.vectors)}{against}"
        return "\n".join([made_of, *_dropped_lines(self.dropped), *self.outcome()])


def outcome_lines(
    failed: Mapping[str, int],
    examples: Mapping[str, Sequence[str]],
    left_out: Mapping[str, int],
    damaged: Mapping[str, str],
) -> list[str]:
    """What a person is told of pictures that were not encoded."""
    such_as = {kind: next(iter(examples.get(kind, [])), "?") for kind in failed}
    return [
        *(
            f"  {count:>7}  {kind}, such as {such_as[kind]}{_HINTS.get(kind, '')}"
            for kind, count in failed.items()
        ),
        *(f"  {count:>7}  left out: {kind}" for kind, count in left_out.items()),
        *(f"  not whole: {shard}: {reason}" for shard, reason in damaged.items()),
    ]


def _dropped_lines(names: Sequence[str], of: str = "") -> list[str]:
    """What a person is told of vectors that are none."""
    if not names:
        return []
    return [f"  {len(names):>7}  vectors{of} left out, zero or not finite: {_shortened(names)}"]


def _shortened(names: Sequence[object]) -> str:
    """The first of the names, and how many more there are."""
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(map(str, names[:_NAMED])) + more


def origin_of(run: RunDir | None) -> dict[str, Any]:
    """What `embedding.json` says of where a run's images are from, and under which licences."""
    return {
        "taken": run and run.taken,
        "licence": run and run.licence,
        "licenses": run and count_licenses(run.downloaded, run.license_column),
    }


def count_gone(failed: Mapping[str, int]) -> int:
    """How many chosen images are not where their run says they are."""
    return sum(failed.get(kind, 0) for kind in (FROM_SHARD, SHARD))


def require_all_there(run: RunDir | None, failed: Mapping[str, int], images: int) -> None:
    """Raise EncodeError where some of a run's chosen `images` are gone, the others being encoded."""
    if run is None or not (gone := count_gone(failed)):
        return
    again = f"`visunex-data download --run {run.path}` fetches them again"
    if run.made_from("download") is None:
        again = f"put them back, or take them out of {run.downloaded}"
    raise EncodeError(
        f"{gone} of the {images} chosen pictures are not in {run.shards}, and the embedding is of the others "
        f"only; {again}, then encode again"
    )


def facts_of(encoder: "ImageEncoder") -> dict[str, Any]:
    """The encoder, as fields of a report."""
    names = ("model", "pretrained", "precision", "device", "dimension")
    return {name: getattr(encoder, name) for name in names}


def provenance_of(encoder: "ImageEncoder") -> dict[str, Any]:
    """The encoder, as `embedding.json` has it."""
    return {
        "name": encoder.model,
        "pretrained": encoder.pretrained or None,
        "dimension": encoder.dimension,
        "precision": encoder.precision,
        "device": encoder.device,
        "resized_on": "device" if encoder.preprocessing.on_device else "host",
        **encoder.identity(),
    }
