import io

import av
import numpy as np
import pytest
import soundfile

from fewbits.codecs.sound import Audio
from fewbits.errors import InputError
from fewbits.eval.sound_anchors import SOUND_ANCHORS
from fewbits.eval.sound_metrics import si_sdr
from fewbits.eval.sounds import aligned

ANCHORS = list(SOUND_ANCHORS.values())
LOSSY = [a for a in ANCHORS if not a.lossless]


def ids(anchors):
    return [a.name for a in anchors]


def back(anchor, audio, setting):
    return aligned(audio, anchor.decode(anchor.encode(audio, setting)).resampled(audio.rate))


def test_the_names_of_the_plan_exist():
    assert set(SOUND_ANCHORS) == {"opus", "opus-60", "mp3", "aac", "flac"}


@pytest.mark.parametrize("anchor", ANCHORS, ids=ids(ANCHORS))
def test_the_spread_has_five_settings_or_more_in_range(anchor):
    assert len(set(anchor.settings)) >= 5
    assert min(anchor.settings) >= anchor.low and max(anchor.settings) <= anchor.high


@pytest.mark.parametrize("anchor", LOSSY, ids=ids(LOSSY))
def test_higher_settings_give_larger_files_and_better_sounds(anchor, make_sound):
    audio = make_sound(rate=16000)
    settings = (anchor.settings[0], 24, 64)
    sizes = [len(anchor.encode(audio, setting)) for setting in settings]
    quality = [si_sdr(audio, back(anchor, audio, setting)) for setting in settings]
    assert sizes[0] < sizes[1] < sizes[2]
    assert quality[0] < quality[1] < quality[2] and quality[2] > 15


@pytest.mark.parametrize("anchor", LOSSY, ids=ids(LOSSY))
@pytest.mark.parametrize("setting", [32, 96])
def test_files_have_about_the_rate_asked_for(anchor, setting, make_sound):
    audio = make_sound(3, rate=48000)
    assert 0.7 * setting < 8 * len(anchor.encode(audio, setting)) / audio.seconds / 1000 < 1.2 * setting


def test_mp3_reaches_low_rates_with_fewer_samples(make_sound):
    audio = make_sound(3, rate=48000)
    for setting in (8, 12, 16, 24):
        assert 8 * len(SOUND_ANCHORS["mp3"].encode(audio, setting)) / audio.seconds / 1000 < 1.25 * setting


@pytest.mark.parametrize("anchor", LOSSY, ids=ids(LOSSY))
@pytest.mark.parametrize("rate, channels", [(8000, 1), (11025, 2), (44100, 2), (96000, 1), (7919, 1)])
def test_every_rate_can_be_coded(anchor, rate, channels, make_sound):
    audio = make_sound(1, rate=rate, channels=channels)
    result = back(anchor, audio, 64)
    assert result.samples.shape == audio.samples.shape and si_sdr(audio, result) > 8


@pytest.mark.parametrize("anchor", ANCHORS, ids=ids(ANCHORS))
@pytest.mark.parametrize("rate, channels", [(16000, 1), (44100, 2)])
def test_one_sample_and_silence_can_be_coded(anchor, rate, channels):
    for samples in (np.full((channels, 1), 0.5), np.zeros((channels, 999))):
        audio = Audio(samples.astype(np.float32), rate)
        decoded = anchor.decode(anchor.encode(audio, anchor.settings[-1]))
        assert decoded.channels == channels and decoded.seconds >= audio.seconds


@pytest.mark.parametrize("bits", [16, 24])
@pytest.mark.parametrize("channels", [1, 2, 6])
def test_flac_returns_every_sample(bits, channels):
    full = 2 ** (bits - 1)
    whole = np.random.default_rng(0).integers(-full, full, (channels, 9001))
    audio = Audio((whole / full).astype(np.float32), 22050)
    for setting in (0, 12):
        data = SOUND_ANCHORS["flac"].encode(audio, setting)
        assert np.array_equal(SOUND_ANCHORS["flac"].decode(data).samples, audio.samples)
        assert soundfile.info(io.BytesIO(data)).subtype == f"PCM_{bits}"


def test_flac_clips_what_is_beyond_full_scale():
    audio = Audio(np.full((1, 5000), 1.5, np.float32), 8000)
    assert SOUND_ANCHORS["flac"].decode(SOUND_ANCHORS["flac"].encode(audio, 5)).samples.max() == 1 - 2**-23


def test_flac_pads_nothing():
    silence = Audio(np.zeros((1, 16000), np.float32), 16000)
    assert len(SOUND_ANCHORS["flac"].encode(silence, 8)) < 300


def test_six_channels_keep_their_order():
    time = np.arange(48000) / 48000
    frequencies = np.array([300, 500, 700, 60, 1100, 1300])  # the fourth is for low frequencies
    audio = Audio((0.4 * np.sin(2 * np.pi * frequencies[:, None] * time)).astype(np.float32), 48000)
    for anchor, setting in ((SOUND_ANCHORS["opus"], 400), (SOUND_ANCHORS["aac"], 400), (SOUND_ANCHORS["flac"], 5)):
        found = np.abs(np.fft.rfft(back(anchor, audio, setting).samples)).argmax(axis=1)
        assert np.abs(found - frequencies).max() <= 2


def test_frames_of_opus_have_their_length(make_sound):
    def packets(name: str) -> int:
        with av.open(io.BytesIO(SOUND_ANCHORS[name].encode(make_sound(6), 16))) as file:
            return sum(1 for packet in file.demux() if packet.size)

    assert 300 <= packets("opus") <= 302 and 100 <= packets("opus-60") <= 102


def test_long_frames_cost_less(make_sound):
    audio = make_sound(5)
    assert len(SOUND_ANCHORS["opus-60"].encode(audio, 9)) < len(SOUND_ANCHORS["opus"].encode(audio, 9))


def test_a_sound_that_the_format_cannot_hold_is_refused(make_sound):
    with pytest.raises(InputError, match="mp3 holds up to 2 channels, not 6"):
        SOUND_ANCHORS["mp3"].encode(make_sound(channels=6), 64)
    with pytest.raises(InputError, match="opus cannot code a sound of 1 channels and 16000 Hz with setting 500"):
        SOUND_ANCHORS["opus"].encode(make_sound(), 500)
