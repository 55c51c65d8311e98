"""What every package stands on: named errors, atomic files, the console, progress, folders, lazy names.

Reads and writes nothing of its own. Imports nothing of ours.
"""
