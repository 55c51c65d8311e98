"""The panel on which an open taste becomes a file for other programs: a button for each kind."""

from collections.abc import Iterator
from functools import partial
from typing import Any

from visunex.demo import TINY_MODEL
from visunex.generate.settings import DEFAULT_MODEL

from ..work.exports import KINDS, export
from ..work.state import Studio
from .handlers import explained_steps
from .parts import part

__all__ = ["export_panel"]


def export_panel(studio: Studio, name: Any, which: str) -> None:
    """The panel, inside gradio's blocks. `name` is what the open taste is found by."""
    import gradio as gr

    with gr.Accordion("For other programs", open=False, elem_classes="vx-panel", elem_id=f"export_{which}"):
        models = list(dict.fromkeys((studio.model, TINY_MODEL, DEFAULT_MODEL)))
        model = gr.Dropdown(
            models,
            value=studio.model,
            allow_custom_value=True,
            label="Model",
            info="whose text encoder a LoRA, a token and words are learnt on: minutes, once",
        )
        with gr.Row():
            buttons = {
                kind: gr.Button(label, size="sm", min_width=90, elem_id=f"export_{which}_{kind}")
                for kind, (label, _) in KINDS.items()
            }
        said = gr.HTML(elem_id=f"exported_{which}", elem_classes="vx-maybe")
    for kind, button in buttons.items():
        button.click(partial(_steps(studio), kind), [name, model], said, api_visibility="private")


def _steps(studio: Studio) -> Any:
    @explained_steps
    def steps(kind: str, name: str, model: str) -> Iterator[str]:
        yield part("said", text=f"{KINDS[kind][0]}: being made; the terminal says how far it is.")
        made = export(studio.places, name, kind, model)
        yield part("exported", it=made)

    return steps
