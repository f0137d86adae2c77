"""The tab that damages a `.fwb` file, to see what survives."""

from typing import Any

import gradio as gr

from fewbits.apps.gui import coding, markup
from fewbits.apps.gui.wiring import Pair, Wiring, dropped, place_for
from fewbits.eval.damage import WAYS


def build(wiring: Wiring) -> gr.File:
    """Puts the tab together; gives the place of the file, for other tabs."""
    with gr.Row():
        with gr.Column(scale=2, min_width=320):
            source = place_for("A .fwb file")
            way = gr.Radio([(words, way) for way, words in WAYS.items()], value="erase", label="Damage")
            share = gr.Slider(0, 100, 10, step=0.1, label="How much, in percent",
                              info="of the bytes behind the header, or of the sections; one at least")
            seed = gr.Number(0, label="Another place", precision=0, info="each number damages other places")
            guess = gr.Checkbox(True, label="Guess what is lost", info="where the codec can: vqextreme")
            with gr.Row():
                start = gr.Button("Damage", variant="primary")
                cancel = gr.Button("Cancel")
        with gr.Column(scale=5, min_width=320):
            facts = gr.HTML(markup.facts([], ["Sections decode alone: large pictures, sounds and films have many, and "
                                              "a damaged one costs itself. Most codecs make one section of a small "
                                              "picture."]))
            stream = gr.DownloadButton("Download the damaged file", visible=False, size="md")
            pair = Pair("whole", "what survives")

    def damage(source: str | None, way: str, share: float, seed: float, guess: bool, request: gr.Request,
               progress: gr.Progress = gr.Progress()) -> list[Any]:
        path = dropped(source, "a .fwb file")
        with wiring.desk(request, progress) as (folder, report):
            left = coding.harm(path, way, share / 100, int(seed), folder, report, guess)
        return [markup.facts(left.facts, [f"A strict decoder says: {left.sentence}"]),
                gr.update(value=str(left.stream), visible=True), *pair.show(left.preview)]

    wiring.on_click(start, cancel, damage, [source, way, share, seed, guess], [facts, stream, *pair.places], "damage")
    return source
