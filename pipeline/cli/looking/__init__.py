"""Commands that look at pictures, or at a run's: `show`, `rank`, `score`, `pictures` and `curate`.

A module for each; the line of each command's help, and where it lies, stand one floor above.
"""
