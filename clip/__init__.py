"""CLIP image and text encoders: a model's name becomes something that turns images or texts into vectors.

Reads weights (this machine's, or the Hub's) and image files; writes nothing. May import `images`,
`net`, `demo` (the tiny model) and `base`.
"""
