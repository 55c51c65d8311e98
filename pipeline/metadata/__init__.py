"""Where a data set's metadata lies and what its columns mean.

Reads parquet and converts what is not; writes converted copies beside the run. May import `net` and below.
"""
