"""`--lora`, `--textual-inversion` and `--vae`: what a picture says of them, and that it is made again."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lora_files
import pytest
import torch
from click.testing import CliRunner, Result
from lora_files import layers, write
from PIL import Image
from safetensors.torch import save_file

from visunex.generate.cli import main

LORA = "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k"
MORE = {
    "lora_unet_nowhere.lora_down.weight": torch.ones(1, 2),
    "lora_unet_nowhere.lora_up.weight": torch.ones(2, 1),
}
Generate = Callable[..., Result]


@pytest.fixture
def generate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Generate:
    monkeypatch.chdir(tmp_path)

    def run(*options: object) -> Result:
        return CliRunner().invoke(main, ["--device", "cpu", *map(str, options)])

    return run


@pytest.fixture
def files(sd1: Any, clip_folder: Path, tmp_path: Path) -> tuple[object, ...]:
    """The options of a whole set of additions, in tmp_path."""
    write(tmp_path / "style.safetensors", layers(sd1, LORA), lora_files.kohya, MORE)
    write(tmp_path / "second.safetensors", layers(sd1, LORA), lora_files.diffusers)
    torch.manual_seed(5)
    torch.save({"string_to_param": {"*": torch.randn(2, 64)}}, tmp_path / "my-word.pt")
    vae = {name: (value + 0.01).contiguous() for name, value in sd1.vae.state_dict().items()}
    save_file(vae, tmp_path / "other.safetensors")
    loras = ("--lora", "style.safetensors:0.5", "--lora", "second.safetensors")
    words = ("--textual-inversion", "my-word.pt")
    return ("--model", clip_folder, "--ddim_steps", 2, *loras, *words, "--vae", "other.safetensors")


def texts(path: Path) -> tuple[dict[str, Any], str]:
    with Image.open(path) as image:
        return json.loads(image.info["visunex"]), image.info["parameters"]


def test_a_picture_says_what_was_added_and_is_made_again(
    generate: Generate, files: tuple[object, ...]
) -> None:
    made = generate("--prompt", "a castle, my-word", *files)
    assert made.exit_code == 0, made.output
    assert (
        "1 name in style.safetensors fits nothing in the model and is left out: lora_unet_nowhere"
        in made.stderr
    )
    image = Path("outputs/samples/00000.png")
    said, web_ui = texts(image)
    sha = {name: hashlib.sha256(Path(name).read_bytes()).hexdigest() for name in map(str, Path().glob("*.*"))}
    payload = Path("style.safetensors").read_bytes()
    payload = payload[8 + int.from_bytes(payload[:8], "little") :]
    assert [(each["name"], each["scale"], each["sha256"]) for each in said["loras"]] == [
        ("style", 0.5, sha["style.safetensors"]),
        ("second", 1.0, sha["second.safetensors"]),
    ]
    assert (
        said["textual_inversions"][0] | {"name": "my-word", "word": "my-word", "sha256": sha["my-word.pt"]}
        == (said["textual_inversions"][0])
    )
    assert said["vae"]["sha256"] == sha["other.safetensors"]
    assert web_ui.startswith("a castle, my-word <lora:style:0.5> <lora:second:1>\n")
    assert f"VAE hash: {sha['other.safetensors'][:10]}, VAE: other.safetensors" in web_ui
    assert f'TI hashes: "my-word: {sha["my-word.pt"][:12]}"' in web_ui
    assert f'Lora hashes: "style: {hashlib.sha256(payload).hexdigest()[:12]}, second: ' in web_ui
    again = generate("--from-image", image, "--outdir", "again")
    assert again.exit_code == 0, again.output
    assert Path("again/samples/00000.png").read_bytes() == image.read_bytes()
    other = generate("--from-image", image, "--lora", "second.safetensors", "--outdir", "other")
    assert other.exit_code == 0, other.output
    assert [each["name"] for each in texts(Path("other/samples/00000.png"))[0]["loras"]] == ["second"]


def test_files_are_found_beside_the_picture_or_named(generate: Generate, files: tuple[object, ...]) -> None:
    assert generate("--prompt", "a castle", *files).exit_code == 0
    image = Path("outputs/samples/00000.png")
    plain = image.read_bytes()
    for name in ("style.safetensors", "other.safetensors"):
        Path(name).rename(image.parent / name)
    again = generate("--from-image", image, "--outdir", "again")
    assert again.exit_code == 0, again.output
    with Image.open("again/samples/00000.png") as one, Image.open(image) as other:
        assert one.tobytes() == other.tobytes()
    Path("my-word.pt").write_bytes(Path("my-word.pt").read_bytes() + b"\0")
    refused = generate("--from-image", image, "--outdir", "refused")
    assert refused.exit_code == 1
    assert "was made with a textual inversion that is not here" in refused.output
    assert "my-word.pt is another file now. Name one with --textual-inversion" in refused.output
    assert image.read_bytes() == plain


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (("--lora", "no.safetensors"), 1, "LoRA no.safetensors cannot be read: No such file"),
        (("--lora", "xl.safetensors:0.5"), 1, "xl.safetensors is a LoRA for SDXL, and"),
        (("--lora", "xl.safetensors:much"), 2, "has no scale behind its colon"),
        (("--textual-inversion", "xl.safetensors"), 1, "xl.safetensors is a LoRA, no textual inversion"),
        (("--textual-inversion", "word.safetensors"), 1, "word.safetensors is a textual inversion for SDXL"),
        (("--vae", "xl.safetensors"), 1, "xl.safetensors is a LoRA, no VAE"),
        (("--lora", "second.safetensors", "--text-encoder", "openai"), 2, "--text-encoder openai"),
    ],
)
def test_refused_by_name(
    generate: Generate, files: tuple[object, ...], options: tuple[str, ...], code: int, said: str
) -> None:
    width = torch.ones(2, 2048), torch.ones(8, 2)
    name = "lora_unet_input_blocks_4_1_transformer_blocks_0_attn2_to_k"
    save_file({f"{name}.lora_down.weight": width[0], f"{name}.lora_up.weight": width[1]}, "xl.safetensors")
    save_file({"clip_g": torch.ones(1, 1280), "clip_l": torch.ones(1, 768)}, "word.safetensors")
    result = generate("--prompt", "a castle", *files[:4], *options)
    assert (result.exit_code, "Traceback" in result.output) == (code, False), result.output
    assert said in result.output
    assert not Path("outputs").exists()


def test_a_word_in_no_prompt_is_said(generate: Generate, files: tuple[object, ...]) -> None:
    result = generate("--prompt", "a castle", *files[:4], "--textual-inversion", "my-word.pt", "--skip_save")
    assert "The word my-word of my-word.pt stands in no prompt: it changes nothing" in result.stderr
