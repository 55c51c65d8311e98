"""Stable Diffusion 1.x: its parts, from a name, a folder or a file."""
