"""The page: its tabs, and what goes from one to another."""

from typing import Any

import gradio as gr

from fewbits.apps.gui import compare_tab, compress_tab, damage_tab, markup, open_tab
from fewbits.apps.gui.desk import Desks
from fewbits.apps.gui.wiring import Wiring

THEME = gr.themes.Default(primary_hue="blue", font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"])
STYLE = markup.STYLE
_KEEP = (600, 3600)  # seconds: how often old uploads are looked for, and what is old


def build(desks: Desks) -> gr.Blocks:
    """The whole page, for visitors whose work is done at these desks."""
    with gr.Blocks(title="fewbits", analytics_enabled=False, delete_cache=_KEEP) as page:
        gr.Markdown("# fewbits\nPictures, sounds and films as real files of few bits, and back.")
        with gr.Tabs() as tabs:
            with gr.Tab("Compress", id="compress"):
                stream, to_open, to_damage = compress_tab.build(Wiring(desks, "compress"))
            with gr.Tab("Open", id="open"):
                opened = open_tab.build(Wiring(desks, "open"))
            with gr.Tab("Compare", id="compare"):
                compare_tab.build(Wiring(desks, "compare"))
            with gr.Tab("Damage", id="damage"):
                damaged = damage_tab.build(Wiring(desks, "damage"))
        to_open.click(lambda file: _sent(file, "open"), [stream], [opened, tabs], api_visibility="private")
        to_damage.click(lambda file: _sent(file, "damage"), [stream], [damaged, tabs], api_visibility="private")

        def leave(request: gr.Request) -> None:
            desks.leave(str(request.session_hash))

        page.unload(leave)
    return page


def _sent(file: str | None, tab: str) -> list[Any]:
    """A finished file in another tab, which comes to the front."""
    return [file, gr.Tabs(selected=tab)]
