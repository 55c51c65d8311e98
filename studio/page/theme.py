"""The page's looks: system fonts, paper and ink, one warm colour; light and dark; nothing is fetched."""

from importlib import resources
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import gradio as gr

__all__ = ["style", "theme"]

_FONT = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif"]
_MONO = ["ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace"]
# gradio's variables, by the page's own, which `style.css` gives for light and dark.
_OURS = {
    "body_background_fill": "paper",
    "body_text_color": "ink",
    "body_text_color_subdued": "soft",
    "background_fill_primary": "card",
    "background_fill_secondary": "paper",
    "block_background_fill": "none",
    "block_label_background_fill": "none",
    "block_label_text_color": "soft",
    "block_title_text_color": "soft",
    "block_info_text_color": "soft",
    "border_color_primary": "line",
    "border_color_accent": "accent",
    "input_background_fill": "card",
    "input_border_color": "line",
    "input_border_color_focus": "accent",
    "input_placeholder_color": "faint",
    "button_primary_background_fill": "accent",
    "button_primary_background_fill_hover": "deep",
    "button_primary_text_color": "on-accent",
    "button_secondary_background_fill": "card",
    "button_secondary_background_fill_hover": "pale",
    "button_secondary_text_color": "ink",
    "button_secondary_border_color": "line",
    "button_cancel_background_fill": "card",
    "button_cancel_text_color": "ink",
    "checkbox_background_color": "card",
    "checkbox_background_color_selected": "accent",
    "checkbox_border_color": "line",
    "checkbox_border_color_selected": "accent",
    "checkbox_label_background_fill": "card",
    "checkbox_label_background_fill_selected": "pale",
    "checkbox_label_text_color": "ink",
    "checkbox_label_text_color_selected": "ink",
    "checkbox_label_border_color": "line",
    "slider_color": "accent",
    "color_accent": "accent",
    "color_accent_soft": "pale",
    "loader_color": "accent",
    "link_text_color": "accent",
    "panel_background_fill": "none",
    "accordion_text_color": "ink",
}
_FOR_BOTH = {"color_accent"}  # has no twin for the dark
_PLAIN = {
    "block_border_width": "0px",
    "block_shadow": "none",
    "block_padding": "0px",
    "block_radius": "10px",
    "block_label_border_width": "0px",
    "block_label_padding": "0px",
    "block_label_margin": "0px",
    "block_title_text_weight": "500",
    "block_title_text_size": "13px",
    "block_title_background_fill": "none",
    "block_title_padding": "0px",
    "button_large_radius": "10px",
    "button_medium_radius": "10px",
    "button_small_radius": "8px",
    "button_primary_shadow": "none",
    "button_secondary_shadow": "none",
    "button_primary_border_color": "transparent",
    "button_large_text_weight": "550",
    "button_large_text_size": "15px",
    "input_border_width": "1px",
    "input_radius": "10px",
    "input_shadow": "none",
    "input_shadow_focus": "0 0 0 3px var(--vx-pale)",
    "layout_gap": "20px",
    "form_gap_width": "18px",
}


def theme() -> "gr.themes.Base":
    """gradio's theme in our colours and the system's fonts."""
    import gradio as gr

    base = gr.themes.Base(
        spacing_size="lg", radius_size="lg", text_size="md", font=list(_FONT), font_mono=list(_MONO)
    )
    values = {name: "transparent" if our == "none" else f"var(--vx-{our})" for name, our in _OURS.items()}
    dark = {f"{name}_dark": value for name, value in values.items() if name not in _FOR_BOTH}
    return base.set(**_PLAIN, **values, **dark)


def style() -> str:
    """The page's style sheet."""
    return resources.files(__package__).joinpath("style.css").read_text(encoding="utf-8")
