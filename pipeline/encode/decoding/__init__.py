"""Images' files become batches of pixels on a device: processes that decode, and threads that stage.

Several encoders may want the same image, each in its own size: it is read once, and decoded and resized once
for all that want it alike. May import `shards`, `workers`, `clip` and `images`; knows of no vector.
"""
