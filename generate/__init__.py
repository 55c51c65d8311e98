"""`visunex-generate`: a prompt and an aesthetic embedding become pictures."""
