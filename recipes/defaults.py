"""Defaults of recipes that are needed where no recipe is: in worker processes, which do without pydantic."""

__all__ = ["MOST_MOVED"]

MOST_MOVED = "100GB"  # bytes moved from files behind addresses with pictures or vectors inside
