"""Single-file checkpoints of any layout, read without running what is in them.

May import `errors` and `base`.
"""
