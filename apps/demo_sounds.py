"""The demonstration for sounds: a voice through `speech` and through Opus."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from rich.table import Table

from fewbits.apps import samples
from fewbits.codecs.codec import Progress, no_progress
from fewbits.codecs.sound import Audio
from fewbits.eval.contenders import Contender, contender
from fewbits.eval.sound_metrics import SOUND_METRICS
from fewbits.eval.sounds import in_place
from fewbits.eval.trip import there_and_back

POINTS = (("speech", (30, 50, 80)), ("opus-60", (6, 9, 12)))
METRICS = ("pesq_wb", "stoi", "mel")
EFFORT = 5


def run(output: Path, progress: Progress = no_progress) -> Iterator[dict[str, float | str | None]]:
    """Writes the files of the demonstration, and what they decode to, to `output`.

    Yields:
        For each codec and setting `codec`, `setting`, `bytes`, `kbps`, `encode_s`, `decode_s` and the value of each of
        `METRICS`, None where its package is not installed.

    Raises:
        InputError: if the voice is missing. WeightsError: if the weights of a codec are missing.
    """
    voice = samples.sound(samples.VOICE)
    output.mkdir(parents=True, exist_ok=True)
    voice.save(output / "voice.wav")
    number, total = 0, sum(len(settings) for _, settings in POINTS)
    for name, settings in POINTS:
        codec = contender(name, "audio")
        codec.decode(_file(codec, voice, settings[0]))  # loads weights
        for setting in settings:
            progress(number / total, f"{name}@{setting}")
            place = output / f"voice-{name}-{setting}{codec.suffix}"
            decoded, trip = there_and_back(partial(_file, codec, voice, setting), codec.decode, place)
            result = in_place(codec, voice, decoded)
            result.save(place.with_suffix(".wav"))
            values = {metric: SOUND_METRICS[metric].compute(voice, result) if SOUND_METRICS[metric].installed else None
                      for metric in METRICS}
            kbps = 8 * trip["bytes"] / voice.seconds / 1000
            yield {"codec": name, "setting": setting, "kbps": kbps, **trip, **values}
            number += 1


def _file(codec: Contender[Audio], sound: Audio, setting: float) -> bytes:
    return codec.encode(sound, setting, EFFORT)[0]


def table(rows: list[dict[str, float | str | None]]) -> Table:
    """The rows for people to read."""
    result = Table(title="A voice, and Opus beside it")
    result.add_column("codec", no_wrap=True)
    labels = [SOUND_METRICS[metric].label for metric in METRICS]
    for heading in ("setting", "bytes", "kbit/s", *labels, "encode s", "decode s"):
        result.add_column(heading, justify="right")
    for row in rows:
        values = ["-" if row[metric] is None else f"{row[metric]:.3f}" for metric in METRICS]
        result.add_row(str(row["codec"]), str(row["setting"]), f"{row['bytes']:,}", f"{row['kbps']:.2f}", *values,
                       f"{row['encode_s']:.2f}", f"{row['decode_s']:.2f}")
    return result
