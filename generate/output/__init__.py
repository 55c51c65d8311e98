"""Images on disk: files, the text in them, and labelled grids.

May import `errors` and `base`.
"""
