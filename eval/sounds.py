"""Codecs on sounds: rates, distortions and times; every rate is the size of a file written and decoded again."""

import math
import tempfile
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from fewbits.codecs.codec import Progress, no_progress, part_of
from fewbits.codecs.sound import Audio
from fewbits.codecs.suffixes import suffixes_of
from fewbits.errors import FewbitsError, InputError
from fewbits.eval.contenders import Contender, available, entrant, parse_codec
from fewbits.eval.environment import describe_environment
from fewbits.eval.evaluate import expand, missing_packages
from fewbits.eval.ledger import NOTHING_KEPT, Ledger
from fewbits.eval.sound_metrics import SOUND_METRICS

_LONGEST_DELAY = 0.2  # seconds; AAC has 1024 samples, which are 0.13 at 8 kHz
_ALIGNED_AT_ONCE = 2**18  # samples


def asked_for(codecs: Sequence[str]) -> bool:
    """Whether one of the codecs (`NAME` or `NAME@SETTING,SETTING...`) is for sounds."""
    return any(text.partition("@")[0] in available("audio") for text in codecs)


def evaluate(
    paths: Sequence[str | Path],
    codecs: Sequence[str],
    effort: int = 5,
    metrics: Sequence[str] = tuple(SOUND_METRICS),
    mono: bool = False,
    progress: Progress = no_progress,
    ledger: Ledger = NOTHING_KEPT,
) -> dict[str, object]:
    """Runs codecs over sounds.

    Args:
        paths: sounds, and folders of sounds.
        codecs: `NAME` or `NAME@SETTING,SETTING...`, from `contenders.available("audio")`.
        effort: 1 to 9, for neural codecs.
        metrics: names from `sound_metrics.SOUND_METRICS`.
        mono: take the mean of the channels as the source.
        ledger: keeps records, for a run that is interrupted.

    Returns:
        An object ready for JSON: `environment`, with `effort` and `mono`; `notices`, sentences for the user; and
        `records`, one for each file, codec and setting, with `file`, `codec`, `setting`, `seconds` (length of the
        sound), `bytes`, `kbps` (kbit/s of the whole file), `metrics` (name to value, None where the metric cannot be
        had or is infinite), `exact` (every sample came back as it was), `encode_s` and `decode_s` (wall seconds,
        without reading the source); for neural codecs also `estimate_bits`.

    Raises:
        InputError: for unknown names and settings, and for files that cannot be read or coded.
    """
    entrants = [entrant(*parse_codec(text, "audio"), "audio") for text in codecs]
    unknown = [name for name in metrics if name not in SOUND_METRICS]
    if unknown:
        raise InputError(f"There is no metric {unknown[0]!r} of sounds; there are: {', '.join(SOUND_METRICS)}.")
    sources = expand(paths, suffixes_of("audio"), "sound")
    total = len(sources) * sum(len(settings) for _, settings in entrants)
    records: list[dict[str, object]] = []
    notices = missing_packages(metrics, SOUND_METRICS)
    with tempfile.TemporaryDirectory(prefix="fewbits-eval-") as folder:
        for name, codec, setting, audio in _runs(sources, entrants, mono, notices):
            reports = part_of(progress, len(records), total, f"{codec.name}@{setting:g} {name}")
            reports(0, "coding")
            measure = partial(_measure, codec, setting, audio, effort, metrics, Path(folder), reports)
            record = {"file": name, "codec": codec.name, "setting": setting, "seconds": audio.seconds}
            records.append(ledger.record(sources[name], record, measure))
    progress(1, "done")
    environment = describe_environment() | {"effort": effort, "mono": mono}
    return {"environment": environment, "notices": notices, "records": records}


def open_source(path: Path, mono: bool) -> tuple[Audio, tuple[str, ...]]:
    """A sound, or the mean of its channels, without samples that are no numbers, and sentences about these."""
    audio, sentences = Audio.open(path).cleaned()
    return audio.mono() if mono else audio, sentences


def aligned(source: Audio, decoded: Audio) -> Audio:
    """The decoded sound, moved to where it fits the source best, with the length of the source.

    The delay sought is that with the largest cross-correlation, summed over channels, up to 0.2 s either way; none,
    where no other fits better. Both have one rate and one number of channels.
    """
    from scipy.signal import correlate  # seconds to import, for which pictures need not wait

    limit = round(_LONGEST_DELAY * source.rate)
    room = Audio(np.pad(decoded.samples, ((0, 0), (limit, 0))), source.rate).of_length(source.count + 2 * limit).samples
    fits = np.zeros(2 * limit + 1)
    for start in range(0, source.count, _ALIGNED_AT_ONCE):
        for a, b in zip(source.samples[:, start : start + _ALIGNED_AT_ONCE], room[:, start:], strict=True):
            near = b[: len(a) + 2 * limit].astype(np.float64)
            fits += correlate(near, a.astype(np.float64), "valid", method="fft")
    best = int(fits.argmax())
    if fits[best] <= fits[limit] * (1 + 1e-9):  # silence, for one, fits everywhere
        best = limit
    return Audio(np.ascontiguousarray(room[:, best : best + source.count]), source.rate)


def in_place(codec: Contender[Audio], source: Audio, decoded: Audio) -> Audio:
    """What a codec made of a sound, at the source's rate, of its length and without the delay of classical codecs."""
    decoded = decoded.resampled(source.rate)
    result = decoded.of_length(source.count)
    if codec.neural or np.array_equal(result.samples, source.samples):
        return result
    return aligned(source, decoded)


def _runs(sources: dict[str, Path], entrants: list[tuple[Contender[Audio], list[float]]], mono: bool,
          notices: list[str]) -> Iterator[tuple[str, Contender[Audio], float, Audio]]:
    """Everything to measure, file by file so that one sound is in memory at a time; adds to the notices."""
    for number, (name, path) in enumerate(sources.items()):
        audio, sentences = open_source(path, mono)
        notices += [f"{name}: {sentence}" for sentence in sentences]
        for codec, settings in entrants:
            if number == 0:  # so that imports, weights and the making of tables do not count as coding
                codec.decode(codec.encode(audio.of_length(min(audio.count, audio.rate)), settings[0], 1)[0])
            for setting in settings:
                yield name, codec, setting, audio


def _measure(codec: Contender[Audio], setting: float, audio: Audio, effort: int, metrics: Sequence[str],
             folder: Path, progress: Progress) -> dict[str, object]:
    """One record, without what names it."""
    decoded, trip = codec.trip(audio, setting, effort, folder, progress)
    if decoded.channels != audio.channels:
        raise FewbitsError(f"{codec.name} gave back {decoded.channels} channels of {audio.channels}.")
    values, exact = compare(audio, in_place(codec, audio, decoded), metrics)
    return {**trip, "kbps": 8 * trip["bytes"] / audio.seconds / 1000, "metrics": values, "exact": exact}


def compare(source: Audio, decoded: Audio, names: Sequence[str],
            progress: Progress = no_progress) -> tuple[dict[str, float | None], bool]:
    """Metrics by name, None where one cannot be had or is infinite, and whether every sample of the source came back;
    both sounds have one rate, one length and one number of channels."""
    values = {}
    for number, name in enumerate(names):
        progress(number / len(names), name)
        values[name] = _value(name, source, decoded)
    return values, np.array_equal(decoded.samples, source.samples)


def _value(metric: str, source: Audio, result: Audio) -> float | None:
    """A metric's value, None where it cannot be had; JSON knows no infinity."""
    chosen = SOUND_METRICS[metric]
    value = chosen.compute(source, result) if chosen.installed else None
    return value if value is not None and math.isfinite(value) else None
