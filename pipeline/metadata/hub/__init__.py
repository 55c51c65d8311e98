"""Data sets on the Hub: which of their files are meant, and what has no files that are read as they are.

Reads listings of the Hub; gives addresses that hold a commit, so that they mean the same tomorrow. May import
`net` and, of `metadata`, what knows kinds of files and folders.
"""
