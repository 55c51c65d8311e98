import re
import threading

import pytest
import torch
from transformers import CLIPTextModel

from visunex.generate.errors import EmbeddingSizeError, SteeringError, UsageError
from visunex.generate.steering import clip_text_encoder as moving
from visunex.generate.steering.steer import conditioning, personalise

TOLERANCE = 1e-4
LR = 1e-4


def projection_of(tower: CLIPTextModel, size: int | None = None) -> torch.Tensor:
    width = tower.config.hidden_size
    return torch.randn(size or width, width, generator=torch.Generator().manual_seed(1)) * width**-0.5


def an_embedding(size: int) -> torch.Tensor:
    return torch.randn(1, size, generator=torch.Generator().manual_seed(2)) * 7


def frozen(tower: CLIPTextModel) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in tower.state_dict().items()}


def untouched(tower: CLIPTextModel, before: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(value, before[name]) for name, value in tower.state_dict().items())


def assert_agrees(tower, plain_method, ids, steps, lr=LR):
    """Same conditioning as the plain method, where the steps move it by far more than the tolerance."""
    projection, embedding = projection_of(tower), an_embedding(tower.config.hidden_size)
    expected = plain_method(tower, projection, ids, embedding, steps, lr)
    moved = personalise(tower, projection, ids, embedding, steps=steps, lr=lr)
    assert (moved - expected).abs().max() < TOLERANCE
    assert (moved - conditioning(tower, ids)).abs().max() > 100 * TOLERANCE


@pytest.mark.parametrize("steps", [1, 5, 20])
@pytest.mark.parametrize("tokens", [1, 20, 75, 90])
def test_agrees_with_the_plain_method(small_tower, plain_method, prompt, tokens, steps):
    assert_agrees(small_tower, plain_method, prompt(small_tower, tokens), steps, lr=1e-3)


def test_agrees_on_the_full_size_tower(full_tower, plain_method, prompt):
    assert_agrees(full_tower, plain_method, prompt(full_tower, 20), steps=1)


@pytest.mark.slow
@pytest.mark.parametrize("steps", [1, 5, 20])
@pytest.mark.parametrize("tokens", [1, 20, 76])
def test_agrees_on_the_full_size_tower_at_length(full_tower, plain_method, prompt, tokens, steps):
    assert_agrees(full_tower, plain_method, prompt(full_tower, tokens), steps)


@pytest.mark.parametrize("end", [499, 2])
def test_finds_the_end_of_text_in_old_and_new_configs_and_under_other_padding(
    tower, plain_method, prompt, end
):
    small = tower(64, 2, eos_token_id=end)
    ids = prompt(small, 6)
    ids[0, 8:] = 0  # SD 2's padding
    assert_agrees(small, plain_method, ids, steps=3, lr=1e-3)


def test_zero_steps_is_the_untouched_model_bit_for_bit(small_tower, prompt):
    ids = prompt(small_tower, 5)
    moved = personalise(small_tower, projection_of(small_tower), ids, an_embedding(64), steps=0)
    with torch.no_grad():
        assert torch.equal(moved, small_tower(input_ids=ids).last_hidden_state)


def test_cosine_rises_with_every_step(small_tower, prompt):
    seen: list[float] = []
    personalise(
        small_tower,
        projection_of(small_tower),
        prompt(small_tower, 5),
        an_embedding(64),
        steps=8,
        lr=1e-3,
        on_step=lambda step, cosine: seen.append(cosine),
    )
    assert len(seen) == 8
    assert seen == sorted(seen)


def test_the_length_of_the_embedding_does_not_count(small_tower, prompt):
    projection, embedding = projection_of(small_tower), an_embedding(64)
    given = personalise(small_tower, projection, prompt(small_tower, 5), embedding, steps=2)
    flat = personalise(small_tower, projection, prompt(small_tower, 5), embedding[0] * 9, steps=2)
    assert (given - flat).abs().max() < 1e-5


def test_the_tower_is_bit_identical_afterwards(small_tower, prompt):
    before, training = frozen(small_tower), small_tower.training
    personalise(small_tower, projection_of(small_tower), prompt(small_tower, 5), an_embedding(64), steps=3)
    assert untouched(small_tower, before)
    assert small_tower.training == training
    assert all(value.grad is None for value in small_tower.parameters())


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_the_tower_is_bit_identical_after_a_failure(small_tower, prompt, error):
    before, ids = frozen(small_tower), prompt(small_tower, 5)
    own = [id(value) for value in small_tower.parameters()]

    def fail(step: int, cosine: float) -> None:
        if step == 2:
            raise error

    with pytest.raises(error):
        personalise(small_tower, projection_of(small_tower), ids, an_embedding(64), steps=5, on_step=fail)
    assert untouched(small_tower, before)
    assert [id(value) for value in small_tower.parameters()] == own


def test_refuses_a_model_that_is_no_clip_text_model(small_tower, prompt):
    class Other(torch.nn.Module):
        config = small_tower.config

        def __init__(self):
            super().__init__()
            self.embeddings = small_tower.embeddings

    with pytest.raises(SteeringError, match="no CLIP text model"):
        personalise(Other(), projection_of(small_tower), prompt(small_tower, 5), an_embedding(64), steps=1)


def test_refuses_adapters_rather_than_leave_them_out(tower, prompt):
    class LoraLinear(torch.nn.Linear):
        pass

    adapted = tower(64, 3)
    adapted.encoder.layers[1].self_attn.k_proj = LoraLinear(64, 64)
    with pytest.raises(SteeringError, match=r"LoraLinear.*merge"):
        personalise(adapted, projection_of(adapted), prompt(adapted, 5), an_embedding(64), steps=1)


@pytest.mark.parametrize("threads", [2, 3])
def test_several_cores_share_the_work(tower, plain_method, prompt, threads):
    wide, before = tower(192, 2), torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        assert_agrees(wide, plain_method, prompt(wide, 20), steps=3, lr=1e-3)
    finally:
        torch.set_num_threads(before)


def test_what_fails_in_the_second_thread_is_raised(tower, prompt, monkeypatch):
    def fail(value, gradient):
        raise MemoryError(threading.current_thread().name)

    wide, before = tower(64, 3), torch.get_num_threads()
    monkeypatch.setattr(moving._Moving, "step", fail)
    torch.set_num_threads(2)
    try:
        with pytest.raises(MemoryError):
            personalise(wide, projection_of(wide), prompt(wide, 5), an_embedding(64), steps=1)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_a_matrix_steps_in_pieces(small_tower, plain_method, prompt, monkeypatch):
    monkeypatch.setattr(moving, "_PIECE", 1000)
    assert_agrees(small_tower, plain_method, prompt(small_tower, 20), steps=3, lr=1e-3)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_maths_is_fp32_whatever_the_models_precision(tower, prompt, dtype):
    half = tower(64, 3).to(dtype)
    same_in_fp32 = tower(64, 3).to(dtype).float()
    projection, embedding = projection_of(half), an_embedding(64)
    moved = personalise(half, projection.to(dtype), prompt(half, 9), embedding.to(dtype), steps=5, lr=1e-3)
    expected = personalise(
        same_in_fp32, projection.to(dtype), prompt(half, 9), embedding.to(dtype), steps=5, lr=1e-3
    )
    assert moved.dtype == dtype
    assert torch.equal(moved, expected.to(dtype))


def test_works_inside_inference_mode_and_autocast(small_tower, prompt):
    projection, embedding = projection_of(small_tower), an_embedding(64)
    outside = personalise(small_tower, projection, prompt(small_tower, 5), embedding, steps=2)
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        inside = personalise(
            small_tower, projection.clone(), prompt(small_tower, 5).clone(), embedding.clone(), steps=2
        )
    assert torch.equal(inside, outside)


def test_a_projection_to_another_size(small_tower, plain_method, prompt):
    projection, embedding = projection_of(small_tower, 24), an_embedding(24)
    moved = personalise(small_tower, projection, prompt(small_tower, 7), embedding, steps=3)
    expected = plain_method(small_tower, projection, prompt(small_tower, 7), embedding, 3, LR)
    assert (moved - expected).abs().max() < TOLERANCE


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        ((1, 1024), "this embedding is 1x1024 (ViT-H-14), the model needs 1x64"),
        ((3,), "1x3"),
        ((2, 64), "2x64"),
    ],
)
def test_refuses_a_vector_of_another_size(small_tower, prompt, shape, said):
    with pytest.raises(EmbeddingSizeError, match=re.escape(said)):
        personalise(
            small_tower, projection_of(small_tower), prompt(small_tower, 5), torch.ones(shape), steps=1
        )


@pytest.mark.parametrize("fault", [{"steps": -1}, {"lr": 0.0}, {"lr": float("nan")}, {"lr": float("inf")}])
def test_refuses_senseless_steps_and_rates(small_tower, prompt, fault):
    with pytest.raises(UsageError, match=r"--aesthetic_(steps|lr)"):
        personalise(
            small_tower,
            projection_of(small_tower),
            prompt(small_tower, 5),
            an_embedding(64),
            **({"steps": 1} | fault),
        )


def test_refuses_several_prompts_at_once(small_tower, prompt):
    ids = prompt(small_tower, 5).repeat(2, 1)
    with pytest.raises(UsageError, match="one by one"):
        personalise(small_tower, projection_of(small_tower), ids, an_embedding(64), steps=1)


@pytest.mark.parametrize("value", [0.0, float("nan")])
def test_refuses_an_embedding_without_a_direction(small_tower, prompt, value):
    with pytest.raises(SteeringError, match="no direction"):
        personalise(
            small_tower,
            projection_of(small_tower),
            prompt(small_tower, 5),
            torch.full((1, 64), value),
            steps=1,
        )


def test_says_when_the_rate_was_too_high(small_tower, prompt):
    with pytest.raises(SteeringError, match="lower --aesthetic_lr"):
        personalise(
            small_tower,
            projection_of(small_tower),
            prompt(small_tower, 5),
            an_embedding(64),
            steps=3,
            lr=1e30,
        )


def test_the_same_result_in_another_thread(small_tower, prompt):
    projection, embedding = projection_of(small_tower), an_embedding(64)
    here = personalise(small_tower, projection, prompt(small_tower, 5), embedding, steps=2)
    there: list[torch.Tensor] = []
    thread = threading.Thread(
        target=lambda: there.append(
            personalise(small_tower, projection, prompt(small_tower, 5), embedding, steps=2)
        )
    )
    thread.start()
    thread.join()
    assert (here - there[0]).abs().max() < 1e-6
