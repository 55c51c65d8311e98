"""Textual inversions: a word whose vectors are those of other words reads as these words do."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from visunex.generate import Sampler, Taste
from visunex.generate.additions import Additions, added
from visunex.generate.errors import AdditionError, CheckpointError

WORDS = "castle ship"
PLAIN, WITH = f"a painting of a {WORDS}, dark", "a painting of a My-Style, dark"


def vectors(model: Any) -> list[Tensor]:
    """The vectors of WORDS in each text encoder's table."""
    found = []
    for tokenizer, encoder in model.readers:
        table = getattr(encoder, "text_model", encoder).embeddings.token_embedding.weight
        found.append(table[tokenizer(WORDS).input_ids[1:-1]].detach().clone())
    return found


def same(model: Any, changed: Any, plain: str, prompt: str, taste: Taste | None = None) -> None:
    one, other = (
        Sampler(each).conditioner.prompt(text, taste) for each, text in ((model, plain), (changed, prompt))
    )
    assert torch.equal(one.hidden, other.hidden)
    if one.pooled is not None and other.pooled is not None:
        assert torch.equal(one.pooled, other.pooled)


def web_ui(rows: Tensor) -> Mapping[str, Any]:
    return {"string_to_token": {"*": 265}, "string_to_param": {"*": rows}, "name": "another", "step": 500}


def first_web_ui(rows: Tensor) -> Mapping[str, Any]:
    """As its first versions saved it, by torch's own kind of dictionary."""
    return web_ui(rows) | {"string_to_param": torch.nn.ParameterDict({"*": torch.nn.Parameter(rows)})}


@pytest.mark.parametrize("layout", [web_ui, first_web_ui, lambda rows: {"my-style": rows}])
def test_a_file_of_torch(sd1: Any, tmp_path: Path, layout: Any) -> None:
    torch.save(layout(vectors(sd1)[0]), path := tmp_path / "my-style.pt")
    changed = added(sd1, Additions.of(textual_inversions=[path]))
    same(sd1, changed, PLAIN, WITH)
    assert changed.additions[0].word == "my-style"


def test_safetensors_and_diffusers_own_word(sd1: Any, tmp_path: Path) -> None:
    (rows,) = vectors(sd1)
    save_file({"emb_params": rows}, one := tmp_path / "my-style.safetensors")
    save_file({"<cat-toy>": rows[0]}, other := tmp_path / "learned_embeds.safetensors")
    before = len(sd1.tokenizer), len(sd1.text_encoder.state_dict()["embeddings.token_embedding.weight"])
    changed = added(sd1, Additions.of(textual_inversions=[one, other]))
    same(sd1, changed, "a castle ship, castle castle", "a MY-STYLE,<cat-toy> <Cat-Toy>")
    same(sd1, changed, PLAIN, PLAIN)
    assert changed.tokenizer("my-styles").input_ids == sd1.tokenizer("my-styles").input_ids  # a longer word
    assert before == (
        len(sd1.tokenizer),
        len(sd1.text_encoder.state_dict()["embeddings.token_embedding.weight"]),
    )
    assert Sampler(changed).conditioner.surplus("my-style " * 40) == 80 + 2 - 77


def test_sdxl_in_one_file_and_in_two(xl: Any, tmp_path: Path) -> None:
    first, second = vectors(xl)
    save_file({"clip_l": first, "clip_g": second}, one := tmp_path / "my-style.safetensors")
    same(xl, added(xl, Additions.of(textual_inversions=[one])), PLAIN, WITH)
    files = []
    for number, rows in enumerate((first, second)):
        save_file({"My-Style": rows}, path := tmp_path / f"embeds_{number}.safetensors")
        files.append(path)
    changed = added(xl, Additions.of(textual_inversions=files))
    same(xl, changed, PLAIN, WITH)
    with pytest.raises(AdditionError, match=r"has 2 text encoders, and it has vectors for 1"):
        added(xl, Additions.of(textual_inversions=files[:1]))


def test_diffusers_own_pipeline_reads_it_too(xl: Any, tmp_path: Path) -> None:
    """Although the configurations, as SDXL's own, have the highest token for the end of a text."""
    from diffusers import StableDiffusionXLPipeline

    first, second = vectors(xl)
    save_file({"clip_l": first, "clip_g": second}, path := tmp_path / "my-style.safetensors")
    parts = ("text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2", "unet", "vae")
    found = []
    for model, prompt in ((xl, PLAIN), (added(xl, Additions.of(textual_inversions=[path])), WITH)):
        pipe = StableDiffusionXLPipeline(scheduler=None, **{part: getattr(model, part) for part in parts})
        found.append(pipe.encode_prompt(prompt, device="cpu"))
    for one, other in zip(*found, strict=True):
        assert torch.equal(one, other)


def test_added_rows_are_steered_as_any(sd1: Any, tmp_path: Path) -> None:
    torch.save(web_ui(vectors(sd1)[0]), path := tmp_path / "my-style.pt")
    torch.save(torch.randn(1, 64, generator=torch.Generator().manual_seed(3)), taste := tmp_path / "taste.pt")
    changed = added(sd1, Additions.of(textual_inversions=[path]))
    same(sd1, changed, PLAIN, WITH, Taste.load(taste, steps=2))


@pytest.mark.parametrize(
    ("model", "saved", "said"),
    [
        (
            "sd1",
            {"clip_l": torch.ones(2, 768), "clip_g": torch.ones(2, 1280)},
            "is a textual inversion for SDXL",
        ),
        ("sd1", {"<x>": torch.ones(768)}, "is a textual inversion for Stable Diffusion 1.x"),
        ("xl", {"<x>": torch.ones(768)}, "is a textual inversion for Stable Diffusion 1.x"),
        ("xl", {"emb_params": torch.ones(1, 1024)}, "is a textual inversion for Stable Diffusion 2.x"),
        ("sd1", {"emb_params": torch.ones(76, 64)}, "has 76 vectors, and a prompt has room for 75"),
        ("sd1", {"emb_params": torch.full((1, 64), float("nan"))}, "not finite"),
        ("sd1", {"emb_params": torch.ones(2, 2, 64)}, "no rows of floating-point numbers"),
        ("sd1", {"lora_unet_x.lora_down.weight": torch.ones(2, 2)}, "is a LoRA, no textual inversion"),
        (
            "sd1",
            {"a": torch.ones(2, 64), "b": torch.ones(2, 64)},
            "is another kind of file, no textual inversion",
        ),
        ("xl", {"clip_l": torch.ones(1, 64), "clip_g": torch.ones(2, 128)}, "1 and 2 vectors"),
    ],
)
def test_refused_by_name(
    model: str, saved: Mapping[str, Tensor], said: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    save_file(dict(saved), path := tmp_path / "word.safetensors")
    with pytest.raises(AdditionError) as caught:
        added(request.getfixturevalue(model), Additions.of(textual_inversions=[path]))
    assert said in str(caught.value)


def test_two_of_one_word_and_files_that_are_none(sd1: Any, tmp_path: Path) -> None:
    torch.save(web_ui(vectors(sd1)[0]), path := tmp_path / "my-style.pt")
    torch.save(
        {"string_to_param": {"*": torch.ones(1, 64), "+": torch.ones(1, 64)}}, two := tmp_path / "two.pt"
    )
    torch.save({"string_to_param": {"*": print}}, code := tmp_path / "code.pt")
    torch.save(torch.ones(1, 64), bare := tmp_path / "bare.pt")
    torch.save({"string_to_token": {"*": 265}, "name": "x"}, lost := tmp_path / "lost.pt")
    (word := tmp_path / " .pt").write_bytes(path.read_bytes())
    for files, kind, said in (
        ([path, path], AdditionError, "is a second textual inversion called my-style"),
        ([two], AdditionError, "with 2 words, and one is taken"),
        (
            [bare],
            AdditionError,
            "is an aesthetic embedding, no textual inversion: give it to --aesthetic_emb",
        ),
        ([lost], AdditionError, "no rows of floating-point numbers"),
        ([code], CheckpointError, "asks for code to be run"),
        ([word], AdditionError, "has no word for prompts"),
    ):
        with pytest.raises(kind, match=said):
            added(sd1, Additions.of(textual_inversions=files))


def test_the_web_uis_syntax(sd1: Any, tmp_path: Path) -> None:
    torch.save(web_ui(vectors(sd1)[0]), path := tmp_path / "my-style.pt")
    changed = added(sd1, Additions.of(textual_inversions=[path]))
    for plain, prompt in (
        ("a (castle ship:1.3), dark, " * 20, "a (My-Style:1.3), dark, " * 20),
        ("[castle ship] BREAK x", "[my-style] BREAK x"),
    ):
        one = Sampler(sd1).conditioner.prompt(plain, syntax="webui")
        other = Sampler(changed).conditioner.prompt(prompt, syntax="webui")
        assert torch.equal(one.hidden, other.hidden)
