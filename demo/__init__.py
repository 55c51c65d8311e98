"""A small drawn world to try everything on: pictures, their metadata, a web server and two tiny models."""
