"""Processes of ours beside this one.

May import `base`.
"""
