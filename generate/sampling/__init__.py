"""From conditioning and noise to images: the loop, schedulers, noise and the safety checker.

May import `prompts`, `families`, `steering` and below.
"""
