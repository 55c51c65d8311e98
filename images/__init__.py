"""Image files: whether bytes are an image, whole and of a sane size, told without decoding all of it.

Reads bytes in memory; writes nothing. May import `base`.
"""
