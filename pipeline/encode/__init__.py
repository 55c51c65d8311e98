"""The stage encode: shards become `vectors/`, and these one embedding.

Several processes decode, one for each device encodes. May import `reduce`, `vectors` and below;
never another stage.
"""
