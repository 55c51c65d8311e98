"""The tab on which tastes are seen and curated."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from visunex.base.errors import VisunexError
from visunex.pipeline.curate.curation import Dropping

from ..work.blend import beside
from ..work.desk import Desk, Order
from ..work.shelf import Shelved, bring
from ..work.state import Studio
from .cards import shelf_html
from .exports import export_panel
from .handlers import event_value, explained
from .new_tastes import mix_panel, upload_panel
from .parts import part

if TYPE_CHECKING:
    import gradio as gr

__all__ = ["Tastes", "tastes_tab"]

_ORDERS = [("least typical first", "atypical"), ("most typical first", "typical"), ("best first", "best")]
_OPENS = """
element.addEventListener('click', event => {
  const card = event.target.closest('[data-open]');
  if (card) trigger('open', {name: card.dataset.open});
});
"""
_DROPS = """
element.addEventListener('click', event => {
  const shot = event.target.closest('[data-key]');
  if (!shot || shot.classList.contains('ruled')) return;
  const out = String(shot.classList.toggle('out'));
  shot.setAttribute('aria-pressed', out);
  trigger('drop', {key: shot.dataset.key, out});
});
"""


@dataclass(frozen=True)
class Tastes:
    """What others ask of this tab: the shelf, which `shelf_html` fills; and how a taste is taken along.

    `use` are the buttons that take the open taste to be drawn with, `name` what it is found by.
    """

    shelf: "gr.HTML"
    use: tuple["gr.Button", ...]
    name: "gr.State"


@dataclass
class _View:
    """The components of the tab, under the names by which its handlers know them."""

    studio: Studio
    shelf: Any = None
    views: tuple[Any, ...] = ()
    name: Any = None
    number: Any = None
    keys: Any = None
    title: Any = None
    order: Any = None
    grid: Any = None
    standing: Any = None
    groups: Any = None
    atypical: Any = None
    save_as: Any = None
    save: Any = None
    said: Any = None
    command: Any = None
    plain: Any = None
    plain_title: Any = None

    @property
    def rules(self) -> list[Any]:
        return [self.number, self.keys, self.groups, self.atypical]


def tastes_tab(studio: Studio) -> Tastes:
    """Lay out the tab, inside gradio's blocks."""
    import gradio as gr

    view = _View(studio, name=gr.State(""), number=gr.State(0), keys=gr.State(()))
    with gr.Column() as front:
        gr.HTML(
            part(
                "heading",
                title="Tastes",
                about="Open one to see its pictures, and click away what does not belong.",
            )
        )
        view.shelf = gr.HTML(js_on_load=_OPENS, elem_id="shelf")
        with gr.Accordion("A taste from your pictures", open=False, elem_classes="vx-panel"):
            upload_panel(studio, view.shelf)
        with gr.Accordion("Mix tastes", open=False, elem_classes="vx-panel"):
            mix_panel(studio, view.shelf)
    with gr.Column(visible=False) as bench:
        use, back = _desk(view)
    with gr.Column(visible=False) as plain:
        use_plain, plain_back = _plain(view)
    view.views = (front, bench, plain)
    _wire(view, back, plain_back)
    return Tastes(view.shelf, (use, use_plain), view.name)


def rule(keys: Sequence[str], groups: Sequence[int], percent: float) -> Dropping:
    """What is left out: pictures that were clicked, groups, and a share of the least typical in percent."""
    return Dropping(tuple(keys), tuple(int(each) for each in groups), (), min(max(percent, 0.0), 90.0) / 100)


def _desk(view: _View) -> tuple[Any, Any]:
    import gradio as gr

    back = gr.Button("← All tastes", elem_id="back", size="sm")
    view.title = gr.HTML()
    with gr.Row(elem_id="desk"):
        with gr.Column(scale=7, min_width=0):
            view.order = gr.Radio(
                _ORDERS, value="atypical", show_label=False, container=False, elem_id="order"
            )
            view.grid = gr.HTML(js_on_load=_DROPS, elem_id="grid")
        with gr.Column(scale=3, min_width=290, elem_id="side"):
            view.standing = gr.HTML(elem_id="standing")
            view.groups = gr.CheckboxGroup([], label="Leave out groups", elem_id="groups")
            view.atypical = gr.Slider(0, 50, 0, step=1, label="Leave out the least typical, %")
            view.save_as = gr.Textbox(label="Name", placeholder="my_taste", max_lines=1, elem_id="save_as")
            view.save = gr.Button("Save this taste", variant="primary", elem_id="save")
            view.said = gr.HTML(elem_id="saved", elem_classes="vx-maybe")
            use = gr.Button("Draw with it")
            export_panel(view.studio, view.name, "run")
            view.command = gr.HTML(elem_id="curate_command", elem_classes="vx-maybe")
    return use, back


def _plain(view: _View) -> tuple[Any, Any]:
    import gradio as gr

    back = gr.Button("← All tastes", elem_id="back2", size="sm")
    view.plain_title = gr.HTML()
    view.plain = gr.HTML(elem_id="plain")
    use = gr.Button("Draw with it", variant="primary")
    export_panel(view.studio, view.name, "plain")
    return use, back


def _wire(view: _View, back: Any, plain_back: Any) -> None:
    import gradio as gr

    quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
    opened = [*view.views, view.name, view.number, view.keys, view.title, view.grid, view.standing]
    opened += [
        view.groups,
        view.atypical,
        view.save_as,
        view.said,
        view.command,
        view.plain_title,
        view.plain,
    ]

    @explained
    def open_(event: gr.EventData) -> Any:
        return _opened(view.studio, event_value(event, "name"))

    @explained
    def drop(event: gr.EventData, number: int, before: Any, groups: list[int], percent: float) -> Any:
        desk, keys = view.studio.desks.of(number), _toggled(before, event)
        return (keys, *_standing(desk, rule(keys, groups, percent)))

    @explained
    def ruled(number: int, keys: Sequence[str], groups: list[int], percent: float, order: Order) -> Any:
        desk, dropping = view.studio.desks.of(number), rule(keys, groups, percent)
        return (_grid(desk, number, order, dropping), *_standing(desk, dropping))

    shown = [view.standing, view.command]
    view.shelf.open(open_, None, opened, api_visibility="private")
    view.grid.drop(drop, view.rules, [view.keys, *shown], trigger_mode="multiple", **quiet)
    changed = {"inputs": [*view.rules, view.order], "outputs": [view.grid, *shown], **quiet}
    view.order.input(ruled, **changed)
    view.groups.input(ruled, trigger_mode="multiple", **changed)
    view.atypical.release(ruled, trigger_mode="multiple", **changed)
    _wire_saving(view)
    for button in (back, plain_back):
        button.click(lambda: (*_only(0), shelf_html(view.studio)), None, [*view.views, view.shelf], **quiet)


def _toggled(before: Sequence[str], event: "gr.EventData") -> tuple[str, ...]:
    """The keys that are out after a click; kept here, as the page may be drawn anew between two of them."""
    key = event_value(event, "key")
    kept = tuple(each for each in before if each != key)
    return (*kept, key) if event_value(event, "out") == "true" else kept


def _wire_saving(view: _View) -> None:
    @explained
    def save(name: str, number: int, keys: Sequence[str], groups: list[int], percent: float) -> str:
        desk, path = view.studio.desks.of(number), view.studio.places.new_taste(name)
        made = desk.save(rule(keys, groups, percent), path)
        return part(
            "said",
            text=f"Saved as {made.embedding}.",
            lines=[f"{made.kept:,} pictures, {made.dropped:,} left out."],
        )

    view.save.click(save, [view.save_as, *view.rules], view.said, api_visibility="private")


def _opened(studio: Studio, name: str) -> tuple[Any, ...]:
    """What all components show when a taste is opened: a run's pictures, or what is known of a file."""
    import gradio as gr

    found = bring(studio.places, name)
    if found.kind != "run":
        nothing = [gr.skip()] * 9
        return (*_only(2), name, 0, (), *nothing[:-1], *_described(studio, found))
    try:
        number = studio.desks.open(name)
    except VisunexError as error:
        return (*_only(2), name, 0, (), *[gr.skip()] * 8, *_described(studio, found, str(error)))
    desk, nothing_dropped = studio.desks.of(number), Dropping()
    numbers = [(" ".join((str(each), *desk.words_of(each)[:1])), each) for each in desk.group_numbers]
    groups = gr.CheckboxGroup(numbers, value=[], visible=bool(numbers))
    title = part("heading", title=found.title, about=found.about)
    grid = _grid(desk, number, "atypical", nothing_dropped)
    standing, command = _standing(desk, nothing_dropped)
    return (
        *_only(1),
        name,
        number,
        (),
        title,
        grid,
        standing,
        groups,
        0,
        "",
        "",
        command,
        gr.skip(),
        gr.skip(),
    )


def _described(studio: Studio, found: Shelved, why: str = "") -> tuple[str, str]:
    made = found.facts
    lines = [str(made[key]) for key in ("recipe", "source") if made.get(key)]
    cosines = beside(studio.places, found.find)
    about = part("plain", it=found, lines=[*([why] if why else []), *lines], cosines=cosines)
    return part("heading", title=found.title), about


def _only(which: int) -> tuple[Any, ...]:
    """The three views, of which one is seen."""
    import gradio as gr

    return tuple(gr.Column(visible=number == which) for number in range(3))


def _grid(desk: Desk, number: int, order: Order, dropping: Dropping) -> str:
    out = desk.standing(dropping).left_out
    return part("grid", number=number, sections=desk.sections(order), keys=dropping.keys, left_out=out)


def _standing(desk: Desk, dropping: Dropping) -> tuple[str, str]:
    command = part("command", line=desk.command(dropping, "tastes/NAME.pt")) if dropping else ""
    return part("standing", it=desk.standing(dropping)), command
