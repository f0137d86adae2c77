"""Neural codecs for sound: samples to streams and back, block by block."""

import math
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from fewbits.codecs.audio.config import TransformConfig
from fewbits.codecs.audio.vector_weights import load_vector_weights
from fewbits.codecs.audio.weights import Weights, load_weights
from fewbits.codecs.codec import Codec, Progress, Stream, Target, no_progress
from fewbits.codecs.search import highest_within
from fewbits.codecs.sound import MAX_SAMPLES, Audio
from fewbits.codecs.spans import Span, spans
from fewbits.codecs.weights import identity_of
from fewbits.entropy.container import size_of_sections
from fewbits.errors import DamagedError, LimitError

WEIGHTS = Path(__file__).parent / "weights"
DEFAULT_QUALITY = 50.0
GAIN_ZERO, GAINS_PER_OCTAVE = 128, 8  # the header's gain: 1/8 of a doubling from the level that the model is used to
USUAL_LEVEL = 0.07  # root mean square of the samples that the model was trained with
LEVEL_SECONDS = 60  # at the beginning, which the level is measured in: a sound may come through a pipe
SILENCE = 2.0**-16  # samples below this are 0 with 16 bits


class AudioCodec(Codec[Audio]):
    """A lossy codec for sound: MDCT, networks over frames, and latents that a `BlockCoder` turns into bytes.

    Sounds are resampled to the model's rate and back. Two channels are coded as their mean and half their difference,
    others one by one. A section holds a block of 96 frames of all channels, and no byte where all are silent.

    Args:
        device: where the float transforms run; everything that decides a probability runs on the CPU.
    """

    kind, family, lossless = "audio", "hierarchical", False
    weights_path: ClassVar[Path]

    def __init__(self, device: str = "cpu") -> None:
        self.device = device

    @cached_property
    def weights_id(self) -> bytes:
        return identity_of(self.weights_path)

    @cached_property
    def _weights(self) -> Weights:
        return load_weights(self.weights_path, self.device)

    @torch.inference_mode()
    def encode(self, media: Audio, target: Target = Target(), progress: Progress = no_progress) -> Stream:
        """Codes a sound; see `Codec.encode`. Samples that are infinite or not numbers count as 0; a notice says so."""
        cleaned, notices = media.cleaned()
        sound = _Sound(self._weights, self.device, cleaned)
        code, notice = _choose(sound, target, progress)
        sections: list[bytes | None] = []
        bits = 0.0
        for number, (section, estimate) in enumerate(sound.sections(code)):
            sections.append(section)
            bits += estimate
            progress((number + 1) / len(sound.spans), "coding")
        settings = {"quality": code, "gain": sound.gain_code}
        return Stream(settings, sections, bits, notices + ((notice,) if notice else ()))

    @torch.inference_mode()
    def decode(self, stream: Stream, shape: dict[str, int], progress: Progress = no_progress) -> Audio:
        """Decodes a sound; see `Codec.decode`. Damaged blocks are silent, faded out and in."""
        integers, heard = self.latents(stream, shape, progress)
        planes = self._synthesise(integers, heard, stream.settings["quality"], progress)
        planes *= _unit(stream.settings["gain"])
        decoded = Audio(_from_planes(planes).numpy(), self._weights.config.rate)
        return decoded.resampled(shape["rate"], shape["count"])

    @torch.inference_mode()
    def latents(self, stream: Stream, shape: dict[str, int], progress: Progress = no_progress) -> tuple[Tensor, Tensor]:
        """What is decoded before any float arithmetic, and so equal on every machine.

        Returns:
            (channels, rows, frames) int16, see `BlockCoder.decode`, and which frames are neither silent nor damaged,
            (channels, frames) bool; integers are 0 elsewhere.

        Raises:
            StreamError: if the stream is wrong, or the sound would be too long at the model's rate.
        """
        config, coder, channels = self._weights.config, self._weights.coder, shape["channels"]
        length = _length(config, shape["count"], shape["rate"])
        if length * channels > MAX_SAMPLES:
            raise LimitError(f"At {config.rate} Hz the sound has {length * channels} samples, more than the limit of "
                             f"{MAX_SAMPLES}.")
        cut = spans(_frames(config, length), config.BLOCK, 0)
        if len(stream.sections) != len(cut):
            raise DamagedError(f"The sound needs {len(cut)} sections, the file has {len(stream.sections)}.")
        integers = torch.zeros(channels, coder.rows, cut[-1].stop, dtype=torch.int16)
        heard = torch.zeros(channels, cut[-1].stop, dtype=torch.bool)
        for number, (span, section) in enumerate(zip(cut, stream.sections, strict=True)):
            if section:
                audible, data = _unmasked(section, channels)
                integers[audible, :, span.core] = coder.decode(
                    data, len(audible), span.stop - span.start, stream.settings["quality"])
                heard[audible, span.core] = True
            progress(0.5 * (number + 1) / len(cut), "decoding")
        return integers, heard

    def _synthesise(self, integers: Tensor, heard: Tensor, code: int, progress: Progress) -> Tensor:
        """Samples (channels, hops * hop) at the model's rate, block by block; each sees its neighbours' latents."""
        config, model, frames = self._weights.config, self._weights.model, integers.shape[2]
        levels, gain = _level(self._weights, self.device, code)
        hops = spans(frames - 1, config.BLOCK, 0)
        samples = torch.zeros(len(integers), (frames - 1) * config.hop)
        for number, span in enumerate(hops):
            # a hop of samples needs the frame at its end too
            inner = Span.around(span.start, span.stop + 1, config.halo, frames)
            if heard[:, inner.core].any():
                steps = self._weights.coder.dequantise(integers[:, :, inner.outer]).to(self.device)
                steps *= heard[:, None, inner.outer].to(self.device)
                coefficients = model.synthesis(steps, gain, levels)[:, :, inner.inner].cpu()
                coefficients *= heard[:, None, inner.core]
                part = model.mdct.inverse(coefficients.to(self.device)).cpu()
                samples[:, span.start * config.hop : span.stop * config.hop] = part
            progress(0.5 + 0.5 * (number + 1) / len(hops), "reconstructing")
        return samples


class SpeechCodec(AudioCodec):
    """Speech at 16 kHz, at about 0.5 to 9 kbit/s."""

    name = "speech"
    weights_path = WEIGHTS / "speech.safetensors"


class SpeechVqCodec(AudioCodec):
    """Speech at 16 kHz by residual vector quantisation, at up to 6 kbit/s."""

    name, family = "speech-vq", "vector-quantised"
    weights_path = WEIGHTS / "speech-vq.safetensors"

    @cached_property
    def _weights(self) -> Weights:
        return load_vector_weights(self.weights_path, self.device)


class SoundCodec(AudioCodec):
    """Music and all other sounds at 24 kHz, at about 3 to 16 kbit/s for each channel."""

    name = "sound"
    weights_path = WEIGHTS / "sound.safetensors"


class _Sound:
    """A sound being encoded, block by block."""

    def __init__(self, weights: Weights, device: str, sound: Audio) -> None:
        self.weights, self.device = weights, device
        config = weights.config
        planes = _to_planes(torch.from_numpy(sound.resampled(config.rate).samples))
        self.gain_code = _gain_code(planes[:, : config.rate * LEVEL_SECONDS])
        self.planes = planes
        self.spans = spans(_frames(config, planes.shape[1]), config.BLOCK, config.halo)

    def sections(self, code: int) -> Iterator[tuple[bytes, float]]:
        """Every block's bytes at a quality, and the model's estimate of their bits."""
        levels, gain = _level(self.weights, self.device, code)
        model, coder = self.weights.model, self.weights.coder
        for span in self.spans:
            audible = (self._samples(span.start, span.stop).abs() >= SILENCE).any(1)
            if not audible.any():
                yield b"", 0.0
                continue
            samples = self._samples(span.outer_start, span.outer_stop)[audible] / _unit(self.gain_code)
            latents = model.analysis(model.mdct(samples.to(self.device)), gain, levels)[:, :, span.inner].cpu()
            mask, (data, bits) = _mask(audible), coder.encode(latents, code)
            yield mask + data, 8 * len(mask) + bits

    def _samples(self, start: int, stop: int) -> Tensor:
        """The samples that frames `start` to `stop` see, 0 beyond the sound: (channels, (stop - start + 1) * hop)."""
        hop = self.weights.config.hop
        first, last = (start - 1) * hop, stop * hop
        part = self.planes[:, max(first, 0) : last]
        return F.pad(part, (max(-first, 0), last - max(first, 0) - part.shape[1]))


def _choose(sound: _Sound, target: Target, progress: Progress) -> tuple[int, str | None]:
    """Quality code for a target, and a sentence if the target cannot be met."""
    highest = sound.weights.coder.qualities
    if target.size is None:
        quality = DEFAULT_QUALITY if target.quality is None else target.quality
        return round(quality / 100 * highest), None

    def trial(code: int) -> float:
        progress(0.0, f"trying quality {100 * code / highest:.1f}")
        return size_of_sections([len(section) for section, _ in sound.sections(code)])

    found = highest_within(trial, max(target.size, 1), 0, highest)
    return (found, None) if found is not None else (0, "The size cannot be reached; this is the smallest file.")


def _level(weights: Weights, device: str, code: int) -> tuple[Tensor, Tensor]:
    """Level weights (1, L), and steps of the quantiser in a unit of each latent (1, K), at a quality."""
    levels = weights.coder.level_weights(code).to(device)
    return levels, weights.model.gain(levels)


def _length(config: TransformConfig, count: int, rate: int) -> int:
    """Samples at the model's rate, of so many at another."""
    return max(round(count * config.rate / rate), 1)


def _frames(config: TransformConfig, length: int) -> int:
    """Frames that a number of samples needs."""
    return -(-length // config.hop) + 1


def _gain_code(planes: Tensor) -> int:
    """The header's gain for samples: it brings what is not silent to the usual level."""
    loud = planes[planes.abs() >= SILENCE].double()
    if not len(loud):
        return GAIN_ZERO
    octaves = 0.5 * math.log2(float(loud.square().mean())) - math.log2(USUAL_LEVEL)
    return min(max(GAIN_ZERO + round(GAINS_PER_OCTAVE * octaves), 0), 255)


def _unit(gain_code: int) -> float:
    """What a sample of 1 is, in the units of the file's sound."""
    return 2.0 ** ((gain_code - GAIN_ZERO) / GAINS_PER_OCTAVE)


def _to_planes(samples: Tensor) -> Tensor:
    """Channels to what is coded: of two channels, the mean and half the difference."""
    if len(samples) != 2:
        return samples
    return torch.stack([samples[0] + samples[1], samples[0] - samples[1]]) / 2


def _from_planes(planes: Tensor) -> Tensor:
    if len(planes) != 2:
        return planes
    return torch.stack([planes[0] + planes[1], planes[0] - planes[1]])


def _mask(audible: Tensor) -> bytes:
    """Which of several channels are heard in a block, a bit each, the lowest bit first; nothing for one channel."""
    return b"" if len(audible) == 1 else np.packbits(audible.numpy(), bitorder="little").tobytes()


def _unmasked(section: bytes, channels: int) -> tuple[list[int], bytes]:
    """Which channels are heard, and the rest of the section. Raises `StreamError` for a section without them."""
    if channels == 1:
        return [0], section
    size = -(-channels // 8)
    heard = np.unpackbits(np.frombuffer(section[:size], np.uint8), bitorder="little")
    if len(section) <= size or not heard.any() or heard[channels:].any():
        raise DamagedError("A block of the sound is damaged: it does not say which channels are heard.")
    return np.flatnonzero(heard).tolist(), section[size:]
