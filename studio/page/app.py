"""The studio as a web application: the page, and the pictures that it shows by address."""

import os
from functools import partial
from typing import TYPE_CHECKING, Any

from visunex.base.errors import VisunexError

from ..work.exports import file_of as exported_file
from ..work.gallery import file_of, small
from ..work.shelf import sheet_of, shelved
from ..work.state import Studio
from ..work.uploads import LARGEST
from .cards import shelf_html
from .draw import draw_tab, gallery_html, taste_choices
from .guard import Application, Guard
from .parts import part
from .tastes import tastes_tab
from .theme import style, theme
from .vote import vote_tab

if TYPE_CHECKING:
    import gradio as gr
    from fastapi import FastAPI

__all__ = ["application"]

_KEPT = 3600  # seconds that uploads stay where gradio puts them


def application(studio: Studio, *, only_here: bool = True) -> Application:
    """The studio, ready to be served; `only_here` as in `Guard`."""
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read when gradio is imported
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    import gradio as gr
    from fastapi import FastAPI

    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    _images(app, studio)
    mounted = gr.mount_gradio_app(
        app,
        _page(studio),
        "/",
        footer_links=[],
        run_history=False,
        enable_monitoring=False,
        ssr_mode=False,
        pwa=False,
        mcp_server=False,
        max_file_size=LARGEST,
        theme=theme(),
        css=style(),
    )
    return Guard(mounted, only_here=only_here)


def _page(studio: Studio) -> "gr.Blocks":
    import gradio as gr

    quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
    with gr.Blocks(title="VisuNex studio", analytics_enabled=False, delete_cache=(_KEPT, _KEPT)) as page:
        gr.HTML(part("top"))
        with gr.Tabs(elem_id="tabs") as tabs:
            with gr.Tab("Tastes", id="tastes"):
                tastes = tastes_tab(studio)
            with gr.Tab("Draw", id="draw"):
                drawing = draw_tab(studio)
            with gr.Tab("Vote", id="vote"):
                vote_tab(studio)

        def take_along(name: str) -> Any:
            return gr.Tabs(selected="draw"), gr.Dropdown(taste_choices(studio), value=name)

        for button in tastes.use:
            button.click(take_along, tastes.name, [tabs, drawing.taste], **quiet)
        for fill, what in ((shelf_html, tastes.shelf), (gallery_html, drawing.gallery)):
            page.load(partial(fill, studio), None, what, **quiet)
    return page


def _images(app: "FastAPI", studio: Studio) -> None:
    """Answer the addresses of pictures, and of files that were made for other programs."""
    from fastapi import Query, Response
    from fastapi.responses import FileResponse

    def answer(data: bytes | None) -> Any:
        if data is None:
            return Response(status_code=404)
        return Response(data, media_type="image/webp", headers={"cache-control": "private, max-age=600"})

    @app.get("/visunex/sheet")
    def sheet(taste: str) -> Any:
        try:
            run = shelved(studio.places, taste).run
            return answer(None if run is None else sheet_of(run))
        except VisunexError:
            return answer(None)

    @app.get("/visunex/thumb/{desk}/{place}.webp")
    def thumb(desk: int, place: int) -> Any:
        try:
            return answer(studio.desks.of(desk).thumbnail(place))
        except VisunexError:
            return answer(None)

    @app.get("/visunex/exported/{name}")
    def exported(name: str) -> Any:
        try:
            return FileResponse(exported_file(studio.places, name), filename=name)
        except VisunexError:
            return answer(None)

    @app.get("/visunex/drawn/{name}")
    def drawn(name: str, small_one: bool = Query(False, alias="small")) -> Any:
        try:
            if small_one:
                return answer(small(studio.places.outputs, name))
            return FileResponse(file_of(studio.places.outputs, name), media_type="image/png")
        except VisunexError:
            return answer(None)
