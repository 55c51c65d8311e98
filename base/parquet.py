"""What reading a parquet file that anyone may have written, or damaged, can raise, said once."""

__all__ = ["parquet_errors"]


def parquet_errors(*more: type[Exception]) -> tuple[type[Exception], ...]:
    """The errors of pyarrow, whose import is not for free, and of Python beneath it: on a damaged file any.

    Bytes that are no UTF-8 raise ValueError, missing columns LookupError, lengths beyond a machine's
    OverflowError. `more` are those of what else is read with it.
    """
    import pyarrow as pa

    return (
        pa.ArrowException,
        OSError,
        ValueError,
        TypeError,
        LookupError,
        OverflowError,
        MemoryError,
        NotImplementedError,
        *more,
    )
