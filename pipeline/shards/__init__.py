"""Images in shards, tars and folders as `Sample`s, in an order that never changes.

May import `images` and below.
"""
