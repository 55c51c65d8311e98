"""The best rows of a stream that may be far larger than memory, each repeated row once.

Rows are ranked by a number of theirs (the highest first; none comes last), then by URL, caption and the
other columns, so that neither the order in which they arrive nor how they are cut into batches matters.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from ..errors import SourceError
from ..metadata.columns import Role, column
from ..metadata.table import INDEX, Table
from .bounds import PIECE, bytes_of, heaviest, pieces

# The columns every batch has, in this order; others may follow.
CANONICAL = ("url", "caption", "score", "width", "height")
_KINDS: dict[Role, pl.DataType] = {
    "url": pl.String(),
    "caption": pl.String(),
    "score": pl.Float64(),
    "width": pl.Int64(),
    "height": pl.Int64(),
}
_WHY, _COUNT = "__why__", "__count__"
SETTLE_AT, SETTLE_AT_BYTES = 1 << 16, PIECE
MOST_BYTES, MOST_OF_A_ROW = 512 << 20, 4096  # of what is kept: so much, or so much for each row


class Selection:
    """Takes batches with `add`; `rows()` then are the best `count`, of which no two share `unique_by`.

    Left out are duplicates (they share `unique_by`, not null, with a kept row) and rows without a URL. They
    are counted as such where they rank no lower than the last kept row; what ranks below it is beyond.
    """

    def __init__(
        self, count: int, unique_by: str | None, by: str = "score", wanted: int | None = None
    ) -> None:
        """`wanted` of them (None: all) are what a person asked for, and may take memory as such."""
        self.count, self.unique_by, self.by, self.wanted = count, unique_by, by, wanted or count
        self._kept: pl.DataFrame | None = None
        self._waiting: list[pl.DataFrame] = []
        self._bytes = 0  # of those that wait
        self._left_out: list[pl.DataFrame] = []

    def add(self, batch: pl.DataFrame) -> None:
        """Take a batch of candidates: the columns of CANONICAL (`by` finite or null), and others.

        Raises SourceError when what is to be kept takes too much memory.
        """
        for piece in pieces(batch):
            self._add(piece)

    def _add(self, piece: pl.DataFrame) -> None:
        last = self._last()
        wanted = piece if last is None else piece.filter(_no_lower_than(last, self.by))
        self._waiting.append(_with_own_texts(wanted))
        self._bytes += int(bytes_of(wanted).sum())
        many = sum(frame.height for frame in self._waiting) > max(SETTLE_AT, 4 * self.count)
        if many or self._bytes > SETTLE_AT_BYTES:
            self._settle()

    def __len__(self) -> int:
        kept = self.rows()
        return 0 if kept is None else kept.height

    def rows(self) -> pl.DataFrame | None:
        """The best rows, the best first; None when there was not even an empty batch."""
        if self._waiting:
            self._settle()
        return self._kept

    def left_out(self, last: dict[str, Any] | None = None) -> dict[str, int]:
        """How many rows were left out as `no_url` and `duplicates`, and rank no lower than the row `last`."""
        self.rows()
        counts = {"no_url": 0, "duplicates": 0}
        within = pl.lit(True) if last is None else _no_lower_than(last, self.by)
        for frame in (each.filter(within) for each in self._left_out):
            for why, count in frame.group_by(_WHY).agg(pl.col(_COUNT).sum()).rows():
                counts[why] += count
        return counts

    def _last(self) -> dict[str, Any] | None:
        """The last row of a full set: what ranks lower is of no interest any more."""
        if self._kept is None or self._kept.height < self.count:
            return None
        return self._kept.row(-1, named=True)

    def _settle(self) -> None:
        """Rank what has arrived together with what was kept, and keep the best of both."""
        rows = pl.concat([*([] if self._kept is None else [self._kept]), *self._waiting])
        self._waiting, self._bytes = [], 0
        enough = self.count + self.count // 4  # nearly always
        for part in (_best(rows, enough, self.by), rows):
            ranked = rank(part, self.by)
            reasons = self._reasons(ranked)
            kept = ranked.filter(reasons.is_null()).head(self.count)
            if kept.height == self.count or part.height == rows.height:
                break
        self._kept = _with_own_texts(_bounded(kept, self.wanted))
        out = ranked.select(_rank(self.by)).with_columns(reasons, pl.lit(1).alias(_COUNT))
        self._leave_out(out.filter(reasons.is_not_null()))

    def _reasons(self, ranked: pl.DataFrame) -> pl.Series:
        """Why each row is left out, null where it is not."""
        has_url = pl.col("url").str.len_bytes().gt(0).fill_null(False)
        first = pl.lit(True)
        if self.unique_by is not None:
            own = pl.col(self.unique_by)
            first = own.is_null() | pl.when(has_url).then(own).is_first_distinct()
        reason = pl.when(~has_url).then(pl.lit("no_url")).when(~first).then(pl.lit("duplicates"))
        return ranked.select(reason.alias(_WHY)).to_series()

    def _leave_out(self, rows: pl.DataFrame) -> None:
        """Remember what is left out, by rank, equal rows in one line; forget what no longer matters."""
        left_out = pl.concat([*self._left_out, rows])
        if (last := self._last()) is not None:
            left_out = left_out.filter(_no_lower_than(last, self.by))
        counts = left_out.group_by(_WHY, *_rank(self.by)).agg(pl.col(_COUNT).sum()).select(rows.columns)
        self._left_out = [_with_own_texts(counts)]


def rank(rows: pl.DataFrame, by: str = "score") -> pl.DataFrame:
    """The rows, best first."""
    first = _rank(by)
    rest = (name for name in rows.columns if name not in first and not rows.schema[name].is_nested())
    keys = rows.select(first)
    ties = keys.is_duplicated().any()
    return _sorted(rows, [*first, *rest]) if ties else rows[_sorted(keys.with_row_index("at"), first)["at"]]


def _rank(by: str) -> tuple[str, str, str]:
    return by, "url", "caption"


def _sorted(rows: pl.DataFrame, order: Sequence[str]) -> pl.DataFrame:
    return rows.sort(order, descending=[at == 0 for at in range(len(order))], nulls_last=True)


def _bounded(rows: pl.DataFrame, wanted: int) -> pl.DataFrame:
    whole = int(bytes_of(rows).sum())
    if whole > max(MOST_BYTES, min(rows.height, wanted) * MOST_OF_A_ROW):
        name = heaviest(rows)
        mean = int(bytes_of(rows.select(name)).sum()) // rows.height
        raise SourceError(
            f"the best {rows.height:,} rows take {whole >> 20:,} MiB, as the column {name!r} has "
            f"{mean:,} bytes in each: ask for fewer rows, or give metadata without that column"
        )
    return rows


def own_text(texts: pl.Expr) -> pl.Expr:
    """Texts, copied: as views they would hold on to all of the pages that they were read from."""
    return pl.concat_str(texts, pl.lit(""))


def _with_own_texts(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.with_columns(
        own_text(pl.col(name)) for name, kind in rows.schema.items() if kind == pl.String
    )


def _best(rows: pl.DataFrame, count: int, by: str) -> pl.DataFrame:
    """At least the `count` rows that are highest in `by`, with all that tie with the last of them."""
    if rows.height <= count or rows.height - rows[by].null_count() < count:
        return rows
    return rows.filter(pl.col(by) >= rows[by].top_k(count).min())


def _no_lower_than(last: dict[str, Any], by: str) -> pl.Expr:
    """Whether a row ranks no lower than `last` in `by`, URL (none comes first) and caption."""
    least, url, caption = (last[name] for name in _rank(by))
    as_good = pl.col(by).is_null() if least is None else pl.col(by) == least
    better = pl.col(by).is_not_null() if least is None else pl.col(by) > least
    before = pl.lit(True) if caption is None else pl.col("caption") <= caption
    own = pl.col("url").fill_null("")
    return (better | (as_good & ((own < url) | ((own == url) & before)))).fill_null(False)


def selected_columns(table: Table, measured: Mapping[str, pl.Expr]) -> list[pl.Expr]:
    """The columns of the selection: the canonical ones, what else is measured, then the source's own."""
    first: dict[str, pl.Expr] = {role: _canonical(table, role, kind) for role, kind in _KINDS.items()}
    canonical = [values.alias(name) for name, values in {**first, **measured}.items()]
    own = selected_names(table).items()
    return canonical + [pl.col(name).alias(alias) for name, alias in own if alias not in _KINDS]


def selected_names(table: Table) -> dict[str, str]:
    """What each of the source's columns is called in the selection; pandas' row labels are left out.

    The columns of CANONICAL get their role's name; another column of such a name, or of one that the
    selection has besides, becomes `source_...`.
    """
    names: dict[str, str] = {table.roles[role]: role for role in _KINDS if role in table.roles}
    ours = {"key", "likeness", "unsafe", "random", *CANONICAL}
    for own in table.schema:
        if own not in names and (own != INDEX or own in table.roles.values()):
            alias = own
            while alias in ours or (alias != own and alias in table.schema):
                alias = f"source_{alias}"
            names[own] = alias
    return names


def _canonical(table: Table, role: Role, kind: pl.DataType) -> pl.Expr:
    if role != "url" and role not in table.roles:
        return pl.lit(None, kind)
    return column(table.roles, table.schema, role, "the selection").cast(kind, strict=False)
