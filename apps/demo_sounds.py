"""The demonstration for sounds: a voice and a saxophone through our codecs and through classical ones."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rich.table import Table

from fewbits.apps import samples
from fewbits.apps.cli.paths import whole_or_absent
from fewbits.codecs.codec import Progress, no_progress
from fewbits.codecs.sound import Audio
from fewbits.eval.contenders import Contender, contender
from fewbits.eval.sound_metrics import SOUND_METRICS
from fewbits.eval.sounds import in_place
from fewbits.eval.trip import there_and_back

EFFORT = 5


@dataclass(frozen=True)
class Scene:
    """A sound, and what happens to it.

    Attributes:
        name: how file names begin.
        sample: of `samples.sound`.
        points: codecs and their settings.
        metrics: names of those that the table shows.
    """

    name: str
    sample: str
    points: tuple[tuple[str, tuple[int, ...]], ...]
    metrics: tuple[str, ...]


SCENES = (
    Scene("voice", samples.VOICE, (("speech", (30, 50, 80)), ("opus-60", (6, 9, 12))), ("pesq_wb", "stoi", "mel")),
    Scene("saxophone", samples.MUSIC, (("sound", (25, 50, 75)), ("opus-60", (6, 9, 12)), ("mp3", (8, 12, 16))),
          ("visqol_audio", "mel")),
)


def run(scene: Scene, output: Path, progress: Progress = no_progress) -> Iterator[dict[str, float | str | None]]:
    """Writes the files of a scene, and what they decode to, to `output`.

    Yields:
        For each codec and setting `codec`, `setting`, `bytes`, `kbps`, `encode_s`, `decode_s` and the value of each of
        its metrics, None where their package is not installed.

    Raises:
        InputError: if the sound is missing. WeightsError: if the weights of a codec are missing.
    """
    source = samples.sound(scene.sample)
    with whole_or_absent(output / f"{scene.name}.wav", overwrite=True) as temporary:
        source.save(temporary)
    number, total = 0, sum(len(settings) for _, settings in scene.points)
    for name, settings in scene.points:
        codec = contender(name, "audio")
        codec.decode(_file(codec, source, settings[0]))  # loads weights
        for setting in settings:
            progress(number / total, f"{name}@{setting}")
            place = output / f"{scene.name}-{name}-{setting}{codec.suffix}"
            with whole_or_absent(place, overwrite=True) as temporary:
                decoded, trip = there_and_back(partial(_file, codec, source, setting), codec.decode, temporary)
            result = in_place(codec, source, decoded)
            with whole_or_absent(place.with_suffix(".wav"), overwrite=True) as temporary:
                result.save(temporary)
            metrics = {metric: SOUND_METRICS[metric] for metric in scene.metrics}
            values = {name: m.compute(source, result) if m.installed else None for name, m in metrics.items()}
            kbps = 8 * trip["bytes"] / source.seconds / 1000
            yield {"codec": name, "setting": setting, "kbps": kbps, **trip, **values}
            number += 1


def _file(codec: Contender[Audio], sound: Audio, setting: float) -> bytes:
    return codec.encode(sound, setting, EFFORT)[0]


def table(scene: Scene, rows: list[dict[str, float | str | None]]) -> Table:
    """The rows of a scene for people to read."""
    result = Table(title=f"A {scene.name}", collapse_padding=True, pad_edge=False)
    result.add_column("codec", no_wrap=True)
    labels = [SOUND_METRICS[metric].label for metric in scene.metrics]
    for heading in ("setting", "bytes", "kbit/s", *labels, "encode s", "decode s"):
        result.add_column(heading, justify="right")
    for row in rows:
        values = ["-" if row[metric] is None else f"{row[metric]:.3f}" for metric in scene.metrics]
        result.add_row(str(row["codec"]), str(row["setting"]), f"{row['bytes']:,}", f"{row['kbps']:.2f}", *values,
                       f"{row['encode_s']:.2f}", f"{row['decode_s']:.2f}")
    return result
