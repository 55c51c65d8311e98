"""A token that stands for a taste: learnt on the tiny model, loaded by diffusers' own code."""

import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from visunex.demo.tiny import SD_FOLDER
from visunex.export import encoder, tokens
from visunex.generate import Taste

Export = Callable[..., dict[str, Any]]
# What the web UI's check of pickled files lets through, see `test_vectors.py`.
WEB_UI_MEMBERS = re.compile(r"^([^/]+)/((data/\d+)|version|(data\.pkl))$")


@pytest.fixture(scope="module")
def side(flowers: Path) -> encoder.TextSide:
    (found,) = encoder.load("visunex-tiny", Taste.load(flowers), device="cpu")
    return found


def pipeline(width: int, tokenizer: CLIPTokenizer) -> Any:
    """What of a diffusers pipeline loads a textual inversion, over a text encoder of CLIP-L's config."""
    from diffusers.loaders import TextualInversionLoaderMixin

    torch.manual_seed(0)
    config = CLIPTextConfig(
        vocab_size=len(tokenizer), hidden_size=width, intermediate_size=4 * width, num_hidden_layers=1
    )

    class Pipeline(TextualInversionLoaderMixin):
        def __init__(self) -> None:
            self.tokenizer, self.text_encoder = tokenizer, CLIPTextModel(config).eval()
            self.components: dict[str, Any] = {}
            self.hf_device_map = None

    return Pipeline()


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_diffusers_loads_either_file_as_tokens_that_have_the_vectors(tmp_path: Path, suffix: str) -> None:
    vectors = torch.randn(3, 768, generator=torch.Generator().manual_seed(5))
    path = tmp_path / f"mygardens{suffix}"
    path.write_bytes(tokens.token_bytes("mygardens", {"text_encoder": vectors}, suffix))
    pipe = pipeline(768, CLIPTokenizer.from_pretrained(SD_FOLDER / "tokenizer"))
    pipe.load_textual_inversion(str(tmp_path), weight_name=path.name, local_files_only=True)
    text = pipe.maybe_convert_prompt("a castle mygardens", pipe.tokenizer)
    ids = pipe.tokenizer(text).input_ids
    assert torch.equal(pipe.text_encoder.embeddings.token_embedding.weight[ids[-4:-1]], vectors)


def test_the_web_ui_and_comfyui_find_the_vectors_in_either_file(tmp_path: Path) -> None:
    vectors = torch.randn(2, 768)
    path = tmp_path / "x.pt"
    path.write_bytes(tokens.token_bytes("x", {"text_encoder": vectors}, ".pt"))
    with zipfile.ZipFile(path) as archive:
        assert all(WEB_UI_MEMBERS.match(name) for name in archive.namelist())
    data = torch.load(path, weights_only=True)
    # modules/textual_inversion/textual_inversion.py: `string_to_param` with one entry; comfy/sd1_clip.py:
    # the first of its values.
    assert torch.equal(next(iter(data["string_to_param"].values())), vectors)
    assert len(data["string_to_param"]) == 1
    path = tmp_path / "x.safetensors"
    path.write_bytes(tokens.token_bytes("x", {"text_encoder": vectors}, ".safetensors"))
    # Both take the value of a file that has one tensor alone ("diffuser concepts").
    assert [torch.equal(value, vectors) for value in load_file(path).values()] == [True]


def test_a_token_comes_near_the_steps_and_stays_near_real_tokens(
    export: Export, flowers: Path, scenes: Path, side: encoder.TextSide, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokens, "STEPS", 40)
    tiny = ("--model", "visunex-tiny", "--device", "cpu", "--prompts", scenes)
    said = export(flowers, "--to", "token", *tiny, "--imitate", 20, "--out", "mine")["report"]
    way = said["cosine_steered"] - said["cosine_plain"]
    assert said["cosine"] - said["cosine_plain"] > 0.4 * way
    assert said["cosine_to_steered"] > 0.7
    (vectors,) = load_file("mine.safetensors").values()
    assert vectors.shape == (2, 128)
    assert vectors.norm(dim=1).max() <= tokens.real_rows(side).norm(dim=1).max()
    assert all(0.2 < cosine < 0.99 for cosine in said["cosine_to_nearest"])
    assert "mine' stands for 20 steps" in said["said"][0]


def test_rows_are_as_the_tokenizer_pads_and_cuts_them(side: encoder.TextSide) -> None:
    for text in ("a castle at night", "", "castle " * 100):
        padded = side.tokenizer(
            text, padding="max_length", max_length=77, truncation=True, return_tensors="pt"
        ).input_ids
        rows = side.rows([side.words(text)])
        assert torch.equal(rows.ids, padded)
        assert rows.ids[0, rows.ends[0]] == side.tokenizer.eos_token_id


def test_a_cut_changes_no_feature_and_hooks_leave_no_trace(side: encoder.TextSide) -> None:
    rows = side.rows([side.words(text) for text in ("a castle", "a ship at sunset")], behind=[5, 6])
    before = side.states(rows)
    assert torch.allclose(side.features(before), side.features(side.states(rows.cut)), atol=1e-5)
    with side.replaced(rows, side.table[[5, 6]]):
        assert torch.equal(side.states(rows).hidden, before.hidden)
    with side.replaced(rows, side.table[[7, 8]]):
        assert not torch.allclose(side.states(rows).hidden, before.hidden, atol=1e-3)
    assert torch.equal(side.states(rows).hidden, before.hidden)
