"""The artefact: load, save, reduce, compare and mix aesthetic embeddings; the published ones by name."""
