"""LoRAs: W + scale * (alpha / rank) * B A in every layout, and what is refused by its name."""

import copy
import json
import os
from pathlib import Path
from typing import Any

import lora_files
import pytest
import torch
from lora_files import ALPHA, RANK, Layer, layers, write
from safetensors.torch import save_file
from torch import Tensor

from visunex.generate.additions import Additions, added
from visunex.generate.additions.layers import find_layer, layers_of
from visunex.generate.errors import AdditionError, CheckpointError, UsageError

BLOCK = "unet.down_blocks.0.attentions.0"
ATTENTION = [
    f"{BLOCK}.transformer_blocks.0.attn1.to_q",
    f"{BLOCK}.transformer_blocks.0.attn2.to_k",
    f"{BLOCK}.transformer_blocks.0.attn2.to_out.0",
]
MORE = [
    f"{BLOCK}.transformer_blocks.0.ff.net.0.proj",
    f"{BLOCK}.proj_in",  # a convolution of 1x1
    "unet.down_blocks.0.resnets.0.conv1",  # of 3x3
    "unet.up_blocks.0.upsamplers.0.conv",
]
LAYER = "text_encoder.text_model.encoder.layers.1"
TEXT = [f"{LAYER}.self_attn.q_proj", f"{LAYER}.self_attn.out_proj", f"{LAYER}.mlp.fc1"]
XL_BLOCK = "unet.up_blocks.0.attentions.1"
XL = [
    f"{XL_BLOCK}.transformer_blocks.1.attn2.to_v",
    f"{XL_BLOCK}.proj_out",
    "unet.up_blocks.0.resnets.1.conv_shortcut",
    "unet.up_blocks.0.upsamplers.0.conv",
    "unet.down_blocks.1.downsamplers.0.conv",
    "unet.mid_block.resnets.1.time_emb_proj",
    "unet.add_embedding.linear_2",
    "unet.conv_in",
    *TEXT,
    "text_encoder_2.text_model.encoder.layers.2.self_attn.v_proj",
]
KOHYAS = ALPHA / RANK
SCALE = 0.7


def bits(model: Any) -> dict[str, bytes]:
    """Every number of a model, bit for bit."""
    parts = {name: part for name, part in vars(model).items() if isinstance(part, torch.nn.Module)}
    return {
        f"{part}.{name}": value.numpy().tobytes()
        for part, module in parts.items()
        for name, value in module.state_dict().items()
    }


def key_of(model: Any, layer: Layer) -> str:
    part = layer.name.partition(".")[0]
    names = {module: name for name, module in getattr(model, part).named_modules()}
    return f"{part}.{names[layer.module]}.weight"


def weight(model: Any, key: str) -> Tensor:
    part, _, name = key.partition(".")
    found: Tensor = getattr(model, part).get_parameter(name)
    return found


def check(model: Any, path: Path, found: list[Layer], factor: float) -> None:
    """A model with the file at SCALE is that by hand in these layers, bit for bit the same in all others."""
    before = bits(model)
    changed = added(model, Additions.of(loras=[f"{path}:{SCALE}"]))
    assert bits(model) == before
    after, own = bits(changed), {key_of(model, layer): layer for layer in found}
    assert {key for key in after if after[key] != before[key]} == own.keys()
    for key, layer in own.items():
        by_hand = weight(model, key).double() + SCALE * factor * layer.added
        torch.testing.assert_close(weight(changed, key).double(), by_hand, rtol=1e-6, atol=1e-6)
    assert changed.additions[0].left_out == ()
    assert changed.fingerprint == model.fingerprint


@pytest.mark.parametrize(
    ("layout", "names", "factor"),
    [
        (lora_files.kohya, [*ATTENTION, *MORE, *TEXT], KOHYAS),
        (lora_files.diffusers, [*ATTENTION, *MORE, *TEXT], 1.0),
        (lora_files.first_diffusers, [*ATTENTION, *TEXT], 1.0),
        (lora_files.comfy, [*ATTENTION, MORE[0]], 1.0),
    ],
    ids=["kohya", "diffusers", "first-diffusers", "comfy"],
)
def test_stable_diffusion_1(sd1: Any, tmp_path: Path, layout: Any, names: list[str], factor: float) -> None:
    found = layers(sd1, *names)
    check(sd1, write(tmp_path / "a.safetensors", found, layout), found, factor)


@pytest.mark.parametrize(
    ("layout", "factor"),
    [(lora_files.kohya_xl, KOHYAS), (lora_files.diffusers, 1.0)],
    ids=["kohya", "diffusers"],
)
def test_sdxl(xl: Any, tmp_path: Path, layout: Any, factor: float) -> None:
    found = layers(xl, *XL)
    check(xl, write(tmp_path / "a.safetensors", found, layout), found, factor)


@pytest.mark.parametrize("model", ["sd1", "xl"])
def test_every_layer_has_stabilitys_name(model: str, request: pytest.FixtureRequest) -> None:
    loaded = request.getfixturevalue(model)
    names = layers_of(loaded)
    for name, module in lora_files.all_stabilitys(loaded.unet):
        assert find_layer(names, f"lora_unet_{name.replace('.', '_')}") == ("unet", module)


def test_as_diffusers_itself_adds_it(sd1: Any, tmp_path: Path) -> None:
    """Both its own file, with alphas in the metadata, and kohya's, merged by its own arithmetic (peft)."""
    from diffusers import StableDiffusionPipeline

    own = layers(sd1, *ATTENTION, f"{BLOCK}.proj_in")
    pairs = {key: value for each in own for key, value in lora_files.diffusers(each).items()}
    theirs = {key.removeprefix("unet."): value for key, value in pairs.items()}
    config = {"r": RANK, "lora_alpha": 5, "alpha_pattern": {"proj_in": 1}}
    config |= {"target_modules": [each.name.removeprefix("unet.") for each in own]}
    StableDiffusionPipeline.save_lora_weights(
        tmp_path, unet_lora_layers=theirs, unet_lora_adapter_metadata=config
    )
    kohyas = write(tmp_path / "k.safetensors", layers(sd1, *ATTENTION, *TEXT), lora_files.kohya)
    for path in (tmp_path / "pytorch_lora_weights.safetensors", kohyas):
        parts = {name: getattr(sd1, name) for name in ("unet", "vae", "text_encoder", "tokenizer")}
        pipe = StableDiffusionPipeline(
            **copy.deepcopy(parts),  # diffusers writes to them
            scheduler=None,
            safety_checker=None,
            feature_extractor=None,
        )
        pipe.load_lora_weights(path)
        pipe.fuse_lora(lora_scale=SCALE)
        pipe.unload_lora_weights()
        changed = added(sd1, Additions.of(loras=[f"{path}:{SCALE}"]))
        assert bits(changed) != bits(sd1)
        for part in ("unet", "text_encoder"):
            for name, value in getattr(changed, part).state_dict().items():
                torch.testing.assert_close(
                    getattr(pipe, part).state_dict()[name], value, rtol=1e-5, atol=1e-5
                )


def test_several_are_summed_and_scale_0_changes_nothing(sd1: Any, tmp_path: Path) -> None:
    first, second = layers(sd1, ATTENTION[0], ATTENTION[1]), layers(sd1, ATTENTION[1], ATTENTION[0])
    one = write(tmp_path / "one.safetensors", first, lora_files.diffusers)
    two = write(tmp_path / "two.safetensors", second, lora_files.kohya)
    changed = added(sd1, Additions.of(loras=[one, f"{two}:-2"]))
    for layer, other in zip(first, reversed(second), strict=True):
        key = key_of(sd1, layer)
        by_hand = weight(sd1, key).double() + layer.added - 2 * KOHYAS * other.added
        torch.testing.assert_close(weight(changed, key).double(), by_hand, rtol=1e-6, atol=1e-6)
    assert [(Path(each.path), each.scale) for each in changed.additions] == [(one, 1.0), (two, -2.0)]
    assert bits(added(sd1, Additions.of(loras=[f"{one}:0"]))) == bits(sd1)


def test_pefts_own_file_with_its_configuration_beside(sd1: Any, tmp_path: Path) -> None:
    found = layers(sd1, ATTENTION[0])
    layer = found[0]
    name = f"base_model.model.{layer.name.removeprefix('unet.')}"
    path = tmp_path / "adapter_model.safetensors"
    save_file({f"{name}.lora_A.weight": layer.down, f"{name}.lora_B.weight": layer.up}, path)
    check(sd1, path, found, 1.0)
    (tmp_path / "adapter_config.json").write_text(
        json.dumps({"lora_alpha": 8, "r": RANK, "use_rslora": True})
    )
    check(sd1, path, found, 8 / RANK**0.5)


def test_a_pickled_file_and_one_in_fp16(sd1: Any, tmp_path: Path) -> None:
    (layer,) = layers(sd1, ATTENTION[0])
    tensors = {key: value.half() for key, value in lora_files.kohya(layer).items()}
    torch.save({"state_dict": tensors}, path := tmp_path / "a.pt")
    half = Layer(layer.name, layer.down.half(), layer.up.half(), layer.module)
    check(sd1, path, [half], KOHYAS)


def test_what_fits_no_layer_is_named(sd1: Any, tmp_path: Path) -> None:
    more = {
        "lora_unet_down_blocks_7_attentions_0_proj_in.lora_down.weight": torch.ones(2, 4),
        "lora_unet_down_blocks_7_attentions_0_proj_in.lora_up.weight": torch.ones(4, 2),
        "bundle_emb.cat.emb": torch.ones(3),
        "lora_unet_lost.alpha": torch.tensor(1.0),
    }
    path = write(tmp_path / "a.safetensors", layers(sd1, ATTENTION[0]), lora_files.kohya, more)
    (file,) = added(sd1, Additions.of(loras=[path])).additions
    assert sorted(file.left_out) == [
        "bundle_emb.cat.emb",
        "lora_unet_down_blocks_7_attentions_0_proj_in",
        "lora_unet_lost.alpha",
    ]


def two(name: str, columns: int, rows: int = 8) -> dict[str, Tensor]:
    return {f"{name}.lora_down.weight": torch.ones(2, columns), f"{name}.lora_up.weight": torch.ones(rows, 2)}


SD1S = two("lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k", 768)
SD2S = two("lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k", 1024)
XLS = two("lora_unet_input_blocks_4_1_transformer_blocks_0_attn2_to_k", 2048)
OLD = {
    "down_blocks.0.attentions.0.transformer_blocks.0.attn2.processor.to_k_lora.down.weight": torch.ones(
        2, 2048
    ),
    "down_blocks.0.attentions.0.transformer_blocks.0.attn2.processor.to_k_lora.up.weight": torch.ones(8, 2),
}
FLUXS = two("lora_unet_double_blocks_0_img_attn_proj", 3072) | two(
    "lora_te1_text_model_encoder_layers_0_mlp_fc1", 8
)
FLUXS_2 = {
    "transformer.single_transformer_blocks.0.attn.to_q.lora_A.weight": torch.ones(2, 8),
    "transformer.single_transformer_blocks.0.attn.to_q.lora_B.weight": torch.ones(8, 2),
}


@pytest.mark.parametrize(
    ("model", "tensors", "said"),
    [
        ("xl", SD1S, "is a LoRA for Stable Diffusion 1.x, and"),
        (
            "xl",
            two("lora_te_text_model_encoder_layers_0_self_attn_q_proj", 768),
            "a LoRA for Stable Diffusion 1.x",
        ),
        ("xl", SD2S, "is a LoRA for Stable Diffusion 2.x, and"),
        ("sd1", XLS, "is a LoRA for SDXL, and"),
        ("sd1", OLD, "is a LoRA for SDXL, and"),
        ("sd1", two("lora_te2_text_model_encoder_layers_0_mlp_fc1", 8), "is a LoRA for SDXL, and"),
        ("sd1", FLUXS, "is a LoRA for FLUX, and"),
        ("xl", FLUXS_2, "is a LoRA for FLUX, and"),
        (
            "sd1",
            two("lora_unet_joint_blocks_0_x_block_attn_proj", 8),
            "is a LoRA for Stable Diffusion 3, and",
        ),
        ("sd1", two("lora_unet_blocks_0_self_attn_q", 8), "another kind of model, a diffusion transformer"),
        ("sd1", SD1S, "was made for another model than"),  # of the family, in another size
        ("sd1", two("lora_unet_nowhere", 8), "fits no layer of"),
        ("sd1", {"lora_unet_x.hada_w1_a": torch.ones(2, 2)}, "is a LoHa: only plain LoRAs"),
        ("sd1", {"lora_unet_x.lokr_w1": torch.ones(2, 2)}, "is a LoKr: only plain LoRAs"),
        ("sd1", SD1S | {"lora_unet_x.dora_scale": torch.ones(2)}, "is a DoRA: only plain LoRAs"),
        ("sd1", SD1S | {"a.lora_magnitude_vector.weight": torch.ones(2)}, "is a DoRA: only plain LoRAs"),
        ("sd1", SD1S | {"lora_unet_x.lora_mid.weight": torch.ones(2, 2, 3, 3)}, "is a LoCon with a core"),
        ("sd1", SD1S | {"unet.x.lora_B.bias": torch.ones(2)}, "is a LoRA with biases"),
        ("sd1", {"lora_unet_x.diff": torch.ones(2, 2)}, "is whole differences of weights"),
        ("sd1", {"clip_l": torch.ones(2, 768)}, "is a textual inversion (words for prompts), no LoRA"),
        ("sd1", {"decoder.conv_in.weight": torch.ones(8, 4, 3, 3)}, "no LoRA"),
        ("sd1", {"lora_unet_x.lora_down.weight": torch.ones(2, 2)}, "has one of two matrices"),
        (
            "sd1",
            {
                "lora_unet_x.lora_down.weight": torch.ones(2, 2),
                "lora_unet_x.lora_up.weight": torch.ones(2, 3),
            },
            "of different ranks",
        ),
    ],
)
def test_refused_by_name(
    model: str, tensors: dict[str, Tensor], said: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    save_file(tensors, path := tmp_path / "lora.safetensors")
    with pytest.raises(AdditionError) as caught:
        added(request.getfixturevalue(model), Additions.of(loras=[path]))
    assert str(path) in str(caught.value)
    assert said in str(caught.value)


def test_numbers_that_are_none(sd1: Any, tmp_path: Path) -> None:
    (layer,) = layers(sd1, ATTENTION[0])
    tensors = lora_files.kohya(layer)
    path = tmp_path / "lora.safetensors"
    for key, said in {"lora_up.weight": "not finite", "alpha": "is no number"}.items():
        name = next(name for name in tensors if name.endswith(key))
        save_file({**tensors, name: tensors[name] * float("nan")}, path)
        with pytest.raises(AdditionError, match=said):
            added(sd1, Additions.of(loras=[path]))


class Runs:
    """What unpickling would run."""

    def __reduce__(self) -> Any:
        return print, ("run",)


def test_files_that_are_none(sd1: Any, tmp_path: Path) -> None:
    torch.save({"x": Runs()}, tmp_path / "code.pt")
    whole = write(tmp_path / "whole.safetensors", layers(sd1, ATTENTION[0]), lora_files.kohya).read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(whole[:-100])
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "page.safetensors").write_text("<html>Not found</html>")
    for name, kind, said in (
        ("code.pt", CheckpointError, "asks for code to be run"),
        ("cut.safetensors", CheckpointError, "cut off"),
        ("page.safetensors", AdditionError, "is a web page, not a LoRA"),
        ("missing.safetensors", AdditionError, "cannot be read: No such file"),
        (".", AdditionError, "is a folder, name the file in it"),
        ("pipe", AdditionError, "is no file"),
    ):
        with pytest.raises(kind, match=said):
            added(sd1, Additions.of(loras=[tmp_path / name]))


def test_the_scale_stands_behind_the_last_colon(tmp_path: Path) -> None:
    (strange := tmp_path / "a:2").write_bytes(b"")
    loras = Additions.of(
        loras=["C:\\loras\\x.safetensors", "x.safetensors:-0.5", str(strange), f"{strange}:3"]
    ).loras
    assert [(str(each.path), each.scale) for each in loras] == [
        ("C:\\loras\\x.safetensors", 1.0),
        ("x.safetensors", -0.5),
        (str(strange), 1.0),
        (str(strange), 3.0),
    ]
    for text in ("x.safetensors:strong", "x.safetensors:nan", ""):
        with pytest.raises(UsageError):
            Additions.of(loras=[text])
