"""The tab that compares codecs on one input, all of them brought to about one size."""

from pathlib import Path
from typing import Any

import gradio as gr

from fewbits.apps import samples
from fewbits.apps.gui import contest, markup
from fewbits.apps.gui.wiring import Wiring, dropped, place_for
from fewbits.errors import InputError

_EXAMPLES = {"a photo": samples.TOWER, "a voice": samples.VOICE, "music": samples.MUSIC, "a film": samples.FILM}
_EFFORT = 2


def build(wiring: Wiring) -> None:
    """Puts the tab together."""
    heard = gr.State([])
    with gr.Row():
        with gr.Column(scale=2, min_width=320):
            source = place_for("A picture, a sound or a film")
            gr.Examples([[str(samples.path(name))] for name in _EXAMPLES.values()], [source], label="Examples",
                        example_labels=list(_EXAMPLES))
            codecs = gr.Dropdown(contest.every_name(), value=[], multiselect=True, label="Codecs",
                                 info="those of fewbits and classical ones, as fit to what is dropped")
            size = gr.Number(0, label="Size in bytes", minimum=1, precision=0, info="of every file, as near as can be")
            curves = gr.Checkbox(True, label="Also at half and at twice the size, for curves")
            effort = gr.Slider(1, 9, _EFFORT, step=1, label="Effort of the codecs of fewbits")
            with gr.Row():
                start = gr.Button("Compare", variant="primary")
                cancel = gr.Button("Cancel")
        with gr.Column(scale=5, min_width=320):
            gallery = gr.Gallery(label="Decoded, at about one size", columns=3, object_fit="contain", height=600,
                                 interactive=False, buttons=["download", "fullscreen"])
            player = gr.Audio(label="Click on a spectrogram to hear it", visible=False, interactive=False,
                              type="filepath", buttons=["download"])
            plot = gr.HTML()
            table = gr.Dataframe(label="All files", interactive=False, visible=False, max_height=1000,
                                 buttons=["copy", "fullscreen"])

    def compare(source: str | None, codecs: list[str], size: float, effort: float, curves: bool, request: gr.Request,
                progress: gr.Progress = gr.Progress()) -> list[Any]:
        path = dropped(source, "a picture, a sound or a film")
        if not codecs:
            raise InputError("Choose at least one codec.")
        with wiring.desk(request, progress) as (folder, report):
            made = contest.compare(path, codecs, int(size), int(effort), curves, folder, report)
        head, *rows = made.table
        return [[(str(file), words) for file, words in made.shown], [str(file) for file in made.heard],
                gr.update(visible=bool(made.heard), value=str(made.heard[0]) if made.heard else None),
                markup.plot(made.plot), gr.update(value={"headers": head, "data": rows}, visible=True)]

    source.change(wiring.told(_offer), [source], [codecs, size], api_visibility="private")
    gallery.select(_play, [heard], [player], api_visibility="private")
    wiring.on_click(start, cancel, compare, [source, codecs, size, effort, curves],
                    [gallery, heard, player, plot, table], "compare")


def _offer(source: str | None) -> list[Any]:
    """The codecs for what was dropped, and a size for it."""
    if not source:
        return [gr.update(choices=contest.every_name(), value=[]), 0]
    names, chosen, size = contest.choices(Path(source))
    return [gr.update(choices=names, value=chosen), size]


def _play(heard: list[str], chosen: gr.SelectData) -> Any:
    """The sound of the spectrogram that was clicked on."""
    number = chosen.index if isinstance(chosen.index, int) else chosen.index[0]
    return gr.update(value=heard[number], autoplay=True) if number < len(heard) else gr.skip()
