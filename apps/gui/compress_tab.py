"""The tab that compresses: a picture, a sound or a film becomes a `.fwb` file."""

from typing import Any

import gradio as gr

from fewbits.apps import samples
from fewbits.apps.gui import coding, markup
from fewbits.apps.gui.wiring import Pair, Wiring, dropped, place_for, without_litter
from fewbits.codecs import registry, sources
from fewbits.codecs.codec import Target

QUALITY, SIZE = "quality", "size"
_EXAMPLES = {"a photo": samples.TOWER, "another photo": samples.STILL, "a voice": samples.VOICE,
             "music": samples.MUSIC, "a film": samples.FILM}
_KINDS = ("image", "audio", "video")  # sets of images have a page of their own: the command line
_EFFORT = 2  # seconds, also for codecs that fit themselves to what they code


def build(wiring: Wiring) -> tuple[gr.DownloadButton, gr.Button, gr.Button]:
    """Puts the tab together; gives the place of the finished file, and buttons that send it to be opened or damaged."""
    with gr.Row():
        with gr.Column(scale=2, min_width=320):
            source = place_for("A picture, a sound or a film")
            gr.Examples([[str(samples.path(name))] for name in _EXAMPLES.values()], [source], label="Examples",
                        example_labels=list(_EXAMPLES))
            codec = gr.Dropdown(_codecs(*_KINDS), value=registry.default("image"), label="Codec",
                                info=registry.entry(registry.default("image")).about)
            aim = gr.Radio([("Quality", QUALITY), ("Size of the file", SIZE)], value=QUALITY, label="Aim at")
            quality = gr.Slider(0, 100, 50, step=1, label="Quality", info="0 is the smallest file, 100 the best")
            size = gr.Number(20_000, label="Size in bytes", minimum=1, precision=0, visible=False)
            effort = gr.Slider(1, 9, _EFFORT, step=1, label="Effort", info="1 is the fastest, 9 the smallest file")
            with gr.Row():
                start = gr.Button("Compress", variant="primary")
                cancel = gr.Button("Cancel")
        with gr.Column(scale=5, min_width=320):
            facts = gr.HTML(markup.facts([], ["What you drop here is coded on this machine and shown beside what the "
                                              "finished file decodes to."]))
            with gr.Row(visible=False) as after:
                stream = without_litter(gr.DownloadButton("Download", variant="primary", scale=3, size="md"))
                to_open = gr.Button("Take it apart", size="md", min_width=120)
                to_damage = gr.Button("Damage it", size="md", min_width=120)
            pair = Pair("original", "decoded")

    def compress(source: str | None, codec: str, aim: str, quality: float, size: float, effort: float,
                 request: gr.Request, progress: gr.Progress = gr.Progress()) -> list[Any]:
        path = dropped(source, "a picture, a sound or a film")
        lossless = registry.entry(codec).lossless
        aims: dict[str, Any] = {} if lossless else {"size": int(size)} if aim == SIZE else {"quality": quality}
        with wiring.desk(request, progress) as (folder, report):
            done = coding.compress(path, codec, Target(**aims, effort=int(effort)), folder, report)
        file = gr.update(value=str(done.stream),
                         label=f"Download {done.stream.name} ({done.stream.stat().st_size:,} bytes)")
        return [markup.facts(done.facts, done.notices), gr.update(visible=True), file, *pair.show(done.preview)]

    source.change(wiring.told(_offer), [source], [codec], api_visibility="private")
    gr.on([codec.change, aim.change], _explain, [codec, aim], [codec, aim, quality, size], api_visibility="private")
    wiring.on_click(start, cancel, compress, [source, codec, aim, quality, size, effort],
                    [facts, after, stream, *pair.places], "compress")
    return stream, to_open, to_damage


def _codecs(*kinds: str) -> list[tuple[str, str]]:
    """The codecs for kinds of media: what is shown, and the name."""
    entries = [registry.entry(name) for kind in kinds for name in registry.names(kind)]
    return [(f"{e.name} ({e.family}{', lossless' if e.lossless else ''})", e.name) for e in entries]


def _offer(source: str | None) -> Any:
    """The codecs for what was dropped."""
    if not source:
        return gr.update(choices=_codecs(*_KINDS))
    kind = sources.kind_of_source(source)
    return gr.update(choices=_codecs(kind), value=registry.default(kind))


def _explain(codec: str, aim: str) -> list[Any]:
    """What the codec is good for, and the aims that it takes."""
    entry = registry.entry(codec)
    return [gr.update(info=entry.about), gr.update(visible=not entry.lossless),
            gr.update(visible=not entry.lossless and aim == QUALITY),
            gr.update(visible=not entry.lossless and aim == SIZE)]
