"""What the Hub says of a model's name, by a stand-in: nothing is fetched of another family."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from standin import Page, StandIn, serving

from visunex.generate.errors import CheckpointError
from visunex.generate.families.hub import check_hub


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    from huggingface_hub import constants

    with serving({}) as web:
        monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
        monkeypatch.setattr(constants, "ENDPOINT", web.address)
        yield web


def publish(web: StandIn, name: str, *files: str, **said: Any) -> None:
    siblings = [{"rfilename": each} for each in files]
    about = {"id": name, "siblings": siblings, **said}
    web.pages[f"/api/models/{name}"] = Page(json.dumps(about).encode())


SUPPORTED = "but only Stable Diffusion 1.x, 2.x, XL, 3.x and FLUX.1 models are supported"
UNET = "unet/config.json"


@pytest.mark.parametrize(
    ("files", "said", "what"),
    [
        (["transformer/config.json"], {"tags": ("diffusers:FluxFillPipeline",)}, "a Flux model"),
        ([], {"config": {"diffusers": {"_class_name": "Flux2KleinPipeline"}}}, "FLUX.2"),
        ([UNET], {"tags": ("diffusers:StableDiffusionXLInpaintPipeline",)}, "an SDXL inpainting model"),
        (
            ["transformer/config.json"],
            {"tags": ("diffusers:PixArtSigmaPipeline",)},
            "a diffusion transformer",
        ),
        (
            ["model_index.json"],
            {"tags": ("diffusers:SomethingNewPipeline",)},
            "another family (SomethingNew)",
        ),
        (["config.json"], {"config": {"architectures": ["LlamaForCausalLM"]}}, "a language model"),
        (["adapter_config.json"], {}, "a LoRA"),
        (["learned_embeds.bin"], {}, "a textual inversion"),
        (["flux1-dev-Q4_0.gguf"], {}, "GGUF"),
        (["README.md", "best.safetensors"], {}, "hf download some/one best.safetensors"),
        (["README.md"], {}, "without a UNet"),
    ],
)
def test_another_family_is_named_before_anything_is_fetched(
    hub: StandIn, files: list[str], said: dict[str, Any], what: str
) -> None:
    publish(hub, "some/one", *files, **said)
    with pytest.raises(CheckpointError, match=f"some/one is .*{SUPPORTED}") as caught:
        check_hub("some/one")
    assert what in str(caught.value)


@pytest.mark.parametrize(
    ("files", "said", "family"),
    [
        ([UNET], {"tags": ("diffusers:StableDiffusionPipeline",)}, None),
        ([UNET], {"tags": ("diffusers:StableDiffusionControlNetPipeline",)}, None),
        ([UNET], {"tags": ("diffusers:SomebodysOwnPipeline",), "config": None}, None),
        ([], {"tags": None, "config": []}, None),
        ([UNET], {"tags": ("diffusers:StableDiffusionXLPipeline",)}, "sdxl"),
        (["transformer/config.json"], {"tags": ("diffusers:FluxPipeline",)}, "flux"),
        ([], {"config": {"diffusers": {"_class_name": "StableDiffusion3Pipeline"}}}, "sd3"),
        ([UNET], {"config": {"diffusers": {"_class_name": "StableDiffusionXLControlNetPipeline"}}}, "sdxl"),
    ],
)
def test_what_may_be_one_passes(
    hub: StandIn, files: list[str], said: dict[str, Any], family: str | None
) -> None:
    publish(hub, "some/one", *files, **said)
    assert check_hub("some/one") == family


def test_a_wrong_name_is_told_and_a_confused_server_is_not(hub: StandIn) -> None:
    with pytest.raises(
        CheckpointError, match=r"the Hub has no model some/other, or it is private \(HTTP 404\)"
    ):
        check_hub("some/other")
    for body in (b"<html>", b"[1]", b"[" * 100_000):
        hub.pages["/api/models/some/one"] = Page(body)
        check_hub("some/one")


def test_a_server_that_is_not_there_is_told(hub: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(
        CheckpointError, match=r"cannot be fetched from the Hub .*check the name and the network"
    ):
        check_hub("some/one")
