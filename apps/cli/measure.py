"""`fewbits eval`, `fewbits bench` and `fewbits demo`."""

import json
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fewbits.apps.cli import paths
from fewbits.apps.cli.progress import progress_bar
from fewbits.codecs.codec import Progress, part_of
from fewbits.errors import InputError

if TYPE_CHECKING:
    from rich.table import Table

    from fewbits.eval.crops import CropRow
    from fewbits.eval.curves import BDRow
    from fewbits.eval.ledger import Ledger

    Measure = Callable[[Progress, Ledger], dict[str, Any]]
    Show = Callable[[dict[str, Any], Progress], list[CropRow]]
    Work = tuple[Measure, Show, Callable[[dict[str, Any]], list[Table]]]


def evaluate(
    sources: Annotated[
        list[str], typer.Argument(metavar="PATH", help="Pictures and folders of pictures, or sounds, or films.")
    ],
    codec: Annotated[list[str], typer.Option(help="NAME or NAME@SETTING,SETTING..., once for each codec.")],
    effort: Annotated[int, typer.Option(min=1, max=9, help="1 (fastest) to 9 (slowest).")] = 5,
    json_path: Annotated[Path | None, typer.Option("--json", metavar="OUT", help="Write all records here.")] = None,
    html_path: Annotated[Path | None, typer.Option("--html", metavar="OUT", help="Write a page with plots.")] = None,
    anchor: Annotated[
        str | None, typer.Option(help="Codec that rates are compared with.",
                                 show_default="avif-psnr, of sounds opus, of films x264")
    ] = None,
    published: Annotated[
        Path | None, typer.Option(metavar="FILE", help="JSON with published curves, to lay under the plots.")
    ] = None,
    mono: Annotated[bool, typer.Option("--mono", help="Of sounds: take the mean of the channels.")] = False,
    metrics: Annotated[
        str | None, typer.Option(metavar="NAME,NAME...", show_default="psnr,ms_ssim, of sounds and films all",
                                 help="Of pictures: psnr, ms_ssim, gmsd, fsim, vif, haarpsi, mdsi.")
    ] = None,
) -> None:
    """Compare codecs on pictures: rate, distortion and time of files that were written and decoded again.

    Where a codec for sounds is among them (speech, sound, opus, opus-60, mp3, aac, flac), PATHs are sounds and folders
    of sounds; where one for films is (nerv, x264, x265, svtav1, the last three with -psnr too), films and folders of
    films. Where a codec for sets of images is among them, each PATH is one set: an idx file or a folder.
    """
    from fewbits.eval import curves, image_sets, medium, report, sounds, videos

    for place in filter(None, (json_path, html_path)):
        paths.remove_leftovers(place.resolve().parent)
        paths.refuse_unwritable(place, overwrite=True)
    kind = "video" if videos.asked_for(codec) else "audio" if sounds.asked_for(codec) else "image"
    if kind == "image" and image_sets.asked_for(codec):
        if html_path or anchor or published or metrics:
            raise InputError("Sets of images have no plots, no anchor and no metrics: leave out --html, --anchor, "
                             "--published and --metrics, or the codecs for sets.")
        return _evaluate_sets(sources, codec, effort, json_path)
    if kind == "audio" and published:
        raise InputError("There are no published curves of sounds: leave out --published.")
    if mono and kind != "audio":
        raise InputError("Pictures and films have no channels to take the mean of: leave out --mono.")
    names = [text.partition("@")[0] for text in codec]
    if anchor is not None and anchor not in names:
        raise InputError(f"The anchor {anchor} is not evaluated: add --codec {anchor}.")
    against = anchor or medium.MEDIA[kind].anchor
    background = curves.load_published(published) if published else []
    chosen = medium.MEDIA[kind].usual if metrics is None else [name.strip() for name in metrics.split(",")]
    work: dict[str, Callable[[list[str], list[str], int, Sequence[str]], Work]] = {
        "image": _picture_work, "audio": partial(_sound_work, mono=mono), "video": _film_work}
    measured, shown, tabled = work[kind](sources, codec, effort, chosen)
    steps = 2 if html_path else 1
    # stills of films are taken while these are decoded, so that a page needs all of them
    keeps = None if kind == "video" and html_path else json_path
    with _kept_for(keeps, {"effort": effort, "metrics": list(chosen), "mono": mono}) as ledger, \
            progress_bar() as progress:
        result = _with_command(measured(part_of(progress, 0, steps, "eval"), ledger))
        if json_path:
            _write_json(result, json_path)
        if html_path:
            rows = shown(result, part_of(progress, 1, steps, "side by side"))
            with paths.whole_or_absent(html_path, overwrite=True) as temporary:
                report.write_html(result, temporary, against, background, rows)
        ledger.remove()
    tables = tabled(result)
    if against in names:
        tables.append(_rate_table(curves.bd_table(result, against, background), curves.compared_metrics(result),
                                  against))
    _print_tables(tables)
    for notice in result.get("notices", ()):
        print(notice)


def _picture_work(sources: list[str], codec: list[str], effort: int, metrics: Sequence[str]) -> "Work":
    """What measures codecs on pictures, takes crops of them, and tells of the result."""
    from fewbits.eval import contenders, crops, evaluate

    entrants = [contenders.parse_codec(text) for text in codec]
    return (lambda progress, ledger: evaluate.evaluate(sources, entrants, effort, metrics, progress, ledger),
            lambda result, progress: crops.take_crops(result, sources, progress=progress), _picture_tables)


def _sound_work(sources: list[str], codec: list[str], effort: int, metrics: Sequence[str], mono: bool) -> "Work":
    """What measures codecs on sounds, makes spectrograms of them, and tells of the result."""
    from fewbits.eval import sounds, spectrograms

    return (lambda progress, ledger: sounds.evaluate(sources, codec, effort, metrics, mono, progress, ledger),
            lambda result, progress: spectrograms.take_spectrograms(result, sources, progress=progress), _sound_tables)


def _film_work(sources: list[str], codec: list[str], effort: int, metrics: Sequence[str]) -> "Work":
    """What measures codecs on films, gives the frames that were kept meanwhile, and tells of the result."""
    from fewbits.eval import stills, videos

    kept = stills.Stills()
    return (lambda progress, ledger: videos.evaluate(sources, codec, effort, metrics, kept.see, progress, ledger),
            lambda result, progress: kept.rows(), _film_tables)


def _evaluate_sets(sources: list[str], codec: list[str], effort: int, json_path: Path | None) -> None:
    """`fewbits eval` of sets of images."""
    from fewbits.eval import image_sets

    with _kept_for(json_path, {"effort": effort}) as ledger, progress_bar() as progress:
        result = _with_command(image_sets.evaluate(sources, codec, effort, part_of(progress, 0, 1, "eval"), ledger))
        if json_path:
            _write_json(result, json_path)
        ledger.remove()
    _print_tables(_set_tables(result))


@contextmanager
def _kept_for(json_path: Path | None, options: dict[str, Any]) -> "Iterator[Ledger]":
    """What keeps records until all of them can be written to `json_path`, and says so when it comes to nothing."""
    from fewbits.eval.ledger import ENDING, Ledger

    with Ledger(json_path and json_path.with_name(json_path.name + ENDING), options) as ledger:
        try:
            yield ledger
        except BaseException:
            if ledger.kept:
                print(f"{ledger.path} keeps what is measured, {ledger.kept} records: the same command goes on from "
                      "there.", file=sys.stderr)
            raise
        if ledger.taken:
            print(f"Records taken over from the run that was interrupted: {ledger.taken}.")


def _with_command(result: dict[str, Any]) -> dict[str, Any]:
    """A result that says which command it comes from."""
    return result | {"environment": result["environment"] | {"command": shlex.join(["fewbits", *sys.argv[1:]])}}


def _write_json(result: dict[str, Any], target: Path) -> None:
    with paths.whole_or_absent(target, overwrite=True) as temporary:
        temporary.write_text(json.dumps(result, indent=1))


def bench(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Measure the speed of the entropy layer and the codecs, each beside a rival."""
    from fewbits.apps import bench

    with progress_bar() as progress:
        results = bench.run(progress)
    if as_json:
        print(json.dumps(results))
    else:
        _print_tables(bench.tables(results))


def demo(
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Folder for the files.")] = Path(
        "demo-output"
    ),
) -> None:
    """Encode and decode photos, a voice and music, beside classical codecs at about the same size."""
    from fewbits.apps import demo, demo_sounds

    paths.refuse_unwritable_folder(output)
    paths.remove_leftovers(output)
    with progress_bar() as progress:
        heard = [(scene, list(demo_sounds.run(scene, output, part_of(progress, number, 3, scene.name))))
                 for number, scene in enumerate(demo_sounds.SCENES)]
        groups = list(demo.run(output, part_of(progress, 2, 3, "photo")))
    _print_tables([demo.table(groups), *(demo_sounds.table(scene, rows) for scene, rows in heard)])
    print(f"The files, and what they decode to, are in {output}/.")


def _picture_tables(result: dict[str, Any]) -> "list[Table]":
    """Means over all files, setting by setting; metrics that are not the usual ones have a table of their own."""
    from fewbits.eval.metrics import USUAL_METRICS

    records = result["records"]
    usual = [name for name in records[0]["metrics"] if name in USUAL_METRICS]
    others = [name for name in records[0]["metrics"] if name not in USUAL_METRICS]
    tables = [_means_of_pictures(records, usual, ("encode_s", "decode_s"))]
    return [*tables, _means_of_pictures(records, others, ())] if others else tables


def _means_of_pictures(records: list[dict[str, Any]], names: list[str], times: tuple[str, ...]) -> "Table":
    """Rates, some metrics and some times."""
    from rich.table import Table

    table = Table("codec", title=f"Means over {len({r['file'] for r in records})} pictures")
    for heading in ("setting", "bpp", *names, *(name.replace("_", " ") for name in times)):
        table.add_column(heading, justify="right")
    for (codec, setting), cell in _by_setting(records).items():
        values = [[record["metrics"][name] for record in cell] for name in names]
        table.add_row(
            codec,
            f"{setting:g}",
            f"{fmean(r['bpp'] for r in cell):.4f}",
            *("-" if None in value else f"{fmean(value):.4f}" for value in values),
            *(f"{fmean(r[name] for r in cell):.3f}" for name in times),
        )
    return table


def _sound_tables(result: dict[str, Any]) -> "list[Table]":
    """Rates and speeds, then metrics: means over all sounds, setting by setting."""
    from rich.table import Table

    from fewbits.eval.sound_metrics import SOUND_METRICS

    records = result["records"]
    names = list(records[0]["metrics"])
    rates = Table("codec", title=f"Means over {len({r['file'] for r in records})} sounds", collapse_padding=True)
    for heading in ("setting", "kbit/s", "exact", "encode,\ntimes real time", "decode,\ntimes real time"):
        rates.add_column(heading, justify="right")
    quality = Table("codec", title="Each metric over the sounds that have it; of mel, less is better",
                    collapse_padding=True)
    for heading in ("setting", *(SOUND_METRICS[name].label.replace(" ", "\n") for name in names)):
        quality.add_column(heading, justify="right")
    for (codec, setting), cell in _by_setting(records).items():
        seconds = sum(r["seconds"] for r in cell)
        rates.add_row(
            codec,
            f"{setting:g}",
            f"{fmean(r['kbps'] for r in cell):.2f}",
            "yes" if all(r["exact"] for r in cell) else "no",
            *(f"{seconds / sum(r[name] for r in cell):,.0f}" for name in ("encode_s", "decode_s")),
        )
        values = [[r["metrics"][name] for r in cell if r["metrics"][name] is not None] for name in names]
        quality.add_row(codec, f"{setting:g}", *(f"{fmean(value):.3f}" if value else "-" for value in values))
    return [rates, quality]


def _film_tables(result: dict[str, Any]) -> "list[Table]":
    """Means over all films, setting by setting; speeds are those of all frames together."""
    from rich.table import Table

    records = result["records"]
    names = list(records[0]["metrics"])
    films = len({r["file"] for r in records})
    table = Table("codec", title=f"Means over {films} film{'s' * (films != 1)}", collapse_padding=True)  # 80 columns
    for heading in ("setting", "bpp", "kbit/s", *(name.replace("_", "\n") for name in names), "encode\nfps",
                    "decode\nfps"):
        table.add_column(heading, justify="right")
    for (codec, setting), cell in _by_setting(records).items():
        values = [[r["metrics"][name] for r in cell] for name in names]
        frames = sum(r["frames"] for r in cell)
        table.add_row(
            codec,
            f"{setting:g}",
            f"{fmean(r['bpp'] for r in cell):.4f}",
            f"{fmean(r['kbps'] for r in cell):.1f}",
            *("-" if None in value else f"{fmean(value):.{4 if name == 'ms_ssim' else 2}f}"
              for name, value in zip(names, values, strict=True)),
            *(f"{frames / sum(r[name] for r in cell):.3g}" for name in ("encode_s", "decode_s")),
        )
    return [table]


def _by_setting(records: list[dict[str, Any]]) -> dict[tuple[str, float], list[dict[str, Any]]]:
    """Records by codec and setting, in their order."""
    cells: dict[tuple[str, float], list[dict[str, Any]]] = {}
    for record in records:
        cells.setdefault((record["codec"], record["setting"]), []).append(record)
    return cells


def _set_tables(result: dict[str, Any]) -> "list[Table]":
    """A table for each set of images, one record a row."""
    from rich.table import Table

    tables: dict[str, Table] = {}
    for record in result["records"]:
        name, images, setting = record["file"], record["images"], record["setting"]
        if name not in tables:
            tables[name] = Table("codec", title=f"{name}: {images} images", collapse_padding=True)  # fits 80 columns
            for heading in ("setting", "bytes", "bpp", "bytes/\nimage", "exact", "encode\nimages/s",
                            "decode\nimages/s"):
                tables[name].add_column(heading, justify="right")
        tables[name].add_row(
            record["codec"],
            "-" if setting is None else f"{setting:g}",
            f"{record['bytes']:,}",
            f"{record['bpp']:.4f}",
            f"{record['bytes'] / images:.2f}",
            "yes" if record["exact"] else "no",
            *(f"{images / record[seconds]:,.0f}" for seconds in ("encode_s", "decode_s")),
        )
    return list(tables.values())


def _rate_table(rows: "list[BDRow]", names: list[str], anchor: str) -> "Table":
    """BD-rates by metric, or why there is none."""
    from rich.table import Table

    table = Table("codec", title=f"BD-rate against {anchor}")
    for name in names:
        table.add_column(name, justify="right")
    for row in rows:
        rates = [row.rates.get(name) for name in names]
        cells = ["-" if r is None else r.reason if r.percent is None else f"{r.percent:+.2f} %" for r in rates]
        table.add_row(f"{row.codec} (published)" if row.source else row.codec, *cells)
    return table


def _print_tables(tables: "list[Table]") -> None:
    from rich.console import Console

    console = Console()
    for table in tables:
        console.print(table)
