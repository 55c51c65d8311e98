"""Families of diffusion models, a folder for each, with the same file names in each.

A family's `folder.py` reads a diffusers folder or the Hub, its `checkpoint.py` one file in the family's
layout; both give its `Parts`. `model.py` is what the sampler asks of them.
Beside them: `loading.py` (a model's name -> the family's `Model`), `outline.py` (what can be said before),
`folders.py` and `single_file.py` (what reading has in common). `conditioning.py` is `FAMILY`, how the
family's pipelines in diffusers are conditioned, which is all that `steered` needs of one: `family.py` has
what it says, `recognise.py` tells families by a pipeline's components. Reads models, writes only what it
fetched, into the cache. May import `checkpoint`, `steering`, `tokens`, `settings`, `taste`, `net` and below.
"""
