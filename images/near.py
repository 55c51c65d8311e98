"""Finding perceptual hashes that are nearly equal, among many."""

from collections import defaultdict

__all__ = ["NearIndex"]

_NEAR = 4  # bits of 64 in which the perceptual hashes of near-duplicates may differ
_BANDS = tuple((13 * band, (1 << (12 if band == 4 else 13)) - 1) for band in range(_NEAR + 1))


class NearIndex:
    """Finds hashes with up to `_NEAR` wrong bits: then one of `_NEAR` + 1 bands of bits is intact."""

    def __init__(self) -> None:
        self._bands: list[dict[int, list[int]]] = [defaultdict(list) for _ in _BANDS]

    def add(self, value: int | None) -> None:
        """Put in a hash; None is none."""
        if value is not None:
            for table, (shift, mask) in zip(self._bands, _BANDS, strict=True):
                table[value >> shift & mask].append(value)

    def has(self, value: int | None) -> bool:
        """Whether a hash near to this one was put in."""
        if value is None:
            return False
        return any(
            (value ^ other).bit_count() <= _NEAR
            for table, (shift, mask) in zip(self._bands, _BANDS, strict=True)
            for other in table.get(value >> shift & mask, ())
        )
