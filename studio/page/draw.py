"""The tab on which pictures are drawn: the untouched one beside the steered, and the gallery of all."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from visunex.demo import TINY_MODEL
from visunex.generate.sampling.names import names
from visunex.generate.settings import DEFAULT_MODEL

from ..work.drawing import Drawn, Form
from ..work.gallery import form_of, gallery, made_of
from ..work.shelf import shelf
from ..work.state import Studio
from .handlers import event_value, explained, explained_steps
from .parts import part

if TYPE_CHECKING:
    import gradio as gr

__all__ = ["Drawing", "draw_tab", "gallery_html", "taste_choices"]

_AGAIN = """
element.addEventListener('click', event => {
  const card = event.target.closest('[data-again]');
  if (!card) return;
  trigger('again', {name: card.dataset.again});
  document.querySelector('#draw_form').scrollIntoView({behavior: 'smooth', block: 'start'});
});
"""


@dataclass(frozen=True)
class Drawing:
    """What others ask of this tab: the choice of a taste, and the gallery, which `gallery_html` fills."""

    taste: "gr.Dropdown"
    gallery: "gr.HTML"


@dataclass
class _View:
    """The components of the tab; `fields` are those of the form, under the names that `Form` gives them."""

    studio: Studio
    fields: dict[str, Any] = field(default_factory=dict)
    draw: Any = None
    stop: Any = None
    progress: Any = None
    drawn: Any = None
    gallery: Any = None


def draw_tab(studio: Studio) -> Drawing:
    """Lay out the tab, inside gradio's blocks."""
    import gradio as gr

    view = _View(studio)
    gr.HTML(
        part(
            "heading",
            title="Draw",
            about="A picture as the model draws it, and beside it the same noise steered towards a taste.",
        )
    )
    with gr.Row(elem_id="draw_row"):
        with gr.Column(scale=3, min_width=290, elem_id="draw_form"):
            _form(view)
        with gr.Column(scale=7, min_width=0):
            view.progress = gr.HTML(elem_id="progress", elem_classes="vx-maybe")
            view.drawn = gr.HTML(part("nothing_drawn"), elem_id="drawn")
    view.gallery = gr.HTML(js_on_load=_AGAIN, elem_id="gallery")
    _wire(view)
    return Drawing(view.fields["taste"], view.gallery)


def gallery_html(studio: Studio) -> str:
    """The pictures that were drawn, newest first."""
    return part("gallery", images=gallery(studio.places.outputs))


def taste_choices(studio: Studio) -> list[tuple[str, str]]:
    """Every taste that can be chosen: what it is called, and what it is found by."""
    there = shelf(studio.places)
    return [
        ("none", ""),
        *((each.title if each.here else f"{each.title} (fetched first)", each.find) for each in there),
    ]


def _form(view: _View) -> None:
    import gradio as gr

    fields, usual = view.fields, Form()
    fields["prompt"] = gr.Textbox(label="Prompt", lines=2, placeholder="a castle at night", elem_id="prompt")
    fields["taste"] = gr.Dropdown(
        [("none", "")], value="", label="Taste", allow_custom_value=True, elem_id="taste"
    )
    fields["steps"] = gr.Slider(0, 50, usual.steps, step=1, label="Steps towards it", elem_id="steps")
    with gr.Row():
        view.draw = gr.Button("Draw", variant="primary", elem_id="draw")
        view.stop = gr.Button("Stop", elem_id="stop")
    fields["negative"] = gr.Textbox(label="What it must not show", max_lines=3)
    fields["weighted"] = gr.Checkbox(
        label="Weights and long prompts",
        elem_id="weighted",
        info="(word:1.2), BREAK: as the web UI reads them",
    )
    with gr.Accordion("How the taste is used", open=False, elem_classes="vx-panel", elem_id="controls"):
        _controls(view)
    with gr.Accordion("Added to the model", open=False, elem_classes="vx-panel", elem_id="added"):
        _added(view)
    with gr.Accordion("Over a picture", open=False, elem_classes="vx-panel"):
        _over(view)
    with gr.Accordion("Model and sampling", open=False, elem_classes="vx-panel"):
        _sampling(view)
    with gr.Accordion("Sweep", open=False, elem_classes="vx-panel"):
        fields["sweep"] = gr.Textbox(
            label="Steps to compare", placeholder="0,5,10,20", max_lines=1, elem_id="sweep",
            info="one picture for each, over the same noise, and one labelled grid",
        )  # fmt: skip
        fields["weights"] = gr.Textbox(
            label="Weights to compare", placeholder="0,0.5,1", max_lines=1, elem_id="weights",
            info="alone, or with steps down the side",
        )  # fmt: skip
        fields["lr"] = gr.Number(usual.lr, label="Length of a step", minimum=0)


def _controls(view: _View) -> None:
    import gradio as gr

    fields, usual = view.fields, Form()
    fields["weight"] = gr.Slider(0, 1, usual.weight, step=0.05, label="Weight", elem_id="weight")
    fields["slerp"] = gr.Checkbox(label="Blend along the arc", info="between the plain and the moved prompt")
    fields["further"] = gr.Textbox(
        label="Further tastes", placeholder="gloomcore=-0.3, fantasy=0.5", max_lines=1, elem_id="further",
        info="moved towards with the one above, away from those with a negative weight",
    )  # fmt: skip
    fields["best_of"] = gr.Number(
        usual.best_of, label="Best of", precision=0, minimum=1, maximum=64,
        info="draws so many for each, and keeps the one nearest the taste",
    )  # fmt: skip
    fields["until"] = gr.Textbox(
        label="Until the cosine is", placeholder="0.35 or +0.1", max_lines=1, info="in the place of steps"
    )
    fields["text"] = gr.Textbox(label="Turned by a text", max_lines=1)
    fields["away"] = gr.Checkbox(label="Away from it")
    fields["angle"] = gr.Slider(0, 1, usual.angle, step=0.05, label="By so much of the angle")
    fields["begin"] = gr.Slider(0, 1, usual.begin, step=0.05, label="From this share of the sampling")
    fields["end"] = gr.Slider(0, 1, usual.end, step=0.05, label="To this share")


def _added(view: _View) -> None:
    import gradio as gr

    for name, label, example in (
        ("loras", "LoRAs", "ink.safetensors:0.7, rain.safetensors"),
        ("words", "Words (textual inversions)", "my-word.pt"),
        ("vae", "VAE", "its file or folder"),
    ):
        view.fields[name] = gr.Textbox(label=label, placeholder=example, max_lines=1, elem_id=name)


def _over(view: _View) -> None:
    import gradio as gr

    fields = view.fields
    fields["over"] = gr.Textbox(label="Picture", placeholder="its path on this machine", max_lines=1)
    fields["mask"] = gr.Textbox(label="Mask", placeholder="white is drawn anew", max_lines=1)
    fields["strength"] = gr.Textbox(label="Strength", placeholder="0.75, with a mask 1", max_lines=1)


def _sampling(view: _View) -> None:
    import gradio as gr

    fields, usual = view.fields, Form()
    models = list(dict.fromkeys((view.studio.model, TINY_MODEL, DEFAULT_MODEL)))
    fields["model"] = gr.Dropdown(models, value=view.studio.model, label="Model", allow_custom_value=True)
    fields["scheduler"] = gr.Dropdown(
        names(), value=usual.scheduler, label="Scheduler", allow_custom_value=True
    )
    with gr.Row():
        fields["sampler_steps"] = gr.Number(
            usual.sampler_steps, label="Steps", precision=0, minimum=1, min_width=90
        )
        fields["scale"] = gr.Number(usual.scale, label="Guidance", min_width=90)
    fields["clip_skip"] = gr.Number(usual.clip_skip, label="Clip skip", precision=0, minimum=1)
    with gr.Row():
        fields["width"] = gr.Number(
            None, label="Width", precision=0, minimum=1, placeholder="model's", min_width=90
        )
        fields["height"] = gr.Number(
            None, label="Height", precision=0, minimum=1, placeholder="model's", min_width=90
        )
    with gr.Row():
        # a text: a page's numbers are rounded from 2^53 on, and seeds go to 2^64
        fields["seed"] = gr.Textbox(str(usual.seed), label="Seed (-1: any)", max_lines=1, min_width=90)
        fields["samples"] = gr.Number(
            usual.samples, label="Pictures", precision=0, minimum=1, maximum=64, min_width=90
        )


def form_from(values: dict[str, Any]) -> Form:
    """What the page's fields ask for. Raises UsageError for a seed that is no number."""
    from visunex.base.errors import UsageError

    usual = Form()
    texts = "prompt negative taste sweep model scheduler weights further until text over mask loras words vae"
    given: dict[str, Any] = {name: str(values.get(name) or "").strip() for name in texts.split()}
    for name, kind in (
        ("steps", int),
        ("sampler_steps", int),
        ("samples", int),
        ("lr", float),
        ("scale", float),
        ("weight", float),
        ("angle", float),
        ("begin", float),
        ("end", float),
        ("clip_skip", int),
        ("best_of", int),
    ):
        given[name] = getattr(usual, name) if values.get(name) is None else kind(values[name])
    for name in ("width", "height"):
        given[name] = None if values.get(name) is None else int(values[name])
    given["strength"] = _number(str(values.get("strength") or "").strip())
    for name in ("weighted", "slerp", "away"):
        given[name] = bool(values.get(name))
    seed = str(values.get("seed") or usual.seed).strip()
    if not seed.removeprefix("-").isdecimal():
        raise UsageError(f"the seed {seed!r} is no whole number")
    return Form(seed=int(seed), **given)


def _shown(name: str, value: Any) -> Any:
    """A value of the form as its field has it: some numbers are texts there."""
    if name not in ("seed", "strength"):
        return value
    return "" if value is None else str(value)


def _number(text: str) -> float | None:
    """A number from a field that may be empty. Raises UsageError."""
    from visunex.base.errors import UsageError

    try:
        return float(text) if text else None
    except ValueError:
        raise UsageError(f"the strength {text!r} is no number: give one from 0 to 1") from None


def _wire(view: _View) -> None:
    import gradio as gr

    studio, fields = view.studio, view.fields

    @explained_steps
    def draw(*values: Any) -> Iterator[Any]:
        form = form_from(dict(zip(fields, values, strict=True)))
        yield part("progress", it=None), gr.skip(), gr.skip()
        for news in studio.artist.draw(form, studio.places):
            if isinstance(news, Drawn):
                yield "", part("drawn", it=news), gallery_html(studio)
            else:
                yield part("progress", it=news), gr.skip(), gr.skip()

    @explained
    def again(event: gr.EventData) -> Any:
        form = form_of(made_of(studio.places.outputs, event_value(event, "name")))
        return [_shown(name, getattr(form, name)) for name in fields]

    shown = [view.progress, view.drawn, view.gallery]
    view.draw.click(
        draw,
        list(fields.values()),
        shown,
        show_progress="hidden",
        api_visibility="private",
        concurrency_id="draw",
    ).failure(lambda: "", None, view.progress, show_progress="hidden", api_visibility="private")
    view.stop.click(
        studio.artist.stop, None, None, queue=False, show_progress="hidden", api_visibility="private"
    )
    view.gallery.again(again, None, list(fields.values()), show_progress="hidden", api_visibility="private")
    fields["taste"].focus(
        lambda: gr.Dropdown(taste_choices(studio)),
        None,
        fields["taste"],
        show_progress="hidden",
        api_visibility="private",
    )
