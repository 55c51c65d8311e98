"""What the studio does, as plain functions that know nothing of a page.

Reads runs, embeddings and pictures; writes tastes, runs of dropped pictures, drawn pictures and votes. May
import every package but `studio`'s own page.
"""
