"""The tab on which two pictures are compared, and a taste is made of the answers."""

from typing import Any

from visunex.demo import TINY_MODEL

from ..work.liking import taste_of_drawn, taste_of_run
from ..work.shelf import shelf
from ..work.state import Studio
from ..work.votes import DRAWN, QUESTION, Pair, keep, pair_of_drawn, pair_of_run, votes_in
from .handlers import event_value, explained
from .parts import part

__all__ = ["vote_tab"]

_SEED = 1  # of the lot by which pairs are drawn and sides are chosen; kept with each vote
_OF_DRAWN = ("pictures drawn here", DRAWN)
_CHOOSES = """
element.addEventListener('click', event => {
  const side = event.target.closest('[data-choice]');
  if (side) trigger('vote', {choice: side.dataset.choice});
});
const sides = {ArrowLeft: 'left', ArrowRight: 'right', ArrowDown: 'same'};
document.addEventListener('keydown', event => {
  const busy = event.target.closest('input, textarea, [role=listbox], [role=tab]');
  if (busy || event.repeat || !sides[event.key] || !element.offsetParent) return;
  const side = element.querySelector(`[data-choice=${sides[event.key]}]`);
  if (side) { event.preventDefault(); side.click(); }
});
"""


def vote_tab(studio: Studio) -> None:
    """Lay out the tab, inside gradio's blocks."""
    import gradio as gr

    gr.HTML(
        part("heading", title=QUESTION, about="Click a picture, or use the arrow keys. Each answer is kept.")
    )
    with gr.Row(elem_id="vote_top"):
        source = gr.Dropdown([_OF_DRAWN], value=DRAWN, label="Between", elem_id="vote_source")
        begin = gr.Button("Begin", variant="primary", elem_id="vote_begin")
    pair, shown = gr.State(None), gr.HTML(js_on_load=_CHOOSES, elem_id="vote")
    with gr.Accordion("A taste from the votes", open=False, elem_classes="vx-panel"):
        gr.HTML(
            part("soft", text="The mean vector of what was liked more, minus that of what was liked less.")
        )
        with gr.Row():
            name = gr.Textbox(label="Name", placeholder="my_likes", max_lines=1, elem_id="vote_name")
            model = gr.Dropdown(
                [TINY_MODEL, "ViT-L-14"],
                value=TINY_MODEL if studio.model == TINY_MODEL else "ViT-L-14",
                allow_custom_value=True,
                label="Image encoder for drawn pictures",
            )
        make = gr.Button("Make the taste", variant="primary", elem_id="vote_make")
        said = gr.HTML(elem_id="vote_said", elem_classes="vx-maybe")
    _wire(studio, source, begin, pair, shown)
    _wire_taste(studio, source, name, model, make, said)


def _wire(studio: Studio, source: Any, begin: Any, pair: Any, shown: Any) -> None:
    import gradio as gr

    quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
    at = gr.State(0)  # the desk's number, of a run

    def sources() -> Any:
        runs = [
            (f"pictures of {each.title}", each.find) for each in shelf(studio.places) if each.kind == "run"
        ]
        return gr.Dropdown([_OF_DRAWN, *runs])

    @explained
    def first(source: str) -> Any:
        number = 0 if source == DRAWN else studio.desks.open(source)
        made = _pair(studio, source, number)
        return made, number, _html(studio, made)

    @explained
    def vote(event: gr.EventData, pair: Pair | None, number: int) -> Any:
        choice = event_value(event, "choice")
        if pair is None:
            return gr.skip(), gr.skip()
        keep(studio.places, pair, choice)  # type: ignore[arg-type] # which it checks
        made = _pair(studio, pair.source, number)
        return made, _html(studio, made)

    source.focus(explained(sources), None, source, **quiet)
    begin.click(first, source, [pair, at, shown], **quiet)
    source.input(first, source, [pair, at, shown], **quiet)
    shown.vote(vote, [pair, at], [pair, shown], **quiet)


def _wire_taste(studio: Studio, source: Any, name: Any, model: Any, make: Any, said: Any) -> None:
    @explained
    def made(source: str, name: str, model: str) -> str:
        if source == DRAWN:
            found = taste_of_drawn(studio.places, name, model)
        else:
            found = taste_of_run(studio.places, name, studio.desks.of(studio.desks.open(source)))
        count = ((found.provenance or {}).get("votes") or {}).get("votes")
        return part("said", text=f"Saved as {found.path}.", lines=[f"of {count} votes that prefer one"])

    make.click(made, [source, name, model], said, api_visibility="private")


def _pair(studio: Studio, source: str, number: int) -> Pair:
    """The next pair of a source: as many were asked before as there are votes."""
    asked = len(votes_in(studio.places, source))
    if source == DRAWN:
        return pair_of_drawn(studio.places, asked, _SEED)
    return pair_of_run(studio.desks.of(number), asked, _SEED, number)


def _html(studio: Studio, pair: Pair) -> str:
    return part("pair", it=pair, votes=len(votes_in(studio.places, pair.source)))
