"""`steered` against the plain method, and in diffusers' own pipelines."""

import pytest
import torch
from diffusers import (
    ControlNetModel,
    StableDiffusionControlNetPipeline,
    StableDiffusionImg2ImgPipeline,
    StableDiffusionInpaintPipeline,
    StableDiffusionXLControlNetPipeline,
    StableDiffusionXLImg2ImgPipeline,
    StableDiffusionXLInpaintPipeline,
)
from small_pipelines import a_projection, a_vector, moved_plainly, sd1_pipe, sdxl_pipe

from visunex.generate import Taste, steered
from visunex.generate.errors import CheckpointError, SteeringError, UsageError
from visunex.generate.pipelines import encoders

LR = 1e-3
LENGTHS = {1: "fox", 20: "a castle at night by the sea " * 3, 75: "one red fox, an old ship " * 20}


def state_of(pipe):
    """All that a pipeline's text encoders are: their values, hooks, flags and what is set on them."""
    encoders = [part for name, part in pipe.components.items() if name.startswith("text_encoder")]
    return [
        (
            {name: value.clone() for name, value in encoder.state_dict().items()},
            [
                (name, sorted(vars(module)), dict(module._forward_hooks))
                for name, module in encoder.named_modules()
            ],
            [(value.requires_grad, value.grad is None, value.dtype) for value in encoder.parameters()],
            encoder.training,
        )
        for encoder in encoders
        if encoder is not None
    ], {name: value for name, value in vars(pipe).items() if "scale" in name}


def assert_unchanged(pipe, before):
    for (values, *rest), (values_before, *rest_before) in zip(state_of(pipe)[0], before[0], strict=True):
        assert all(torch.equal(values[name], values_before[name]) for name in values_before)
        assert rest == rest_before
    assert state_of(pipe)[1] == before[1]


def ids_of(tokenizer, text):
    return tokenizer(
        text, padding="max_length", max_length=77, truncation=True, return_tensors="pt"
    ).input_ids


def plain(encoder, tokenizer, text, projection, target, skip, *, steps=3, lr=LR, normed=False):
    """States `[L, D]` and pooled `[D]` of an encoder moved by the plain method."""
    ids = ids_of(tokenizer, text)
    end = ids[0].tolist().index(tokenizer.eos_token_id)
    moved = encoder if target is None else moved_plainly(encoder, ids, end, projection, target, steps, lr)
    with torch.no_grad():
        said = moved(ids, output_hidden_states=True)
        states = said.hidden_states[-1 - skip][0]
        inner = getattr(moved, "text_model", moved)
        pooled = said.last_hidden_state[0, end]
        return (inner.final_layer_norm(states) if normed else states), pooled


def assert_close(found, wanted, unmoved):
    """Within 1e-4 and within 1 % of what the steps move."""
    moved = (wanted - unmoved).abs().max()
    assert moved > 1e-3
    assert (found - wanted).abs().max() < min(1e-4, float(moved) / 100)


@pytest.mark.parametrize("tokens", LENGTHS)
@pytest.mark.parametrize("clip_skip", [None, 1])
def test_sd1_is_steered_as_by_the_plain_method(sd1, tokens, clip_skip):
    projection, target, text = a_projection(32, 24), a_vector(24), LENGTHS[tokens]
    found = steered(sd1, text, target, steps=3, lr=LR, clip_skip=clip_skip, text_projection=projection)
    given = (sd1.text_encoder, sd1.tokenizer, text, projection)
    wanted, _ = plain(*given, target, clip_skip or 0, normed=True)
    unmoved, _ = plain(*given, None, clip_skip or 0, normed=True)
    assert_close(found["prompt_embeds"][0], wanted, unmoved)


@pytest.mark.parametrize("tokens", LENGTHS)
@pytest.mark.parametrize("clip_skip", [None, 1])
def test_sdxl_is_steered_as_by_the_plain_method(sdxl, tokens, clip_skip):
    assert_as_plain(sdxl, LENGTHS[tokens], a_vector(24), a_vector(40), a_projection(32, 24), clip_skip)


def assert_as_plain(pipe, text, first, second, projection, clip_skip=None, steps=3, lr=LR):
    found = steered(
        pipe, text, [first, second], steps=steps, lr=lr, clip_skip=clip_skip, text_projection=projection
    )
    skip = 1 + (clip_skip or 0)
    own = pipe.text_encoder_2.text_projection.weight.detach()
    of_first = (pipe.text_encoder, pipe.tokenizer, text, projection)
    of_second = (pipe.text_encoder_2, pipe.tokenizer_2, text, own)
    states, _ = plain(*of_first, first, skip, steps=steps, lr=lr)
    states_2, pooled = plain(*of_second, second, skip, steps=steps, lr=lr)
    (before, _), (before_2, pooled_before) = plain(*of_first, None, skip), plain(*of_second, None, skip)
    width = states.shape[1]
    assert_close(found["prompt_embeds"][0, :, :width], states, before)
    assert_close(found["prompt_embeds"][0, :, width:], states_2, before_2)
    assert_close(found["pooled_prompt_embeds"][0], own @ pooled, own @ pooled_before)


def test_encoders_of_full_width_are_steered_as_by_the_plain_method(words):
    """CLIP-L's and bigG's widths and sizes, with few layers and few words."""
    pipe = sdxl_pipe(words, widths=(768, 1280), layers=(2, 2), size=1280)
    assert_as_plain(pipe, "a castle", a_vector(768), a_vector(1280), a_projection(768, 768), steps=2, lr=1e-4)


def test_tokens_added_to_one_tokenizer_are_read_by_its_encoder_alone(sdxl):
    """A textual inversion of two vectors that only the second encoder has."""
    sdxl.tokenizer_2.add_tokens(["<toy>", "<toy>_1"])
    sdxl.text_encoder_2.resize_token_embeddings(len(sdxl.tokenizer_2))
    text, own = "a <toy>", sdxl.text_encoder_2.text_projection.weight.detach()
    found = steered(sdxl, text, a_vector(40), steps=3, lr=LR)
    given = (sdxl.text_encoder_2, sdxl.tokenizer_2, "a <toy> <toy>_1", own)
    assert_close(
        found["prompt_embeds"][0, :, 32:], plain(*given, a_vector(40), 1)[0], plain(*given, None, 1)[0]
    )


def test_the_end_of_text_is_the_tokenizers_where_the_config_has_the_old_value(words):
    pipe = sd1_pipe(words(), eos_token_id=2)
    pipe.tokenizer.add_tokens(["<toy>"])
    pipe.text_encoder.resize_token_embeddings(len(pipe.tokenizer))
    projection, target = a_projection(32, 24), a_vector(24)
    found = steered(pipe, "a <toy> fox", target, steps=3, lr=LR, text_projection=projection)
    given = (pipe.text_encoder, pipe.tokenizer, "a <toy> fox", projection)
    wanted, _ = plain(*given, target, 0, normed=True)
    assert_close(found["prompt_embeds"][0], wanted, plain(*given, None, 0, normed=True)[0])


@pytest.mark.parametrize("how", [{"steps": 0}, {"blend": 0}])
def test_without_steps_it_is_the_pipelines_own_conditioning_bit_for_bit(sd1, sdxl, how):
    texts = {"prompt": ["a castle", "fox"], "negative_prompt": ["night", "sea"]}
    prompt, negative = texts.values()
    found = steered(sdxl, prompt, a_vector(40), negative_prompt=negative, clip_skip=1, lora_scale=0.5, **how)
    with torch.no_grad():
        wanted = sdxl.encode_prompt(**texts, clip_skip=1)
    names = [
        "prompt_embeds",
        "negative_prompt_embeds",
        "pooled_prompt_embeds",
        "negative_pooled_prompt_embeds",
    ]
    assert list(found) == names
    assert all(torch.equal(found[name], each) for name, each in zip(names, wanted, strict=True))

    found = steered(sd1, "a castle", a_vector(24), text_projection=a_projection(32, 24), **how)
    with torch.no_grad():
        wanted = sd1.encode_prompt("a castle", "cpu", 1, True)
    assert all(torch.equal(found[name], each) for name, each in zip(names[:2], wanted, strict=True))


def test_blend_lies_between_the_plain_and_the_moved_conditioning(sdxl):
    plain, half, moved = (
        steered(sdxl, "fox", a_vector(40), steps=3, lr=LR, blend=blend) for blend in (0, 0.5, 1)
    )
    for name in ("prompt_embeds", "pooled_prompt_embeds"):
        assert torch.allclose(half[name], (plain[name] + moved[name]) / 2, atol=1e-5)


def test_each_prompt_of_a_batch_is_moved_on_its_own(sdxl):
    texts, others = ["fox", "a castle at night"], ["sea", "ship"]
    both = steered(sdxl, texts, a_vector(40), steps=3, lr=LR, prompt_2=others, negative_prompt="night")
    for row, (text, other) in enumerate(zip(texts, others, strict=True)):
        alone = steered(sdxl, text, a_vector(40), steps=3, lr=LR, prompt_2=other, negative_prompt="night")
        for name, each in alone.items():
            assert torch.allclose(both[name][row], each[0], atol=1e-5), name


def test_the_empty_prompt_is_not_moved(sdxl):
    found = steered(sdxl, ["", "fox"], a_vector(40), steps=3, lr=LR)
    before = steered(sdxl, ["", "fox"], a_vector(40), steps=0)
    same = (found["prompt_embeds"] == before["prompt_embeds"]).flatten(1).all(1)
    assert same.tolist() == [True, False]


def test_sdxls_last_layer_of_clip_l_conditions_nothing(sdxl):
    """Why the states are the penultimate ones; bigG's last layer moves its feature alone."""
    before = steered(sdxl, "fox", a_vector(40), steps=0)
    with torch.no_grad():
        sdxl.text_encoder.encoder.layers[-1].mlp.fc2.weight.mul_(3)
    after = steered(sdxl, "fox", a_vector(40), steps=0)
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_sdxls_last_layer_of_big_g_moves_the_feature_and_no_state(sdxl):
    before = steered(sdxl, "fox", a_vector(40), steps=0)
    with torch.no_grad():
        sdxl.text_encoder_2.text_model.encoder.layers[-1].mlp.fc2.weight.mul_(3)
    after = steered(sdxl, "fox", a_vector(40), steps=0)
    assert torch.equal(before["prompt_embeds"], after["prompt_embeds"])
    assert not torch.equal(before["pooled_prompt_embeds"], after["pooled_prompt_embeds"])


def test_only_the_encoder_that_has_a_target_is_moved(sdxl):
    before = steered(sdxl, "fox", a_vector(40), steps=0)
    first = steered(sdxl, "fox", a_vector(24), steps=3, lr=LR, text_projection=a_projection(32, 24))
    second = steered(sdxl, "fox", a_vector(40), steps=3, lr=LR)
    assert torch.equal(first["pooled_prompt_embeds"], before["pooled_prompt_embeds"])
    assert torch.equal(first["prompt_embeds"][..., 32:], before["prompt_embeds"][..., 32:])
    assert torch.equal(second["prompt_embeds"][..., :32], before["prompt_embeds"][..., :32])
    assert not torch.equal(second["pooled_prompt_embeds"], before["pooled_prompt_embeds"])


def test_the_pipeline_is_left_as_it_was(sdxl):
    before = state_of(sdxl)
    steered(sdxl, "fox", a_vector(40), steps=2, lr=LR, lora_scale=0.7)
    assert_unchanged(sdxl, before)

    def stop(step, cosine):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        steered(sdxl, "fox", a_vector(40), on_step=stop)
    with pytest.raises(SteeringError, match=r"ran away|no nearer"):
        steered(sdxl, "fox", a_vector(40), lr=1e6)
    assert_unchanged(sdxl, before)


def test_the_pipeline_is_left_as_it_was_where_diffusers_itself_fails(sdxl, monkeypatch):
    before = state_of(sdxl)

    def fails(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(sdxl.text_encoder_2.text_projection, "forward", fails)
    with pytest.raises(KeyboardInterrupt):
        steered(sdxl, "fox", a_vector(40))
    monkeypatch.undo()
    assert_unchanged(sdxl, before)


def test_callers_in_inference_mode_get_the_same(sdxl):
    wanted = steered(sdxl, "fox", a_vector(40), steps=3, lr=LR)
    with torch.inference_mode():
        found = steered(sdxl, "fox", a_vector(40), steps=3, lr=LR)
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)


def test_a_pipeline_in_fp16_gets_fp16_moved_in_fp32(sdxl):
    wanted = steered(sdxl, "fox", a_vector(40), steps=3, lr=LR)
    sdxl.text_encoder.half(), sdxl.text_encoder_2.half()
    found = steered(sdxl, "fox", a_vector(40), steps=3, lr=LR)
    assert {each.dtype for each in found.values()} == {torch.float16}
    assert torch.allclose(found["pooled_prompt_embeds"].float(), wanted["pooled_prompt_embeds"], atol=2e-2)


def test_the_plain_form_used_off_the_cpu_gives_the_same(sdxl, monkeypatch):
    from visunex.generate.steering import steer

    wanted = steered(sdxl, "fox", a_vector(40), steps=3, lr=LR, clip_skip=1)
    monkeypatch.setattr(steer, "method_on", lambda device: "reference")
    found = steered(sdxl, "fox", a_vector(40), steps=3, lr=LR, clip_skip=1)
    assert all(torch.allclose(found[name], wanted[name], atol=1e-4) for name in wanted)


def controlnet(pipe):
    return ControlNetModel.from_unet(pipe.unet, conditioning_embedding_out_channels=(8, 8))


def runs_in(pipe, kinds):
    """diffusers' own pipelines of a family, of the same parts, with what each wants beside a prompt."""
    image = torch.full((1, 3, 16, 16), 0.5)
    parts = {name: part for name, part in pipe.components.items() if name != "controlnet"}
    _, image_to_image, inpaint, control = kinds
    yield pipe, {}
    yield image_to_image(**parts), {"image": image, "strength": 0.9}
    yield (
        inpaint(**parts),
        {"image": image, "mask_image": image[:, :1] + 0.5, "strength": 0.9},
    )
    yield control(**parts, controlnet=controlnet(pipe)), {"image": image}


SD1 = (
    None,
    StableDiffusionImg2ImgPipeline,
    StableDiffusionInpaintPipeline,
    StableDiffusionControlNetPipeline,
)
SDXL = (
    None,
    StableDiffusionXLImg2ImgPipeline,
    StableDiffusionXLInpaintPipeline,
    StableDiffusionXLControlNetPipeline,
)


@pytest.mark.parametrize("family", ["sd1", "sdxl"])
def test_diffusers_own_pipelines_take_what_comes_back(request, family):
    pipe = request.getfixturevalue(family)
    size, kinds = (24, SD1) if family == "sd1" else (40, SDXL)
    projection = a_projection(32, 24) if family == "sd1" else None
    for each, beside in runs_in(pipe, kinds):
        each.set_progress_bar_config(disable=True)
        images = []
        for steps in (0, 3):
            arguments = steered(
                each, "a castle", a_vector(size), steps=steps, lr=LR, text_projection=projection
            )
            generator = torch.Generator().manual_seed(1)
            made = each(**arguments, **beside, num_inference_steps=2, generator=generator, output_type="np")
            images.append(made.images[0])
        assert (images[0] != images[1]).any(), type(each).__name__
        generator = torch.Generator().manual_seed(1)
        own = each("a castle", **beside, num_inference_steps=2, generator=generator, output_type="np").images[
            0
        ]
        assert (own == images[0]).all(), type(each).__name__


def test_clip_skip_on_sd1_is_what_diffusers_means_where_it_works(sd1, words):
    """transformers from 5.6 on has no `text_model` in it, for which diffusers asks."""
    found = steered(sd1, "fox", a_vector(24), steps=0, clip_skip=1, text_projection=a_projection(32, 24))
    wanted, _ = plain(sd1.text_encoder, sd1.tokenizer, "fox", None, None, 1, normed=True)
    assert torch.allclose(found["prompt_embeds"][0], wanted, atol=1e-5)
    assert "text_model" not in vars(sd1.text_encoder)


def test_a_compiled_encoder_is_moved(sdxl):
    wanted = steered(sdxl, "fox", a_vector(40), steps=3, lr=LR)
    plain = sdxl.text_encoder_2
    sdxl.register_modules(text_encoder_2=torch.compile(plain, backend="eager"))
    with torch.compiler.set_stance("force_eager"):  # the wrapper is the matter here
        found = steered(sdxl, "fox", a_vector(40), steps=3, lr=LR)
    assert all(torch.allclose(found[name], wanted[name], atol=1e-5) for name in wanted)


def test_an_encoder_without_a_projection_says_what_it_needs(sd1):
    with pytest.raises((UsageError, CheckpointError, SteeringError), match="text_projection"):
        steered(sd1, "fox", a_vector(24))


def test_a_tokenizer_without_a_length_is_named(sdxl):
    sdxl.tokenizer.model_max_length = 10**30
    with pytest.raises(UsageError, match=r"pipe\.tokenizer\.model_max_length = 77"):
        steered(sdxl, "fox", a_vector(40))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"prompt": 3}, "prompt is int 3"),
        ({"prompt": []}, "prompt is"),
        ({"negative_prompt": ["a", "b", "c"]}, "negative_prompt has 3 texts for 1"),
        ({"blend": 2}, "blend is 2"),
        ({"clip_skip": 9}, "leaves out more than"),
        ({"clip_skip": -1}, "clip_skip is -1"),
        ({"max_sequence_length": 5}, "takes no max_sequence_length"),
        ({"steps": -1}, "give 0"),
        ({"text_projection": torch.ones(4, 5)}, "give \\[D_proj, 32\\]"),
        ({"pipe": "a pipe"}, "give a pipeline of diffusers"),
    ],
)
def test_arguments_that_make_no_sense_are_named(sdxl, changes, said):
    given = {"pipe": sdxl, "prompt": "fox", "targets": a_vector(40)} | changes
    if "text_projection" in changes:
        given["targets"] = a_vector(4)
    with pytest.raises(UsageError, match=said):
        steered(given.pop("pipe"), given.pop("prompt"), given.pop("targets"), **given)


def test_where_the_device_has_no_room_the_copy_moves_on_the_cpu(sdxl, monkeypatch, caplog):
    """bigG in fp32 with its moments takes more than many GPUs have free beside a UNet."""
    real, devices = encoders.move, []

    def full(*given, device, **options):
        devices.append(device.type)
        if device.type == "cuda":
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return real(*given, device=device, **options)

    wanted = steered(sdxl, "fox", a_vector(40), steps=3, lr=LR)
    monkeypatch.setattr(encoders, "move", full)
    found = steered(sdxl, "fox", a_vector(40), steps=3, lr=LR, device="cuda")
    assert devices == ["cuda", "cpu"]
    assert "no room for a moving copy" in caplog.text
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)


def test_steps_that_lead_away_are_named(sdxl):
    near = steered(sdxl, "fox", a_vector(40), steps=0)["pooled_prompt_embeds"] + 0.1 * a_vector(40)
    with pytest.raises(SteeringError, match=r"1 steps of 3 led text_encoder_2 no nearer .*lower lr"):
        steered(sdxl, "fox", near, steps=1, lr=3.0)


def test_the_refiners_one_encoder_is_moved(sdxl):
    wanted = steered(sdxl, "fox", a_vector(40), steps=3, lr=LR)
    sdxl.register_modules(text_encoder=None, tokenizer=None)
    found = steered(sdxl, "fox", a_vector(40), steps=3, lr=LR)
    assert torch.allclose(found["prompt_embeds"], wanted["prompt_embeds"][..., 32:], atol=1e-5)
    assert torch.allclose(found["pooled_prompt_embeds"], wanted["pooled_prompt_embeds"], atol=1e-5)


def test_steps_and_rate_are_the_tastes_where_nothing_else_is_said(sdxl):
    taste = Taste("mine", a_vector(40), steps=2, lr=LR)
    seen = []
    found = steered(sdxl, "fox", taste, on_step=lambda step, cosine: seen.append(step))
    assert seen == [0, 1]
    wanted = steered(sdxl, "fox", a_vector(40), steps=2, lr=LR)
    assert torch.equal(found["prompt_embeds"], wanted["prompt_embeds"])


def test_an_encoder_of_no_clip_is_named(sdxl, words):
    sdxl.text_encoder_2 = torch.nn.Linear(3, 3)
    with pytest.raises(SteeringError, match="no CLIP text model"):
        steered(sdxl, "fox", a_vector(40))
