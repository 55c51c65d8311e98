"""Mutated inputs for every loader, in processes of their own: `python -m fuzz --count 2000` prints a table.

`loaders` says what is read and how, `mutations` how inputs are bent, `child` reads them one by one and
`campaign` counts what became of each: accepted, a named error, or one of the faults there must be none of.
"""
