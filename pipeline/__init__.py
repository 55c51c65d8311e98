"""`visunex-data`: metadata -> images -> CLIP vectors -> one aesthetic embedding."""

import os

# img2dataset loads albumentations, which asks the network for updates at import, and wandb, which reports.
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
os.environ.setdefault("WANDB_MODE", "disabled")
