"""An IP-Adapter's file in a UNet: without a vector it is as it was, with one as diffusers has it."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from adapter_files import adapter, flat
from safetensors.torch import save_file
from torch import Tensor

from visunex.generate.additions.ip_adapter import IMAGE, SCALE, put_adapter, read_adapter
from visunex.generate.errors import AdditionError

WIDTH = 24


def called(unet: Any, added: dict[str, Any] | None) -> Tensor:
    draw = torch.Generator().manual_seed(3)
    latents = torch.randn(2, unet.config.in_channels, 8, 8, generator=draw)
    words = torch.randn(2, 77, unet.config.cross_attention_dim, generator=draw)
    with torch.inference_mode():
        return unet(latents, torch.tensor(5), encoder_hidden_states=words, added_cond_kwargs=added).sample


@pytest.mark.parametrize("suffix", [".safetensors", ".bin"])
def test_a_unet_with_an_adapter_draws_as_diffusers_and_without_a_vector_as_before(
    sd1: Any, tmp_path: Path, suffix: str
) -> None:
    path, values = tmp_path / f"plain{suffix}", adapter(sd1.unet, of=WIDTH)
    save_file(flat(values), path) if suffix == ".safetensors" else torch.save(values, path)
    ours, theirs = copy.deepcopy(sd1.unet), copy.deepcopy(sd1.unet)
    weights = read_adapter(path)
    assert weights.dimension == WIDTH
    put_adapter(ours, weights, path, "a model")
    assert torch.equal(called(ours, None), called(sd1.unet, None))
    theirs._load_ip_adapter_weights([values])
    for processor in theirs.attn_processors.values():
        if hasattr(processor, "scale"):
            processor.scale = [0.7]
    image = torch.cat([torch.zeros(1, 1, WIDTH), 5 * torch.randn(1, 1, WIDTH)])
    found = called(ours, {IMAGE: image, SCALE: 0.7})
    assert torch.equal(found, called(theirs, {IMAGE: [image]}))
    assert not torch.allclose(found, called(sd1.unet, None), atol=1e-3)
    assert torch.equal(called(ours, None), called(sd1.unet, None))


def test_other_kinds_and_other_models_are_refused_by_name(sd1: Any, xl: Any, tmp_path: Path) -> None:
    plain = flat(adapter(sd1.unet, of=WIDTH))
    others = {
        "IP-Adapter Plus": {"image_proj.latents": torch.ones(1, 16, 8)},
        "IP-Adapter Full": {"image_proj.proj.3.weight": torch.ones(8)},
        "IP-Adapter FaceID": {"image_proj.proj.0.weight": torch.ones(8, 512)},
        "IP-Adapter FaceID Plus": {"image_proj.perceiver_resampler.proj_in.weight": torch.ones(8, 8)},
        "IP-Adapter for FLUX": {"ip_adapter_proj_model.proj.weight": torch.ones(8, 768)},
    }
    for name, values in others.items():
        path = tmp_path / "other.safetensors"
        save_file({**{key: each for key, each in plain.items() if "proj.weight" not in key}, **values}, path)
        with pytest.raises(AdditionError, match=f"is an {name}, which takes more than an image's one"):
            read_adapter(path)
    save_file({"a": torch.ones(3)}, tmp_path / "none.safetensors")
    with pytest.raises(AdditionError, match="no plain IP-Adapter: give --adapter"):
        read_adapter(tmp_path / "none.safetensors")
    save_file(plain, tmp_path / "plain.safetensors")
    before = {name: value.clone() for name, value in xl.unet.state_dict().items()}
    with pytest.raises(AdditionError, match=r"does not fit XL: .* is .* in the file and .* there"):
        put_adapter(xl.unet, read_adapter(tmp_path / "plain.safetensors"), Path("plain"), "XL")
    assert all(torch.equal(value, before[name]) for name, value in xl.unet.state_dict().items())


def test_broken_adapters_are_refused_before_anything_is_written(sd1: Any, tmp_path: Path) -> None:
    values = adapter(sd1.unet, of=WIDTH)
    plain, path = flat(values), tmp_path / "broken.safetensors"
    without = {name: each for name, each in plain.items() if name != "image_proj.proj.bias"}
    more = plain | {"image_proj.more.weight": torch.ones(2)}
    for broken in (without, more, plain | {"image_proj.norm.weight": torch.ones(3)}):
        save_file(broken, path)
        with pytest.raises(AdditionError, match="an IP-Adapter, no plain IP-Adapter"):
            read_adapter(path)
    save_file({name: each.to(torch.int8) for name, each in plain.items()}, path)
    with pytest.raises(AdditionError, match="holds no fractions"):
        read_adapter(path)
    nested = {"image_proj": {"proj": {"weight": torch.ones(4, 4)}}, "ip_adapter": [1], 3: 4}
    torch.save(nested, tmp_path / "odd.bin")
    with pytest.raises(AdditionError, match="no plain IP-Adapter"):
        read_adapter(tmp_path / "odd.bin")
    save_file({name: each for name, each in plain.items() if "ip_adapter.1." not in name}, path)
    with pytest.raises(AdditionError, match="is missing in the file"):
        put_adapter(sd1.unet, read_adapter(path), path, "a model")
