"""`--method`: how the taste gets into the picture, and what each way needs."""

from typing import TYPE_CHECKING

from ..errors import UsageError

if TYPE_CHECKING:
    from ..checkpoint.kinds import Family
    from .request import Options

__all__ = ["METHODS", "check_method"]

METHODS = ("steer", "pooled", "ip-adapter", "unclip")
UNCLIP = (
    "--method unclip is for Kandinsky and Stable unCLIP, which are not drawn with here: "
    "visunex.generate.adapters.unclip gives a taste to their pipelines of diffusers (docs/image-vectors.md)"
)


def check_method(options: "Options", family: "Family | None") -> None:
    """Raise UsageError for a method that the model, where it is certain, or the other
    options have nothing for."""
    method = options.method
    if method == "steer":
        return
    if method == "unclip":
        raise UsageError(UNCLIP)
    if options.sweep_steps:
        raise UsageError(f"--sweep-steps is for --method steer: {method} takes no steps; try --sweep-weights")
    if method == "pooled" and family not in (None, "sdxl"):
        raise UsageError(
            f"--method pooled is for SDXL, and {options.model} takes no pooled vector: leave it out, or give "
            "an adapter (--method ip-adapter --adapter FILE)"
        )
    if method == "ip-adapter" and options.init_img is not None:
        raise UsageError(
            "--method ip-adapter draws from noise alone here: leave --init-img out, or steer (--method steer)"
        )
    if method == "ip-adapter" and options.adapter is None:
        raise UsageError(
            "--method ip-adapter needs a plain IP-Adapter's file: --adapter ip-adapter_sd15.safetensors for "
            "Stable Diffusion 1.x, ip-adapter_sdxl.safetensors for SDXL (h94/IP-Adapter on the Hub)"
        )
