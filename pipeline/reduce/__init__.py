"""From `vectors/` to `embedding.pt`, with checks and a provenance that say whether it can be trusted.

May import `vectors`, `rundir` and below.
"""
