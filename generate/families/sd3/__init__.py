"""Stable Diffusion 3 and 3.5: how they are conditioned. May import `families`."""
