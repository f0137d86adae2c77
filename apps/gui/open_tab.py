"""The tab that opens a `.fwb` file: what it holds, and where its bytes went."""

from typing import Any

import gradio as gr

from fewbits.apps.gui import coding, markup
from fewbits.apps.gui.wiring import Pair, Wiring, dropped, place_for


def build(wiring: Wiring) -> gr.File:
    """Puts the tab together; gives the place of the file, for other tabs."""
    with gr.Row():
        with gr.Column(scale=2, min_width=320):
            source = place_for("A .fwb file")
            with gr.Row():
                start = gr.Button("Open", variant="primary")
                cancel = gr.Button("Cancel")
            facts = gr.HTML(markup.facts([], ["A file from the tab Compress, or one of your own."]))
        with gr.Column(scale=5, min_width=320):
            anatomy, heat = gr.HTML(), gr.HTML()
            pair = Pair("decoded", "where the bits went")

    def open_file(source: str | None, request: gr.Request, progress: gr.Progress = gr.Progress()) -> list[Any]:
        path = dropped(source, "a .fwb file")
        with wiring.desk(request, progress) as (folder, report):
            found = coding.take_apart(path, folder, report)
        notes = [found.heat] if found.heat else []
        return [markup.facts(found.facts), markup.anatomy(found.parts), markup.facts([], notes),
                *pair.show(found.preview)]

    wiring.on_click(start, cancel, open_file, [source], [facts, anatomy, heat, *pair.places], "open")
    return source
