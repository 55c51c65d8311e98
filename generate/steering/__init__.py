"""Aesthetic gradients: the text encoder moved a few steps towards a taste, for one prompt.

Works on tensors alone. May import `errors` and `base`.
"""
