"""`visunex-studio`: a local page on which a person sees tastes, makes and curates them, draws, and votes.

Reads runs, embeddings and pictures; writes tastes (`tastes/`), runs made of pictures that were dropped onto
the page, drawn pictures (`outputs/`) and votes (`votes/`), each as the commands do. May import everything;
nobody imports it. What it does are plain functions in `work`; `page` only wires
them to what is seen.
"""
