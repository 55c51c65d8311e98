"""The stage download: `selected.parquet` becomes shards of images and `downloaded.parquet`.

Worker processes fetch; img2dataset lays out, resizes and writes. May import `metadata`, `rundir`, `shards`,
`workers` and below; never another stage.
"""
