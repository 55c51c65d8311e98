"""`visunex-data`: metadata -> images -> CLIP vectors -> one aesthetic embedding."""
