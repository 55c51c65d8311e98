"""ComfyUI's nodes load, mix, save and hand on aesthetic embeddings, and say what they take and give."""

import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from comfyui_clips import L

from visunex.aesthetic_embeddings import EmbeddingError, load, mix, save
from visunex.aesthetic_embeddings.made_of import image_norm
from visunex.generate.errors import EmbeddingSizeError, UsageError

PACK = Path(__file__).parents[2] / "integrations" / "comfyui"
BIG_G = {"name": "ViT-bigG-14", "pretrained": "laion2b_s39b_b160k"}
CLIP_L = {"name": "ViT-L-14", "pretrained": "openai"}


@pytest.fixture
def run(pack: ModuleType) -> Any:
    """A function that runs a node as ComfyUI does: an instance of the class, the method it names."""

    def ran(node: str, /, **inputs: Any) -> Any:
        kind = pack.NODE_CLASS_MAPPINGS[f"VisuNex{node}"]
        with torch.inference_mode():
            return getattr(kind(), kind.FUNCTION)(**inputs)

    return ran


def written(path: Path, seed: int, size: int = 768, **provenance: Any) -> str:
    save(path, torch.randn(1, size, generator=torch.Generator().manual_seed(seed)).numpy(), provenance)
    return str(path)


def test_every_node_says_what_it_takes_and_gives(pack: ModuleType) -> None:
    assert set(pack.NODE_CLASS_MAPPINGS) == set(pack.NODE_DISPLAY_NAME_MAPPINGS)
    for kind in pack.NODE_CLASS_MAPPINGS.values():
        inputs = [name for part in kind.INPUT_TYPES().values() for name in part]
        method = getattr(kind, kind.FUNCTION)
        assert inputs == list(method.__annotations__)[: len(inputs)]
        assert isinstance(kind.RETURN_TYPES, tuple)
        assert kind.DESCRIPTION
        assert kind.CATEGORY == "VisuNex"


def test_the_pack_describes_itself_as_the_registry_wants_it() -> None:
    ours, its = (
        tomllib.loads(path.read_text(encoding="utf-8"))
        for path in (PACK.parents[1] / "pyproject.toml", PACK / "pyproject.toml")
    )
    assert its["project"]["version"] == ours["project"]["version"]
    assert its["project"]["dependencies"] == [f"visunex>={ours['project']['version']}"]
    assert set(its["project"]["urls"]) == {"Repository"}
    assert its["tool"]["comfy"]["DisplayName"]


def test_an_embedding_is_loaded_by_path_and_by_its_name_among_the_models(run: Any, tmp_path: Path) -> None:
    import folder_paths

    folder = Path(folder_paths.models_dir, "aesthetic_embeddings")
    folder.mkdir(exist_ok=True)
    first, second = written(folder / "mine.pt", 1), written(tmp_path / "other.pt", 2)
    (by_name,) = run("LoadAestheticEmbedding", name="mine.pt")
    (by_path,) = run("LoadAestheticEmbedding", name="mine.pt", path=second)
    assert torch.equal(by_name.taste.embedding, load(first).tensor())
    assert torch.equal(by_path.taste.embedding, load(second).tensor())
    with pytest.raises(EmbeddingError, match="no embedding called 'nothing'"):
        run("LoadAestheticEmbedding", name="nothing")


def test_the_list_has_the_files_and_the_published_and_a_changed_file_is_loaded_again(
    pack: ModuleType, tmp_path: Path
) -> None:
    kind = pack.NODE_CLASS_MAPPINGS["VisuNexLoadAestheticEmbedding"]
    assert {"fantasy", "aivazovsky"} <= set(kind.INPUT_TYPES()["required"]["name"][0])
    first = kind.IS_CHANGED(name="", path=written(tmp_path / "a.pt", 1))
    assert first == kind.IS_CHANGED(name="", path=str(tmp_path / "a.pt"))
    assert first != kind.IS_CHANGED(name="", path=written(tmp_path / "a.pt", 2))


def test_a_mixture_is_the_commands_also_of_mixtures_and_is_saved_as_such(run: Any, tmp_path: Path) -> None:
    import folder_paths

    norms = {"checks": {"image_norm": 12.0}}
    paths = [written(tmp_path / f"{name}.pt", seed, model=CLIP_L, **norms) for seed, name in enumerate("abc")]
    a, b, c = (run("LoadAestheticEmbedding", name="", path=path)[0] for path in paths)
    (both,) = run("MixAestheticEmbeddings", a=a, weight_a=0.5, b=b, weight_b=-1.0)
    (three,) = run("MixAestheticEmbeddings", a=both, weight_a=0.5, b=c, weight_b=0.5)
    wanted = torch.from_numpy(mix([(load(paths[0]), 0.5), (load(paths[1]), -1.0)]))
    assert torch.equal(both.taste.embedding, wanted)
    whole = 0.5 * wanted + 0.5 * torch.nn.functional.normalize(load(paths[2]).tensor())
    assert torch.allclose(three.taste.embedding, torch.nn.functional.normalize(whole), atol=1e-6)
    folder_paths.output_directory = str(tmp_path / "output")
    names = [run("SaveAestheticEmbedding", embedding=three, filename_prefix="tastes/x") for _ in range(2)]
    assert [each["ui"]["text"] for each in names] == [["tastes/x_00001_.pt"], ["tastes/x_00002_.pt"]]
    saved = load(tmp_path / "output/tastes/x_00001_.pt")
    assert torch.equal(saved.tensor(), three.taste.embedding)
    assert three.taste.image_norm == image_norm(saved) == 12
    assert [Path(each["file"]).name for each in saved.provenance["mixed_from"]] == ["a.pt", "b.pt", "c.pt"]
    run("SaveAestheticEmbedding", embedding=a, filename_prefix="a")
    assert load(tmp_path / "output/a_00001_.pt").provenance["model"] == CLIP_L
    with pytest.raises(Exception, match="outside the output folder"):
        run("SaveAestheticEmbedding", embedding=a, filename_prefix="../x")
    other = run("LoadAestheticEmbedding", name="", path=written(tmp_path / "g.pt", 5, 1280, model=BIG_G))[0]
    with pytest.raises(EmbeddingError, match="768 dimensions"):
        run("MixAestheticEmbeddings", a=a, weight_a=1.0, b=other, weight_b=1.0)


def test_what_two_tastes_have_by_a_further_encoder_is_mixed_too(run: Any, tmp_path: Path) -> None:
    for seed, name in enumerate("ab"):
        written(tmp_path / f"{name}.pt", seed, model=CLIP_L)
        written(tmp_path / f"{name}-ViT-bigG-14-laion2b_s39b_b160k.pt", 9 + seed, 1280, model=BIG_G)
    alone = written(tmp_path / "c.pt", 5, model=CLIP_L)
    a, b, c = (
        run("LoadAestheticEmbedding", name="", path=str(path))[0]
        for path in (tmp_path / "a.pt", tmp_path / "b.pt", alone)
    )
    (both,) = run("MixAestheticEmbeddings", a=a, weight_a=1.0, b=b, weight_b=2.0)
    beside = [load(tmp_path / f"{name}-ViT-bigG-14-laion2b_s39b_b160k.pt") for name in "ab"]
    wanted = torch.from_numpy(mix([(beside[0], 1.0), (beside[1], 2.0)]))
    assert [torch.equal(each.embedding, wanted) for each in both.taste.others] == [True]
    assert run("MixAestheticEmbeddings", a=a, weight_a=1.0, b=c, weight_b=2.0)[0].taste.others == ()


def test_as_an_image_it_has_the_length_of_one_images_vector(run: Any, tmp_path: Path) -> None:
    own = written(tmp_path / "g.pt", 1, 1280, model=BIG_G, checks={"image_norm": 33.0})
    (taste,) = run("LoadAestheticEmbedding", name="", path=own)
    output, embeds = run("AestheticEmbeddingAsImage", embedding=taste, length=0.0)
    assert output.image_embeds.shape == (1, 1280)
    assert torch.equal(output.image_embeds, embeds)
    assert float(embeds.norm()) == pytest.approx(33, rel=1e-5)
    assert float(run("AestheticEmbeddingAsImage", embedding=taste, length=5.0)[1].norm()) == pytest.approx(5)
    assert torch.allclose(embeds / 33, torch.nn.functional.normalize(load(own).tensor()), atol=1e-6)
    for name in ("last_hidden_state", "penultimate_hidden_states"):
        with pytest.raises(AttributeError, match="one vector and has no hidden states"):
            output[name]
    (unsaid,) = run("LoadAestheticEmbedding", name="", path=written(tmp_path / "h.pt", 1, 1024))
    with pytest.raises(UsageError, match="length="):
        run("AestheticEmbeddingAsImage", embedding=unsaid, length=0.0)
    contrast = written(tmp_path / "c.pt", 1, reduction="contrast")
    with pytest.raises(UsageError, match="is a contrast"):
        run(
            "AestheticEmbeddingAsImage",
            embedding=run("LoadAestheticEmbedding", name="", path=contrast)[0],
            length=0.0,
        )


def test_the_node_moves_a_clip(run: Any, clip: Any, tmp_path: Path) -> None:
    given = clip()
    path = written(tmp_path / "small.pt", 1, L)
    (taste,) = run("LoadAestheticEmbedding", name="", path=path)
    how = {"clip": given, "text": "a castle", "lr": 1e-3, "weight": 1.0}
    (moved,), (plain,) = (
        run("CLIPTextEncodeAesthetic", embedding=taste, steps=steps, **how) for steps in (2, 0)
    )
    assert moved[0][0].shape == plain[0][0].shape
    assert not torch.allclose(moved[0][0], plain[0][0], atol=1e-2)
    with pytest.raises(EmbeddingSizeError):
        wrong = run("LoadAestheticEmbedding", name="", path=written(tmp_path / "big.pt", 1))[0]
        run("CLIPTextEncodeAesthetic", embedding=wrong, steps=2, **how)
