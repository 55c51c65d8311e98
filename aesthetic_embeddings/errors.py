"""The named error of the embeddings."""

from visunex.base.errors import VisunexError


class EmbeddingError(VisunexError):
    """An embedding that cannot be found, fetched, read, trusted or combined; the message says why."""
