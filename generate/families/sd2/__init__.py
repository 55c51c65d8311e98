"""Stable Diffusion 2.x: how it is conditioned, and what its folders leave out. May import `families`."""
