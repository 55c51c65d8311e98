"""Panels below the shelf: a taste made of pictures dropped onto the page, and one mixed of others."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from visunex.base.errors import UsageError
from visunex.clip.pretrained import LOCAL_FOLDER
from visunex.demo import TINY_MODEL

from ..work.blend import blend, save_blend
from ..work.shelf import shelf as all_tastes
from ..work.state import Studio
from ..work.uploads import MOST, taste_of
from .cards import shelf_html
from .handlers import explained
from .parts import part

__all__ = ["mix_panel", "upload_panel"]

_TASTES = 3  # that are mixed at once


def upload_panel(studio: Studio, shelf: Any) -> None:
    """The panel on which pictures are dropped and become a run."""
    import gradio as gr

    files = gr.File(file_count="multiple", label=f"Pictures, at most {MOST:,}", height=150, elem_id="upload")
    with gr.Row():
        name = gr.Textbox(label="Name", placeholder="my_pictures", max_lines=1, elem_id="upload_name")
        model = gr.Dropdown(
            [TINY_MODEL, "ViT-L-14"],
            value=TINY_MODEL,
            allow_custom_value=True,
            label="Image encoder",
            info="the CLIP of the model you draw with: ViT-L-14 for Stable Diffusion 1.x",
        )
    make = gr.Button("Make the taste", variant="primary", elem_id="upload_make")
    said = gr.HTML(elem_id="upload_said", elem_classes="vx-maybe")

    @explained
    def made(paths: list[str] | None, name: str, model: str) -> tuple[Any, str, str]:
        pairs = [(Path(each).name, Path(each)) for each in paths or ()]
        _require_model(model)
        taken = taste_of(studio.places, name, pairs, model)
        lines = [f"{called}: {why}" for called, why in taken.refused]
        text = f"{taken.run} is on the shelf: {taken.images:,} pictures."
        return None, part("said", text=text, lines=lines), shelf_html(studio)

    make.click(made, [files, name, model], [files, said, shelf], api_visibility="private")


def _require_model(model: str) -> None:
    if not isinstance(model, str) or not model.strip():
        raise UsageError(f"name an image encoder: {TINY_MODEL}, ViT-L-14 or {LOCAL_FOLDER}FOLDER")


def mix_panel(studio: Studio, shelf: Any) -> None:
    """The panel on which tastes are mixed with sliders."""
    import gradio as gr

    parts: list[Any] = []
    for number in range(_TASTES):
        with gr.Row():
            taste = gr.Dropdown([], label=f"Taste {number + 1}", value=None, elem_id=f"mix{number}")
            weight = gr.Slider(-1, 1, 0.5 if number < 2 else 0, step=0.05, label="Weight; below 0 leads away")
            parts += [taste, weight]
    shown = gr.HTML(elem_id="mixture", elem_classes="vx-maybe")
    with gr.Row():
        name = gr.Textbox(label="Name", placeholder="my_mixture", max_lines=1, elem_id="mix_name")
        keep = gr.Button("Save the mixture", variant="primary", elem_id="mix_save")
    said = gr.HTML(elem_id="mix_said", elem_classes="vx-maybe")
    _wire_mixing(studio, shelf, parts, shown, name, keep, said)


def _wire_mixing(
    studio: Studio, shelf: Any, parts: list[Any], shown: Any, name: Any, keep: Any, said: Any
) -> None:
    import gradio as gr

    @explained
    def offered() -> list[Any]:
        names = [(each.title, each.find) for each in all_tastes(studio.places) if each.here]
        return [gr.Dropdown(names) for _ in range(_TASTES)]

    def look(*values: Any) -> str:
        try:
            made = blend(_pairs(values))
        except UsageError:
            return ""
        return part("mixture", it=made)

    @explained
    def save(name: str, *values: Any) -> tuple[str, str]:
        made = save_blend(studio.places, name, _pairs(values))
        return part("said", text=f"Saved as {made.path}."), shelf_html(studio)

    for each in parts[::2]:
        each.focus(offered, None, parts[::2], show_progress="hidden", api_visibility="private")
    events: list[Callable[..., Any]] = [*(e.input for e in parts[::2]), *(e.release for e in parts[1::2])]
    for event in events:
        event(
            explained(look),
            parts,
            shown,
            show_progress="hidden",
            api_visibility="private",
            trigger_mode="multiple",
        )
    keep.click(save, [name, *parts], [said, shelf], api_visibility="private")


def _pairs(values: Sequence[Any]) -> list[tuple[str, float]]:
    return [(str(name or ""), float(weight)) for name, weight in zip(values[::2], values[1::2], strict=True)]
