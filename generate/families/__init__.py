"""Families of diffusion models, a folder for each, with the same file names in each.

May import `checkpoint`, `tokens` and below.
"""
