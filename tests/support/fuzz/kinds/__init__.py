"""The kinds of input there are; importing this registers a loader for each."""

from . import metadata, models, pictures, runs, shards, texts, vectors, web

__all__ = ["metadata", "models", "pictures", "runs", "shards", "texts", "vectors", "web"]
