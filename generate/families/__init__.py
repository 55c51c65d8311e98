"""Families of diffusion models, a folder for each, with the same file names in each.

`model.py`: a model's name, folder or file -> `Model`, its parts on a device. `folder.py`: from a diffusers
folder or the Hub; `checkpoint.py`: from one file in the family's layout; both give `parts.py`'s `Parts`.
`outline.py`: what can be said of a model before it is loaded. `text_encoder.py`: what the family's files
leave out of the text side. `conditioning.py`: `FAMILY`, how the family's pipelines in diffusers are
conditioned, which is all that `steered` needs of one. `family.py` has what it says; `recognise.py` tells
families by a pipeline's components, and is where a new one is entered. Reads models, writes only what it
fetched, into the cache. May import `checkpoint`, `tokens`, `settings`, `net` and below.
"""
