"""Image vectors in clip-retrieval's layout: our own on disk, and published ones wherever they lie.

May import `metadata`, `shards` and below.
"""
