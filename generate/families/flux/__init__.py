"""FLUX.1: how it is conditioned. May import `families`."""
