"""Another VAE: in every layout the same decoder, and what is of another family is refused by its name."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL
from original_layout import VAE_BLOCK, VAE_INNER, renamed
from safetensors.torch import save_file
from torch import Tensor

from visunex.generate.additions import Additions, added
from visunex.generate.errors import AdditionError, CheckpointError

SETTINGS: Mapping[str, Any] = {
    "block_out_channels": (32, 32, 32, 32),
    "layers_per_block": 1,
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
}
EARLIER = {".to_q.": ".query.", ".to_k.": ".key.", ".to_v.": ".value.", ".to_out.0.": ".proj_attn."}


@pytest.fixture(scope="module")
def other() -> AutoencoderKL:
    torch.manual_seed(7)
    return AutoencoderKL(**SETTINGS).eval()


def original(vae: Any) -> dict[str, Tensor]:
    """Its weights under the original's names."""
    found = {}
    for name, value in vae.state_dict().items():
        key = renamed(name, VAE_BLOCK, VAE_INNER, 4)
        linear = ".mid.attn_1." in key and key.endswith("weight") and ".norm." not in key
        found[key] = value[:, :, None, None].contiguous() if linear else value
    return found


def earlier(vae: Any) -> dict[str, Tensor]:
    """Its weights as diffusers' first releases called attention's."""
    found = {}
    for name, value in vae.state_dict().items():
        for today, before in EARLIER.items():
            name = name.replace(today, before)
        found[name] = value
    return found


@torch.no_grad()
def decoded(vae: Any) -> Tensor:
    latents = torch.randn(1, 4, 4, 4, generator=torch.Generator().manual_seed(1))
    image: Tensor = vae.decode(latents, return_dict=False)[0]
    return image


def test_every_layout_is_the_same_vae(sd1: Any, xl: Any, other: AutoencoderKL, tmp_path: Path) -> None:
    other.save_pretrained(tmp_path / "folder")
    other.save_pretrained(tmp_path / "model" / "vae", safe_serialization=False)
    save_file(original(other), tmp_path / "original.safetensors")
    torch.save({"state_dict": original(other)}, tmp_path / "original.vae.pt")
    torch.save(
        {f"first_stage_model.{name}": value for name, value in original(other).items()}, tmp_path / "all.ckpt"
    )
    save_file(other.state_dict(), tmp_path / "diffusers.safetensors")
    save_file(earlier(other), tmp_path / "earlier.safetensors")
    expected, before = decoded(other), decoded(sd1.vae)
    for name in sorted(path.name for path in tmp_path.iterdir()):
        changed = added(sd1, Additions.of(vae=tmp_path / name))
        torch.testing.assert_close(decoded(changed.vae), expected, rtol=1e-5, atol=1e-5)
        assert changed.scaling_factor == sd1.scaling_factor
        assert changed.unet.state_dict().keys() == sd1.unet.state_dict().keys()
    assert torch.equal(decoded(sd1.vae), before)
    changed = added(xl, Additions.of(vae=tmp_path / "original.safetensors"))
    torch.testing.assert_close(decoded(changed.vae), expected, rtol=1e-5, atol=1e-5)
    assert changed.scaling_factor == xl.scaling_factor == 0.13025


def test_refused_by_name(sd1: Any, xl: Any, other: AutoencoderKL, tmp_path: Path) -> None:
    other.save_pretrained(tmp_path / "sd1")
    AutoencoderKL(**SETTINGS, latent_channels=16).save_pretrained(tmp_path / "flux")
    fewer = {name: value[:3] if name.startswith("block") else value for name, value in SETTINGS.items()}
    fewer |= {"down_block_types": ("DownEncoderBlock2D",) * 3, "up_block_types": ("UpDecoderBlock2D",) * 3}
    save_file(AutoencoderKL(**fewer).state_dict(), tmp_path / "fewer.safetensors")
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny" / "config.json").write_text('{"_class_name": "AutoencoderTiny"}')
    save_file(other.state_dict(), tmp_path / "tiny" / "diffusion_pytorch_model.safetensors")
    half = {name: value for name, value in original(other).items() if not name.startswith("decoder.up.0")}
    save_file(half, tmp_path / "half.safetensors")
    save_file({"lora_unet_x.lora_down.weight": torch.ones(2, 2)}, tmp_path / "lora.safetensors")
    (tmp_path / "empty").mkdir()
    for model, name, kind, said in (
        (
            xl,
            "sd1",
            AdditionError,
            "is a VAE for Stable Diffusion 1.x and 2.x, whose latents are scaled by 0.18215",
        ),
        (sd1, "flux", AdditionError, "its latents have 16 channels, those of"),
        (sd1, "fewer.safetensors", AdditionError, "it has 4 pixels for a latent"),
        (sd1, "tiny", AdditionError, "another kind .AutoencoderTiny."),
        (sd1, "half.safetensors", CheckpointError, "is not a whole VAE"),
        (sd1, "lora.safetensors", AdditionError, "is a LoRA, no VAE"),
        (sd1, "empty", AdditionError, "is no folder of a VAE"),
        (sd1, "missing.safetensors", AdditionError, "No such file"),
    ):
        with pytest.raises(kind, match=said):
            added(model, Additions.of(vae=tmp_path / name))
