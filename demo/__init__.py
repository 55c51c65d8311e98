"""A small drawn world to try everything on: pictures, their metadata, a web server and two tiny models."""

__all__ = ["TINY_MODEL"]

TINY_MODEL = "visunex-tiny"  # what both tiny models are called, wherever a model is named
