import math

import numpy as np
import pytest

from fewbits.codecs.sound import Audio
from fewbits.eval.sound_metrics import SOUND_METRICS, estoi, mel_distance, pesq_nb, pesq_wb, si_sdr, stoi

BEST = {"pesq_wb": 4.64, "pesq_nb": 4.55, "stoi": 1, "estoi": 1, "si_sdr": math.inf, "mel_distance": 0,
        "visqol_speech": 5, "visqol_audio": 4.73}
FAST = [name for name in SOUND_METRICS if not name.startswith("visqol")]
SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in SOUND_METRICS if name.startswith("visqol")]


def noisier(audio: Audio, deviation: float) -> Audio:
    hiss = np.random.default_rng(1).normal(0, deviation, audio.samples.shape)
    return Audio((audio.samples + hiss).astype(np.float32), audio.rate)


@pytest.fixture
def metric(request):
    """The function of a metric, by its name; skips where its package is not installed."""
    chosen = SOUND_METRICS[request.param]
    if not chosen.installed:
        pytest.skip(f"there is no {chosen.package}")
    return chosen.compute


@pytest.mark.parametrize("metric", [*FAST, *SLOW], indirect=True)
@pytest.mark.parametrize("rate, channels", [(16000, 1), (44100, 2)])
def test_equal_sounds_are_best_and_noise_is_worse(metric, rate, channels, make_sound):
    source = make_sound(3, rate=rate, channels=channels)
    best, good, bad = (metric(source, noisier(source, deviation)) for deviation in (0, 0.003, 0.03))
    assert best == pytest.approx(BEST[metric.__name__], abs=0.01)
    assert best < good < bad if metric is mel_distance else best > good > bad


@pytest.mark.parametrize("metric", [*FAST, *SLOW], indirect=True)
@pytest.mark.parametrize("seconds, level", [(0.01, 1), (2, 0)])
def test_what_is_too_short_or_silent_has_no_value(metric, seconds, level, make_sound):
    short = make_sound(seconds)
    sound = Audio(short.samples * np.float32(level), short.rate)
    if metric is mel_distance:
        assert metric(sound, noisier(sound, 0.1)) > 0
    elif metric is si_sdr and level:
        assert metric(sound, noisier(sound, 0.1)) < 10
    else:
        assert metric(sound, noisier(sound, 0.1)) is None


@pytest.mark.parametrize("metric", [pesq_wb, pesq_nb, stoi, estoi])
def test_long_sounds_are_judged_in_parts(metric, make_sound):
    if not all(m.installed for m in SOUND_METRICS.values() if m.compute is metric):
        pytest.skip("its package is not installed")
    part = make_sound(20)
    hurt = noisier(part, 0.01)
    both = [Audio(np.tile(audio.samples, 2), 16000) for audio in (part, hurt)]
    assert metric(*both) == pytest.approx(metric(part, hurt), abs=1e-6)


def test_a_silent_part_does_not_count(make_sound):
    pytest.importorskip("pystoi")
    part = make_sound(20)
    hurt = noisier(part, 0.01)
    silence = np.zeros((1, 20 * 16000), np.float32)
    longer = [Audio(np.hstack([audio.samples, silence]), 16000) for audio in (part, hurt)]
    assert stoi(*longer) == pytest.approx(stoi(part, hurt), abs=1e-6)


def test_a_silent_result_is_bad(make_sound):
    source = make_sound()
    silence = Audio(np.zeros_like(source.samples), source.rate)
    assert si_sdr(source, silence) == -math.inf
    for name in FAST:
        if SOUND_METRICS[name].installed:
            SOUND_METRICS[name].compute(source, silence)  # and nothing is raised


def test_si_sdr_of_a_known_error_whatever_the_scale():
    generator = np.random.default_rng(0)
    s, n = np.linalg.qr(generator.normal(size=(4000, 2)))[0].T  # orthogonal, of length 1
    source = Audio(s.reshape(2, 2000).astype(np.float32), 8000)
    for scale in (1, 0.1, -3):
        decoded = Audio((scale * (s + 0.1 * n)).reshape(2, 2000).astype(np.float32), 8000)
        assert si_sdr(source, decoded) == pytest.approx(20, abs=1e-3)


def test_mel_distance_of_a_known_gain():
    """A gain of 10 moves each logarithm by 1 in each of the seven scales."""
    source = noisier(Audio(np.zeros((2, 3000), np.float32), 16000), 0.1)
    loud = Audio(10 * source.samples, 16000)
    assert mel_distance(source, loud) == pytest.approx(7, abs=0.01)
    quiet = Audio(source.samples * np.float32(1e-9), 16000)
    assert mel_distance(quiet, Audio(quiet.samples * 10, 16000)) == 0  # below the floor


def test_mel_spectrogram_of_a_tone_is_strongest_in_its_band():
    from fewbits.eval.sound_metrics import _log_mels, _mel_filters

    rate, window, bands = 16000, 512, 80
    filters = _mel_filters(rate, window, bands)
    assert filters.shape == (257, 80) and (filters >= 0).all()
    tone = np.sin(2 * np.pi * 1000 * np.arange(4000) / rate).astype(np.float32)
    mels = np.concatenate(list(_log_mels(tone, window, filters)))
    assert mels.shape == (4000 // 128 + 1, 80)
    # 1 kHz is 15 mel; the top, 8 kHz, is 15 + 27 log 8 / log 6.4, and bands are evenly apart between 0 and it
    band = 15 / ((15 + 27 * math.log(8) / math.log(6.4)) / 81) - 1
    assert abs(mels[10].argmax() - band) <= 1


def test_mel_filters_have_area_one():
    from fewbits.eval.sound_metrics import _mel_filters

    area = _mel_filters(16000, 2048, 20).sum(axis=0) * 16000 / 2048
    assert area == pytest.approx(1, abs=0.01)
