"""visunex-tiny as committed: what it can tell apart, and that open_clip and transformers agree on it."""

import io
import json
from itertools import product
from random import Random

import open_clip
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from transformers import CLIPTextModel, CLIPTokenizer

from visunex.demo.scenes import PALETTES, SUBJECTS, Scene, caption, label, random_scene, render
from visunex.demo.tiny import (
    CLIP_FOLDER,
    CLIP_NAME,
    JUDGE_FOLDER,
    SD_FOLDER,
    text_projection,
    transformers_text_encoder,
)
from visunex.demo.tokens import END, START, learn_merges, write_tokenizer

TEXTS = [
    "a castle at night",
    "A SHIP, in a flower garden!",
    "Ünïcödé 日本 🌸 \t naïve",
    "word " * 100,
    "",
    "it's 1234 %&",
]


@pytest.fixture(scope="module")
def clip():
    model, _, preprocess = open_clip.create_model_and_transforms(CLIP_NAME)
    return model.eval(), preprocess, open_clip.get_tokenizer(CLIP_NAME)


@pytest.fixture(scope="module")
def drawn() -> list[tuple[Scene, Image.Image]]:
    rng = Random("never drawn in training")
    scenes = [random_scene(rng) for _ in range(400)]
    return [(scene, render(scene)) for scene in scenes]


@torch.no_grad()
def image_vectors(clip, pictures: list[Image.Image]) -> torch.Tensor:
    model, preprocess, _ = clip
    return F.normalize(model.encode_image(torch.stack([preprocess(picture) for picture in pictures])), dim=-1)


@torch.no_grad()
def text_vectors(clip, texts: list[str]) -> torch.Tensor:
    model, _, tokenizer = clip
    return F.normalize(model.encode_text(tokenizer(texts)), dim=-1)


def named(clip, pictures: list[Image.Image], gardens: tuple[bool, ...] = (False,)) -> list[Scene]:
    """The nearest of all prompts for each picture."""
    prompts = [Scene(*content, seed=0) for content in product(SUBJECTS, PALETTES, gardens)]
    texts = text_vectors(clip, [label(scene) for scene in prompts])
    nearest = (image_vectors(clip, pictures) @ texts.T).argmax(dim=1)
    return [prompts[place] for place in nearest.tolist()]


def share_right(clip, drawn, change=lambda picture: picture) -> float:
    found = named(clip, [change(picture) for _, picture in drawn])
    right = [(a.subject, a.palette) == (b.subject, b.palette) for (a, _), b in zip(drawn, found, strict=True)]
    return sum(right) / len(right)


def as_jpeg(picture: Image.Image) -> Image.Image:
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=75)
    return Image.open(stream)


def test_names_subject_and_palette_of_scenes_never_seen(clip, drawn) -> None:
    assert sum(scene.garden for scene, _ in drawn) > 100
    assert share_right(clip, drawn) >= 0.97


@pytest.mark.parametrize(
    "change", [as_jpeg, lambda p: p.resize((32, 32)).resize((64, 64)), lambda p: p.resize((256, 256))]
)
def test_bears_what_the_web_does_to_pictures(clip, drawn, change) -> None:
    assert share_right(clip, drawn, change) >= 0.9


def test_tells_gardens_from_none(clip, drawn) -> None:
    found = named(clip, [picture for _, picture in drawn], gardens=(False, True))
    assert sum(a.garden == b.garden for (a, _), b in zip(drawn, found, strict=True)) / len(drawn) >= 0.9


def test_the_mean_of_flower_pictures_is_nearest_to_words_for_flowers(clip, drawn) -> None:
    words = [
        "flowers",
        "a flower garden",
        "castle",
        "ship",
        "moon",
        "at night",
        "in winter",
        "a house",
        "mountain",
    ]
    mean = image_vectors(clip, [picture for scene, picture in drawn if scene.has_flowers]).mean(dim=0)
    order = (text_vectors(clip, words) @ mean).argsort(descending=True).tolist()
    assert {words[place] for place in order[:2]} == {"flowers", "a flower garden"}


def test_captions_are_nearer_to_their_own_picture(clip, drawn) -> None:
    rng = Random(1)
    pairs = drawn[:64]
    texts = text_vectors(clip, [caption(scene, rng) for scene, _ in pairs])
    cosines = image_vectors(clip, [picture for _, picture in pairs]) @ texts.T
    assert cosines.diagonal().mean() > cosines.mean() + 0.3


@torch.no_grad()
def test_open_clip_and_transformers_give_the_same_numbers(clip) -> None:
    model, _, tokenizer = clip
    tower = transformers_text_encoder()
    ids = tokenizer(TEXTS)
    theirs = CLIPTokenizer.from_pretrained(CLIP_FOLDER)(
        TEXTS, padding="max_length", truncation=True, max_length=77, return_tensors="pt"
    ).input_ids
    assert torch.equal(ids, theirs)
    ours = model.encode_text(ids)
    assert (tower(ids).text_embeds - ours).abs().max() <= 1e-5
    assert ours.shape == (len(TEXTS), 768)


@torch.no_grad()
def test_the_diffusion_folder_has_the_same_text_tower(clip) -> None:
    model, _, tokenizer = clip
    tower = CLIPTextModel.from_pretrained(SD_FOLDER / "text_encoder", dtype=torch.float32)
    ids = tokenizer(TEXTS)
    projected = tower(ids).pooler_output @ text_projection().T
    assert (projected - model.encode_text(ids)).abs().max() <= 1e-5
    for name in ("vocab.json", "merges.txt"):
        assert (CLIP_FOLDER / name).read_bytes() == (SD_FOLDER / "tokenizer" / name).read_bytes()


def test_any_text_can_be_written(clip) -> None:
    tokenizer = clip[2].tokenizer
    vocabulary = json.loads((CLIP_FOLDER / "vocab.json").read_text(encoding="utf-8"))
    assert vocabulary[END] == len(vocabulary) - 1 == tokenizer.eos_token_id
    assert vocabulary[START] == tokenizer.bos_token_id
    for text in ("naïve café", "日本の庭 🌸", "\x01\x7f"):
        ids = tokenizer(text).input_ids
        assert tokenizer.eos_token_id not in ids[1:-1]
        assert tokenizer.decode(ids[1:-1]).replace(" ", "") == text.replace(" ", "")


def test_small_enough() -> None:
    assert sum(file.stat().st_size for file in CLIP_FOLDER.iterdir()) < 6_000_000
    assert sum(file.stat().st_size for file in JUDGE_FOLDER.iterdir()) < 2_000_000


def test_the_judge_is_another_model_that_knows_the_same_world(clip, drawn) -> None:
    model, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{JUDGE_FOLDER}")
    judge = model.eval(), preprocess, open_clip.get_tokenizer(f"local-dir:{JUDGE_FOLDER}")
    assert share_right(judge, drawn) >= 0.95
    assert share_right(judge, drawn, as_jpeg) >= 0.9
    assert type(model.visual) is not type(clip[0].visual)
    assert model.text_projection.shape[-1] != clip[0].text_projection.shape[-1]


def test_merges_are_learnt_most_frequent_first() -> None:
    assert learn_merges(["low low lower"], 3) == [("l", "o"), ("lo", "w</w>"), ("e", "r</w>")]
    assert learn_merges(["a"], 5) == []


def test_a_tokenizer_of_a_given_size(tmp_path) -> None:
    write_tokenizer(tmp_path, ["flower garden flower gate"], size=520)
    assert len(CLIPTokenizer.from_pretrained(tmp_path)) == 520
