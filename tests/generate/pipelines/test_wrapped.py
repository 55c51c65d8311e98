"""Text encoders that are not plain modules in memory: adapters (peft), offloads (accelerate, diffusers)."""

import copy

import pytest
import torch
from diffusers.hooks import apply_group_offloading
from small_pipelines import a_vector

from visunex.generate import personalise, steered
from visunex.generate.errors import SteeringError

accelerate = pytest.importorskip("accelerate")
peft = pytest.importorskip("peft")

LR = 1e-3


def steer(pipe, **options):
    return steered(pipe, "a castle", a_vector(40), steps=3, lr=LR, **options)


def same(found, wanted):
    return all(torch.allclose(found[name], wanted[name], atol=1e-4) for name in wanted)


def add_lora(encoder, name="drawn", seed=1, **settings):
    config = peft.LoraConfig(
        r=4,
        lora_alpha=8,
        target_modules=["q_proj", "v_proj", "out_proj", "fc1"],
        init_lora_weights=False,
        **settings,
    )
    torch.manual_seed(seed)
    peft.inject_adapter_in_model(config, encoder, adapter_name=name)


def merged(encoder, scale=1.0):
    """Another encoder, with what peft computes of the adapters in the place of the layers they wrap."""
    from peft.tuners.lora import Linear

    plain = copy.deepcopy(encoder)
    for path, module in list(plain.named_modules()):
        if isinstance(module, Linear):
            layer = module.base_layer
            with torch.no_grad():
                for adapter in module.active_adapters:
                    layer.weight += scale * module.get_delta_weight(adapter)
            parent, _, leaf = path.rpartition(".")
            setattr(plain.get_submodule(parent), leaf, layer)
    return plain


@pytest.mark.parametrize("scale", [None, 0.4, 0.0])
def test_an_active_lora_is_merged_before_the_copy_moves(sdxl, scale):
    add_lora(sdxl.text_encoder_2)
    wanted_of = copy.copy(sdxl)
    wanted_of.text_encoder_2 = merged(sdxl.text_encoder_2, 1.0 if scale is None else scale)
    scales = [dict(each.scaling) for each in loras(sdxl.text_encoder_2)]
    found = steer(sdxl, lora_scale=scale)
    assert same(found, steer(wanted_of))
    assert not same(found, steer_without(sdxl)) or scale == 0.0
    assert [dict(each.scaling) for each in loras(sdxl.text_encoder_2)] == scales
    assert "_lora_scale" not in vars(sdxl)


def loras(encoder):
    from peft.tuners.lora import Linear

    return [module for module in encoder.modules() if isinstance(module, Linear)]


def steer_without(pipe):
    for each in loras(pipe.text_encoder_2):
        each.enable_adapters(enabled=False)
    try:
        return steer(pipe)
    finally:
        for each in loras(pipe.text_encoder_2):
            each.enable_adapters(enabled=True)


def test_disabled_and_fused_adapters_leave_layers_that_are_understood(sdxl):
    without = steer(sdxl)
    add_lora(sdxl.text_encoder_2)
    active = steer(sdxl)
    assert same(steer_without(sdxl), without)
    for each in loras(sdxl.text_encoder_2):
        each.merge()
    assert same(steer(sdxl), active)


@pytest.mark.filterwarnings("ignore:Already found a `peft_config`:UserWarning")
def test_two_adapters_of_different_strength_are_both_merged(sdxl):
    add_lora(sdxl.text_encoder_2)
    add_lora(sdxl.text_encoder_2, "painted", seed=2)
    for each in loras(sdxl.text_encoder_2):
        each.set_adapter(["drawn", "painted"])
        each.set_scale("painted", 0.3)
    wanted_of = copy.copy(sdxl)
    wanted_of.text_encoder_2 = merged(sdxl.text_encoder_2)
    assert same(steer(sdxl), steer(wanted_of))


def test_an_adapter_that_is_more_than_two_matrices_is_refused(sdxl):
    add_lora(sdxl.text_encoder_2, use_dora=True)
    with pytest.raises(SteeringError, match=r"no plain LoRA, drawn: .*pipe\.fuse_lora\(\)"):
        steer(sdxl)


def test_an_error_leaves_the_adapters_scales(sdxl, monkeypatch):
    add_lora(sdxl.text_encoder_2)
    scales = [dict(each.scaling) for each in loras(sdxl.text_encoder_2)]

    def fails(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(sdxl.text_encoder_2.text_projection, "forward", fails)
    with pytest.raises(KeyboardInterrupt):
        steer(sdxl, lora_scale=0.3)
    assert [dict(each.scaling) for each in loras(sdxl.text_encoder_2)] == scales


def test_under_model_offload_nothing_else_is_copied(sdxl):
    """The hook of an encoder holds the part before it: a copy of the module would take it along."""
    wanted = steer(sdxl)
    _, hook = accelerate.cpu_offload_with_hook(sdxl.unet, "cpu")
    accelerate.cpu_offload_with_hook(sdxl.text_encoder_2, "cpu", prev_module_hook=hook)
    found = steer(sdxl)
    assert same(found, wanted)


def test_under_sequential_offload_the_weights_are_taken_from_the_hooks(sdxl):
    from accelerate.hooks import remove_hook_from_submodules

    wanted = steer(sdxl)
    before = {name: value.clone() for name, value in sdxl.text_encoder_2.state_dict().items()}
    accelerate.cpu_offload(sdxl.text_encoder_2, "cpu", offload_buffers=True)
    assert next(sdxl.text_encoder_2.parameters()).is_meta
    seen = []
    found = steer(sdxl, on_step=lambda step, cosine: seen.append(cosine))
    assert same(found, wanted)
    assert seen == sorted(seen)
    assert next(sdxl.text_encoder_2.parameters()).is_meta
    remove_hook_from_submodules(sdxl.text_encoder_2)
    assert all(torch.equal(value, before[name]) for name, value in sdxl.text_encoder_2.state_dict().items())


def test_weights_on_meta_that_are_nowhere_are_refused(sdxl):
    encoder = sdxl.text_encoder_2
    attention = encoder.text_model.encoder.layers[1].self_attn
    attention.q_proj.weight = torch.nn.Parameter(attention.q_proj.weight.to("meta"), requires_grad=False)
    ids = torch.tensor([[encoder.config.bos_token_id, 7, encoder.config.eos_token_id]])
    with pytest.raises(SteeringError, match=r"q_proj\.weight is not here as plain numbers"):
        personalise(encoder, encoder.text_projection, ids, a_vector(40), steps=1)


@pytest.mark.parametrize("kind", ["leaf_level", "block_level"])
def test_group_offload_is_understood(sdxl, kind):
    wanted = steer(sdxl)
    settings = {"offload_type": kind} | ({"num_blocks_per_group": 1} if kind == "block_level" else {})
    apply_group_offloading(sdxl.text_encoder_2, torch.device("cpu"), torch.device("cpu"), **settings)
    assert same(steer(sdxl), wanted)


def test_groups_in_files_of_their_own_are_refused(sdxl, tmp_path):
    apply_group_offloading(
        sdxl.text_encoder_2,
        torch.device("cpu"),
        torch.device("cpu"),
        offload_type="leaf_level",
        offload_to_disk_path=str(tmp_path),
    )
    with pytest.raises(SteeringError, match="offloaded to a disk in groups"):
        steer(sdxl)
