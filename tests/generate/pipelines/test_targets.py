"""Which text encoder of a pipeline a vector moves."""

import logging

import pytest
import torch
from small_pipelines import a_projection, a_vector, sdxl_pipe

from visunex.aesthetic_embeddings import load, save
from visunex.aesthetic_embeddings.errors import EmbeddingError
from visunex.generate import Taste, steered
from visunex.generate.errors import EmbeddingSizeError, UsageError

BIG_G = "ViT-bigG-14:laion2b_s39b_b160k"


def moved(pipe, targets, **options):
    """Whether the states of the first encoder move, of the second, and the feature."""
    options = {"text_projection": a_projection(32, 24), "steps": 1, "lr": 1e-3} | options
    before = steered(pipe, "fox", targets, **(options | {"steps": 0}))
    found = steered(pipe, "fox", targets, **options)
    changed = (found["prompt_embeds"] != before["prompt_embeds"]).flatten(0, 1).any(0)
    width = pipe.text_encoder.config.hidden_size
    pooled = not torch.equal(found["pooled_prompt_embeds"], before["pooled_prompt_embeds"])
    return bool(changed[:width].any()), bool(changed[width:].any()), pooled


@pytest.mark.parametrize(
    ("targets", "which"),
    [
        (a_vector(24), (True, False, False)),
        (a_vector(40)[0], (False, True, True)),
        (a_vector(40).numpy(), (False, True, True)),
        (a_vector(40)[0].tolist(), (False, True, True)),
        ([a_vector(40), a_vector(24)], (True, True, True)),
        ({"text_encoder_2": a_vector(40)}, (False, True, True)),
        (Taste("one", a_vector(24)), (True, False, False)),
        (Taste("two", a_vector(24), others=(Taste("other", a_vector(40)),)), (True, True, True)),
    ],
)
def test_a_vector_goes_to_the_encoder_whose_size_it_has(sdxl, targets, which):
    assert moved(sdxl, targets) == which


def test_where_two_encoders_have_a_size_it_has_to_be_said_which(words):
    pipe = sdxl_pipe(words, size=24)
    with pytest.raises(UsageError, match=r"both take 1x24.*targets=\{'text_encoder': \.\.\.\}"):
        moved(pipe, a_vector(24))
    assert moved(pipe, {"text_encoder": a_vector(24)}) == (True, False, False)
    assert moved(pipe, {"text_encoder_2": a_vector(24)}) == (False, True, True)


@pytest.mark.parametrize(
    ("targets", "said"),
    [
        ([], "targets is empty"),
        ({"text_encoder_3": a_vector(40)}, "names text_encoder_3"),
        ("flower_plant", "targets is str 'flower_plant'"),
        (torch.zeros(2, 40), r"a vector of \[2, 40\]"),
    ],
)
def test_what_is_no_target_is_named(sdxl, targets, said):
    with pytest.raises(UsageError, match=said):
        moved(sdxl, targets)


def test_a_vector_of_another_size_is_named_with_the_sizes_there_are(sdxl):
    with pytest.raises(EmbeddingSizeError, match=r"1x1024 \(ViT-H-14\).*1x24 \(text_encoder\) and 1x40"):
        moved(sdxl, a_vector(1024))


@pytest.fixture
def wide(words):
    """CLIP-L's and bigG's sizes, where nothing has to be moved."""
    return sdxl_pipe(words, widths=(32, 48), size=1280)


def test_a_file_of_1280_has_to_say_of_which_clip_it_is(wide, tmp_path):
    torch.save(a_vector(1280), tmp_path / "mine.pt")
    with pytest.raises(EmbeddingError, match=f"space='{BIG_G}'"):
        moved(wide, Taste.load(tmp_path / "mine.pt"))
    assert moved(wide, Taste.load(tmp_path / "mine.pt", space=BIG_G)) == (False, True, True)
    assert moved(wide, a_vector(1280)) == (False, True, True)


def test_a_file_that_names_another_clip_is_refused(wide, tmp_path):
    model = {"name": "ViT-bigG-14", "pretrained": "other"}
    save(tmp_path / "mine.pt", a_vector(1280), {"model": model})
    with pytest.raises(EmbeddingError, match="vectors of different models"):
        moved(wide, Taste.load(tmp_path / "mine.pt"))
    with pytest.raises(EmbeddingError, match="vectors of different models"):
        moved(wide, load(tmp_path / "mine.pt"))
    with pytest.raises(EmbeddingError, match="vectors of different models"):
        Taste.load(tmp_path / "mine.pt", space=BIG_G)


def test_what_further_encoders_made_of_a_taste_comes_along(wide, tmp_path):
    """As `encode --also` leaves it: each file named by its space, which its provenance says too."""
    for space, size in ((("ViT-L-14", "openai"), 768), (("ViT-H-14", "laion2b_s32b_b79k"), 1024)):
        name = "mine" if size == 768 else f"mine-{'-'.join(space)}"
        save(
            tmp_path / f"{name}.pt",
            a_vector(size),
            {"model": dict(zip(("name", "pretrained"), space, strict=True))},
        )
    model = dict(zip(("name", "pretrained"), BIG_G.split(":"), strict=True))
    save(tmp_path / f"mine-{BIG_G.replace(':', '-')}.pt", a_vector(1280), {"model": model})
    save(tmp_path / "mine-old.pt", a_vector(1280, 9), {"model": model})
    (tmp_path / "mine-broken.pt").write_bytes(b"nothing")
    taste = Taste.load(tmp_path / "mine.pt")
    assert [each.embedding.shape[1] for each in taste.others] == [1024, 1280]
    assert moved(wide, taste) == (False, True, True)


def test_a_file_of_768_is_read_as_openais_with_a_word_about_it(words, tmp_path, caplog):
    pipe = sdxl_pipe(words, widths=(768, 48), layers=(2, 2))
    torch.save(a_vector(768), tmp_path / "mine.pt")
    with caplog.at_level(logging.WARNING):
        steered(pipe, "fox", Taste.load(tmp_path / "mine.pt"), steps=0)
    assert "does not say of which CLIP it is: read as OpenAI's ViT-L/14" in caplog.text
    caplog.clear()
    steered(pipe, "fox", Taste.load(tmp_path / "mine.pt", space="ViT-L-14:openai"), steps=0)
    assert not caplog.text


@pytest.mark.parametrize("space", ["ViT-L-14", "", ":openai"])
def test_a_space_is_a_model_and_its_weights(tmp_path, space):
    torch.save(a_vector(40), tmp_path / "mine.pt")
    with pytest.raises(UsageError, match="'ViT-L-14:openai'"):
        Taste.load(tmp_path / "mine.pt", space=space)
