"""Stable Diffusion XL: how it is conditioned. May import `families`."""
