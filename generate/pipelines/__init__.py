"""Anyone's diffusers pipelines: a prompt -> their own conditioning arguments, moved towards a taste.

`condition.steered` is the function. Reads and writes no files but what a family's text side leaves out
(`families`). May import `adapters`, `families`, `steering`, `syntax`, `taste`, `aesthetic_embeddings` and
`base`.
"""
