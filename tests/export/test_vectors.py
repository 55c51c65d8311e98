"""The vector in the layouts of others, read as they read it."""

import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from visunex.aesthetic_embeddings import load, save

# What the web UI's check of pickled files lets through (AUTOMATIC1111/stable-diffusion-webui,
# modules/safe.py, `allowed_zip_names_re`, before it took torch's newer members).
WEB_UI_MEMBERS = re.compile(r"^([^/]+)/((data/\d+)|version|(data\.pkl))$")

Export = Callable[..., dict[str, Any]]
Taste = Callable[..., Path]


def test_safetensors_hold_the_vector_as_it_is(export: Export, taste: Taste) -> None:
    path = taste()
    said = export(path, "--to", "safetensors", "--out", "x")
    assert said["file"] == "x.safetensors"
    held = load_file("x.safetensors")
    assert list(held) == ["aesthetic_embedding"]
    assert torch.equal(held["aesthetic_embedding"], torch.from_numpy(load(path).vector.copy()))


@pytest.mark.parametrize(("dimension", "rows"), [(1024, 2), (1280, 2), (768, 1)])
def test_diffusers_pipelines_take_the_file_as_their_own(
    export: Export, taste: Taste, dimension: int, rows: int
) -> None:
    from diffusers import FluxPipeline, StableDiffusionPipeline

    export(taste(dimension), "--to", "diffusers", "--out", "x", "--norm", 12)
    saved = torch.load("x.ipadpt", weights_only=True)
    assert [each.shape for each in saved] == [(rows, 1, dimension)]
    if rows == 2:
        (taken,) = StableDiffusionPipeline.prepare_ip_adapter_image_embeds(
            SimpleNamespace(), None, saved, "cpu", 3, True
        )
        assert taken.shape == (6, 1, dimension)
        assert not taken[:3].any()
    else:
        flux = SimpleNamespace(
            transformer=SimpleNamespace(encoder_hid_proj=SimpleNamespace(num_ip_adapters=1))
        )
        (taken,) = FluxPipeline.prepare_ip_adapter_image_embeds(flux, None, saved, "cpu", 3)
        assert taken.shape == (3, 1, dimension)
    assert taken[-1].norm().item() == pytest.approx(12)


def test_comfyui_gets_one_row_and_is_told_which_adapters_fit(export: Export, taste: Taste) -> None:
    said = export(taste(1024, norm=20.0), "--to", "comfyui", "--out", "x.ipadpt")
    assert torch.load("x.ipadpt").cpu().shape == (1, 1024)  # as IPAdapter Load Embeds has it
    assert "ViT-H/14" in said["report"]["said"][1]


def test_the_web_uis_check_of_pickles_passes_every_torch_file(export: Export, taste: Taste) -> None:
    for kind, name in (("webui", "x.pt"), ("comfyui", "c.ipadpt"), ("diffusers", "d.ipadpt")):
        export(taste(), "--to", kind, "--out", name)
        with zipfile.ZipFile(name) as archive:
            assert all(WEB_UI_MEMBERS.match(member) for member in archive.namelist())
    assert torch.load("x.pt").shape == (1, 768)


def test_a_short_vector_gets_the_length_of_the_pictures_own(export: Export, taste: Taste) -> None:
    path = taste()
    assert "Give --norm" in export(path, "--to", "comfyui", "--out", "a")["report"]["said"][2]
    save(path, load(path).vector, {"checks": {"image_norm": 10.0}})
    said = export(path, "--to", "comfyui", "--out", "b")
    assert said["report"]["norm"] == pytest.approx(10)
    assert torch.load("b.ipadpt").norm().item() == pytest.approx(10)
    assert len(said["report"]["said"]) == 2


def test_a_contrast_is_no_image_for_an_adapter(
    export: Export, refuse: Callable[..., str], taste: Taste
) -> None:
    path = taste(1024)
    save(path, load(path).vector, {"reduction": "contrast"})
    assert "is a contrast" in refuse(path, "--to", "comfyui", "--out", "a")
    export(path, "--to", "webui", "--out", "a.pt")


def test_the_same_command_finds_it_done_and_another_is_refused(
    export: Export, refuse: Callable[..., str], taste: Taste
) -> None:
    path = taste(1024)
    first = export(path, "--to", "comfyui", "--out", "x")
    written = Path("x.ipadpt").read_bytes(), Path("x.ipadpt").stat().st_mtime_ns
    assert export(path, "--to", "comfyui", "--out", "x") == first
    assert (Path("x.ipadpt").read_bytes(), Path("x.ipadpt").stat().st_mtime_ns) == written
    assert "made otherwise" in refuse(path, "--to", "comfyui", "--out", "x", "--norm", 3)
    export(path, "--to", "comfyui", "--out", "x", "--norm", 3, "--overwrite")
    assert Path("x.ipadpt").read_bytes() != written[0]


def test_an_ending_that_programs_do_not_look_for_is_refused(
    refuse: Callable[..., str], taste: Taste, tmp_path: Path
) -> None:
    assert "*.ipadpt" in refuse(taste(), "--to", "comfyui", "--out", "x.png")
    assert "is a directory" in refuse(taste(), "--to", "comfyui", "--out", tmp_path, code=2)
    assert "no embedding called" in refuse("nothing", "--to", "comfyui", "--out", "x")


def test_an_option_of_another_kind_is_told_to_have_no_effect(taste: Taste, tmp_path: Path) -> None:
    from visunex.export.cli import KINDS, ONLY_FOR, without_effect

    assert all(set(kinds) < set(KINDS) or set(kinds) == set(KINDS) for kinds in ONLY_FOR.values())
    assert without_effect("webui", {"norm", "out"}) == []
