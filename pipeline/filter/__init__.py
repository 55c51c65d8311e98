"""The stage filter: metadata becomes `selected.parquet`, the best rows first.

May import `vectors`, `metadata`, `rundir` and below; never another stage.
"""
