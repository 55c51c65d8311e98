"""What docs/evidence.md says: a fixed small set of settings on the demo world, drawn and measured."""
