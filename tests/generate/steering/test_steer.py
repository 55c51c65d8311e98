import re
import threading

import pytest
import torch
from transformers import CLIPTextModel

from visunex.generate.errors import EmbeddingSizeError, SteeringError, UsageError
from visunex.generate.steering import clip_text_encoder as moving
from visunex.generate.steering import steer
from visunex.generate.steering.reference import aesthetic_gradients
from visunex.generate.steering.steer import conditioning, method_on, personalise

TOLERANCE = 1e-4
LR = 1e-4


def projection_of(text_encoder: CLIPTextModel, size: int | None = None) -> torch.Tensor:
    width = text_encoder.config.hidden_size
    return torch.randn(size or width, width, generator=torch.Generator().manual_seed(1)) * width**-0.5


def an_embedding(size: int) -> torch.Tensor:
    return torch.randn(1, size, generator=torch.Generator().manual_seed(2)) * 7


def frozen(text_encoder: CLIPTextModel) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in text_encoder.state_dict().items()}


def untouched(text_encoder: CLIPTextModel, before: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(value, before[name]) for name, value in text_encoder.state_dict().items())


def assert_agrees(text_encoder, ids, steps, lr=LR):
    """Same conditioning as the reference, where the steps move it by far more than the tolerance."""
    projection, embedding = projection_of(text_encoder), an_embedding(text_encoder.config.hidden_size)
    expected = aesthetic_gradients(text_encoder, projection, ids, embedding, steps=steps, lr=lr)
    moved = personalise(text_encoder, projection, ids, embedding, steps=steps, lr=lr)
    assert (moved - expected).abs().max() < TOLERANCE
    assert (moved - conditioning(text_encoder, ids)).abs().max() > 100 * TOLERANCE


@pytest.mark.parametrize("steps", [1, 5, 20])
@pytest.mark.parametrize("tokens", [1, 20, 75, 90])
def test_agrees_with_the_reference(small_text_encoder, prompt, tokens, steps):
    assert_agrees(small_text_encoder, prompt(small_text_encoder, tokens), steps, lr=1e-3)


def test_agrees_on_a_text_encoder_of_full_width(text_encoder, prompt):
    wide = text_encoder(768, 2)
    assert_agrees(wide, prompt(wide, 20), steps=1)


@pytest.mark.slow
@pytest.mark.parametrize("steps", [1, 5, 20])
@pytest.mark.parametrize("tokens", [1, 20, 76])
def test_agrees_on_the_full_size_text_encoder_at_length(full_text_encoder, prompt, tokens, steps):
    assert_agrees(full_text_encoder, prompt(full_text_encoder, tokens), steps)


@pytest.mark.parametrize("end", [499, 2])
def test_finds_the_end_of_text_in_old_and_new_configs_and_under_other_padding(text_encoder, prompt, end):
    small = text_encoder(64, 2, eos_token_id=end)
    ids = prompt(small, 6)
    ids[0, 8:] = 0  # SD 2's padding
    assert_agrees(small, ids, steps=3, lr=1e-3)


@pytest.mark.parametrize("method", ["fast", "reference"])
@pytest.mark.parametrize("added", [{3: 500}, {1: 501, 9: 500}, {}])
def test_tokens_added_behind_the_end_of_text_do_not_move_it(text_encoder, prompt, monkeypatch, method, added):
    """Textual inversion adds rows: `<cat-toy>` is 500 where the end of text is 499."""
    monkeypatch.setattr(steer, "method_on", lambda device: method)
    small = text_encoder(64, 2, vocab_size=502, eos_token_id=499)
    ids = prompt(text_encoder(64, 2), 6)
    for position, token in added.items():
        ids[0, position] = token
    projection, embedding = projection_of(small), an_embedding(64)
    expected = aesthetic_gradients(small, projection, ids, embedding, steps=3, lr=1e-3)
    for wrong in (2, 501):
        small.config.eos_token_id = wrong
        moved = personalise(small, projection, ids, embedding, steps=3, lr=1e-3, eos_token_id=499)
        assert (moved - expected).abs().max() < TOLERANCE


def test_a_prompt_without_an_end_of_text_is_refused(small_text_encoder, prompt):
    ids = prompt(small_text_encoder, 3)
    with pytest.raises(UsageError, match="no end of text"):
        personalise(
            small_text_encoder,
            projection_of(small_text_encoder),
            ids,
            an_embedding(64),
            steps=1,
            eos_token_id=498765,
        )


def test_the_fast_method_runs_where_it_was_measured_faster():
    assert method_on("cpu") == "fast"
    assert {method_on(other) for other in ("cuda", "mps", "xpu", "meta")} == {"reference"}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_off_the_cpu_the_reference_gives_the_same(text_encoder, prompt, monkeypatch, dtype):
    small, embedding = text_encoder(64, 3).to(dtype), an_embedding(64)
    projection, ids, before = projection_of(small), prompt(small, 9), frozen(small)
    seen: dict[str, list[float]] = {"fast": [], "reference": []}
    moved = {}
    for method, cosines in seen.items():
        monkeypatch.setattr(steer, "method_on", lambda device, method=method: method)
        with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
            moved[method] = personalise(
                small,
                projection,
                ids,
                embedding,
                steps=5,
                lr=1e-3,
                on_step=lambda step, cosine, cosines=cosines: cosines.append(cosine),
            )
    assert moved["reference"].dtype == dtype
    assert (moved["fast"] - moved["reference"]).abs().max() < (1e-2 if dtype == torch.float16 else TOLERANCE)
    assert seen["fast"] == pytest.approx(seen["reference"], abs=1e-5)
    assert untouched(small, before)


def test_zero_steps_is_the_untouched_model_bit_for_bit(small_text_encoder, prompt):
    ids = prompt(small_text_encoder, 5)
    moved = personalise(small_text_encoder, projection_of(small_text_encoder), ids, an_embedding(64), steps=0)
    with torch.no_grad():
        assert torch.equal(moved, small_text_encoder(input_ids=ids).last_hidden_state)


def test_cosine_rises_with_every_step(small_text_encoder, prompt):
    seen: list[float] = []
    personalise(
        small_text_encoder,
        projection_of(small_text_encoder),
        prompt(small_text_encoder, 5),
        an_embedding(64),
        steps=8,
        lr=1e-3,
        on_step=lambda step, cosine: seen.append(cosine),
    )
    assert len(seen) == 8
    assert seen == sorted(seen)


def test_the_length_of_the_embedding_does_not_count(small_text_encoder, prompt):
    projection, embedding = projection_of(small_text_encoder), an_embedding(64)
    given = personalise(small_text_encoder, projection, prompt(small_text_encoder, 5), embedding, steps=2)
    flat = personalise(
        small_text_encoder, projection, prompt(small_text_encoder, 5), embedding[0] * 8, steps=2
    )  # a power of two: its direction has the same bits, and Adam's steps magnify any other rounding
    assert (given - flat).abs().max() < 1e-5


def test_the_text_encoder_is_bit_identical_afterwards(small_text_encoder, prompt):
    before, training = frozen(small_text_encoder), small_text_encoder.training
    personalise(
        small_text_encoder,
        projection_of(small_text_encoder),
        prompt(small_text_encoder, 5),
        an_embedding(64),
        steps=3,
    )
    assert untouched(small_text_encoder, before)
    assert small_text_encoder.training == training
    assert all(value.grad is None for value in small_text_encoder.parameters())


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_the_text_encoder_is_bit_identical_after_a_failure(small_text_encoder, prompt, error):
    before, ids = frozen(small_text_encoder), prompt(small_text_encoder, 5)
    own = [id(value) for value in small_text_encoder.parameters()]

    def fail(step: int, cosine: float) -> None:
        if step == 2:
            raise error

    with pytest.raises(error):
        personalise(
            small_text_encoder,
            projection_of(small_text_encoder),
            ids,
            an_embedding(64),
            steps=5,
            on_step=fail,
        )
    assert untouched(small_text_encoder, before)
    assert [id(value) for value in small_text_encoder.parameters()] == own


def test_refuses_a_model_that_is_no_clip_text_model(small_text_encoder, prompt):
    class Other(torch.nn.Module):
        config = small_text_encoder.config

        def __init__(self):
            super().__init__()
            self.embeddings = small_text_encoder.embeddings

    with pytest.raises(SteeringError, match="no CLIP text model"):
        personalise(
            Other(),
            projection_of(small_text_encoder),
            prompt(small_text_encoder, 5),
            an_embedding(64),
            steps=1,
        )


def test_refuses_adapters_rather_than_leave_them_out(text_encoder, prompt):
    class LoraLinear(torch.nn.Linear):
        pass

    adapted = text_encoder(64, 3)
    adapted.encoder.layers[1].self_attn.k_proj = LoraLinear(64, 64)
    with pytest.raises(SteeringError, match=r"LoraLinear.*merge"):
        personalise(adapted, projection_of(adapted), prompt(adapted, 5), an_embedding(64), steps=1)


@pytest.mark.parametrize("threads", [2, 3])
def test_several_cores_share_the_work(text_encoder, prompt, threads):
    wide, before = text_encoder(192, 2), torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        assert_agrees(wide, prompt(wide, 20), steps=3, lr=1e-3)
    finally:
        torch.set_num_threads(before)


def test_what_fails_in_the_second_thread_is_raised(text_encoder, prompt, monkeypatch):
    def fail(value, gradient):
        raise MemoryError(threading.current_thread().name)

    wide, before = text_encoder(64, 3), torch.get_num_threads()
    monkeypatch.setattr(moving._Moving, "step", fail)
    torch.set_num_threads(2)
    try:
        with pytest.raises(MemoryError):
            personalise(wide, projection_of(wide), prompt(wide, 5), an_embedding(64), steps=1)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_a_matrix_steps_in_pieces(small_text_encoder, prompt, monkeypatch):
    monkeypatch.setattr(moving, "_PIECE", 1000)
    assert_agrees(small_text_encoder, prompt(small_text_encoder, 20), steps=3, lr=1e-3)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_maths_is_fp32_whatever_the_models_precision(text_encoder, prompt, dtype):
    half = text_encoder(64, 3).to(dtype)
    same_in_fp32 = text_encoder(64, 3).to(dtype).float()
    projection, embedding = projection_of(half), an_embedding(64)
    moved = personalise(half, projection.to(dtype), prompt(half, 9), embedding.to(dtype), steps=5, lr=1e-3)
    expected = personalise(
        same_in_fp32, projection.to(dtype), prompt(half, 9), embedding.to(dtype), steps=5, lr=1e-3
    )
    assert moved.dtype == dtype
    assert torch.equal(moved, expected.to(dtype))


def test_works_inside_inference_mode_and_autocast(small_text_encoder, prompt):
    projection, embedding = projection_of(small_text_encoder), an_embedding(64)
    outside = personalise(small_text_encoder, projection, prompt(small_text_encoder, 5), embedding, steps=2)
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        inside = personalise(
            small_text_encoder,
            projection.clone(),
            prompt(small_text_encoder, 5).clone(),
            embedding.clone(),
            steps=2,
        )
    assert torch.equal(inside, outside)


def test_a_projection_to_another_size(small_text_encoder, prompt):
    projection, embedding = projection_of(small_text_encoder, 24), an_embedding(24)
    moved = personalise(small_text_encoder, projection, prompt(small_text_encoder, 7), embedding, steps=3)
    expected = aesthetic_gradients(
        small_text_encoder, projection, prompt(small_text_encoder, 7), embedding, steps=3, lr=LR
    )
    assert (moved - expected).abs().max() < TOLERANCE


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        ((1, 1024), "this embedding is 1x1024 (ViT-H-14), the model needs 1x64"),
        ((3,), "1x3"),
        ((2, 64), "2x64"),
    ],
)
def test_refuses_a_vector_of_another_size(small_text_encoder, prompt, shape, said):
    with pytest.raises(EmbeddingSizeError, match=re.escape(said)):
        personalise(
            small_text_encoder,
            projection_of(small_text_encoder),
            prompt(small_text_encoder, 5),
            torch.ones(shape),
            steps=1,
        )


@pytest.mark.parametrize("fault", [{"steps": -1}, {"lr": 0.0}, {"lr": float("nan")}, {"lr": float("inf")}])
def test_refuses_senseless_steps_and_rates(small_text_encoder, prompt, fault):
    with pytest.raises(UsageError, match=r"--aesthetic_(steps|lr)"):
        personalise(
            small_text_encoder,
            projection_of(small_text_encoder),
            prompt(small_text_encoder, 5),
            an_embedding(64),
            **({"steps": 1} | fault),
        )


def test_refuses_several_prompts_at_once(small_text_encoder, prompt):
    ids = prompt(small_text_encoder, 5).repeat(2, 1)
    with pytest.raises(UsageError, match="one by one"):
        personalise(small_text_encoder, projection_of(small_text_encoder), ids, an_embedding(64), steps=1)


@pytest.mark.parametrize("value", [0.0, float("nan")])
def test_refuses_an_embedding_without_a_direction(small_text_encoder, prompt, value):
    with pytest.raises(SteeringError, match="no direction"):
        personalise(
            small_text_encoder,
            projection_of(small_text_encoder),
            prompt(small_text_encoder, 5),
            torch.full((1, 64), value),
            steps=1,
        )


def test_says_when_the_rate_was_too_high(small_text_encoder, prompt):
    with pytest.raises(SteeringError, match="lower --aesthetic_lr"):
        personalise(
            small_text_encoder,
            projection_of(small_text_encoder),
            prompt(small_text_encoder, 5),
            an_embedding(64),
            steps=3,
            lr=1e30,
        )


def test_the_same_result_in_another_thread(small_text_encoder, prompt):
    projection, embedding = projection_of(small_text_encoder), an_embedding(64)
    here = personalise(small_text_encoder, projection, prompt(small_text_encoder, 5), embedding, steps=2)
    there: list[torch.Tensor] = []
    thread = threading.Thread(
        target=lambda: there.append(
            personalise(small_text_encoder, projection, prompt(small_text_encoder, 5), embedding, steps=2)
        )
    )
    thread.start()
    thread.join()
    assert (here - there[0]).abs().max() < 1e-6
