"""Neural codecs for sound: samples to streams and back, block by block."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import count, tee
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from fewbits.codecs.audio.config import TransformConfig
from fewbits.codecs.audio.vector_weights import load_vector_weights
from fewbits.codecs.audio.weights import Weights, load_weights
from fewbits.codecs.audio.window import Window
from fewbits.codecs.codec import Progress, Stream, Target, no_progress
from fewbits.codecs.search import highest_within
from fewbits.codecs.sound import MAX_SAMPLES, SoundCodec, check_resampled
from fewbits.codecs.sound_source import Cleaned, SoundSource, fitting_count, notices_of, resampled
from fewbits.codecs.spans import Span, spans
from fewbits.codecs.weights import identity_of
from fewbits.entropy.container import size_of_sections
from fewbits.errors import DamagedError, LimitError

WEIGHTS = Path(__file__).parent / "weights"
DEFAULT_QUALITY = 50.0
GAIN_ZERO, GAINS_PER_OCTAVE = 128, 8  # the header's gain: 1/8 of a doubling from the level that the model is used to
USUAL_LEVEL = 0.07  # root mean square of the samples that the model was trained with
SILENCE = 2.0**-16  # samples below this are 0 with 16 bits


@dataclass(frozen=True)
class Block:
    """A block of a sound, coded.

    Attributes:
        section: its bytes; none where all channels are silent.
        estimate_bits: the model's own estimate of their size.
        settings: the header fields, the same for all blocks of a sound.
    """

    section: bytes
    estimate_bits: float
    settings: dict[str, int]


class AudioCodec(SoundCodec):
    """A lossy codec for sound: MDCT, networks over frames, and latents that a `BlockCoder` turns into bytes.

    Sounds are resampled to the model's rate and back, and of both only what a few blocks see is in memory. Two channels
    are coded as their mean and half their difference, others one by one. A section holds a block of frames of all
    channels, and no byte where all are silent.

    Attributes:
        level_seconds: at the beginning, which the level is measured in: a sound may come through a pipe. Without any,
            sounds are taken as they are.

    Args:
        device: where the float transforms run; everything that decides a probability runs on the CPU.
    """

    kind, family, lossless = "audio", "hierarchical", False
    weights_path: ClassVar[Path]
    level_seconds: ClassVar[int] = 30

    def __init__(self, device: str = "cpu") -> None:
        self.device = device

    @cached_property
    def weights_id(self) -> bytes:
        return identity_of(self.weights_path)

    @cached_property
    def _weights(self) -> Weights:
        return load_weights(self.weights_path, self.device)

    def encode(self, media: SoundSource, target: Target = Target(), progress: Progress = no_progress) -> Stream:
        """Codes a sound; see `Codec.encode`. Samples that are infinite or not numbers count as 0; a notice says so.

        Raises:
            InputError: if the sound cannot be read or would be too long at the model's rate.
        """
        config, source = self._weights.config, Cleaned(media)
        length = fitting_count(media.count, media.rate, config.rate)
        check_resampled(length * media.channels, config.rate)
        total = -(-_frames(config, length) // config.block)
        code, notice = self._choose(source, target, progress)
        blocks = []
        for block in self._blocks(source, code):
            blocks.append(block)
            progress(len(blocks) / total, "coding")
        return Stream(blocks[0].settings, [block.section for block in blocks], sum(b.estimate_bits for b in blocks),
                      notices_of(source.wrong) + ((notice,) if notice else ()))

    def encode_blocks(self, source: SoundSource, quality: float = DEFAULT_QUALITY) -> Iterator[Block]:
        """Codes a sound while it is heard: what `encode` gives, each block as soon as what it sees is there.

        Before the first block, the level is measured over as much as `level_seconds`. The source is read once.

        Args:
            quality: 0 (smallest) to 100 (best).

        Raises:
            InputError: if the sound cannot be read on.
        """
        return self._blocks(Cleaned(source), self._code_of(quality))

    def decode_chunks(self, stream: Stream, shape: dict[str, int],
                      progress: Progress = no_progress) -> Iterator[np.ndarray]:
        """Decodes a sound as it is asked for; see `SoundCodec`. Damaged blocks are silent, faded out and in."""
        rate = self._weights.config.rate
        planes = self._planes(stream, self._cut(stream, shape), shape["channels"], progress)
        chunks = (_from_planes(part).numpy() for part in planes)
        return resampled(chunks, shape["channels"], rate, shape["rate"], shape["count"])

    def latents(self, stream: Stream, shape: dict[str, int]) -> tuple[Tensor, Tensor]:
        """What is decoded before any float arithmetic, and so equal on every machine.

        Returns:
            (channels, rows, frames) int16, see `BlockCoder.decode`, and which frames are neither silent nor damaged,
            (channels, frames) bool; integers are 0 elsewhere.

        Raises:
            StreamError: if the stream is wrong, or the sound would be too long at the model's rate.
        """
        integers, heard = zip(*self._latents(stream, self._cut(stream, shape), shape["channels"]), strict=True)
        return torch.cat(integers, -1), torch.cat(heard, -1)

    @torch.inference_mode()
    def _blocks(self, source: Cleaned, code: int) -> Iterator[Block]:
        """Every block at a code of the quality; the only way from samples to bytes."""
        config, model, coder = self._weights.config, self._weights.model, self._weights.coder
        levels, gain = _level(self._weights, self.device, code)
        chunks = resampled(source.chunks(), source.channels, source.rate, config.rate)
        planes = Window(_to_planes(torch.from_numpy(chunk)) for chunk in chunks)
        beginning = self.level_seconds * config.rate
        gain_code = _gain_code(planes.part(0, beginning)) if beginning else GAIN_ZERO
        settings = {"quality": code, "gain": gain_code}
        for start in count(0, config.block):
            # frames that there are, or more than this block sees
            frames = _frames(config, planes.reach((start + config.block + config.halo_after) * config.hop))
            if start >= frames:
                return
            span = Span.around(start, min(start + config.block, frames), config.halo_before, frames, config.halo_after)
            samples = _seen(planes, span.outer_start, span.outer_stop, config.hop)
            own = samples[:, (span.start - span.outer_start) * config.hop :][:, : (span.stop - start + 1) * config.hop]
            audible = (own.abs() >= SILENCE).any(1)
            if not audible.any():
                yield Block(b"", 0.0, settings)
                continue
            samples = samples[audible] / _unit(gain_code)
            latents = model.analysis(model.mdct(samples.to(self.device)), gain, levels)[:, :, span.inner].cpu()
            mask, (data, bits) = _mask(audible), coder.encode(latents, code)
            yield Block(mask + data, 8 * len(mask) + bits, settings)

    def _code_of(self, quality: float) -> int:
        return round(quality / 100 * self._weights.coder.qualities)

    def _choose(self, source: Cleaned, target: Target, progress: Progress) -> tuple[int, str | None]:
        """Quality code for a target, and a sentence if the target cannot be met."""
        if target.size is None:
            return self._code_of(DEFAULT_QUALITY if target.quality is None else target.quality), None
        highest = self._weights.coder.qualities

        def trial(code: int) -> float:
            progress(0.0, f"trying quality {100 * code / highest:.1f}")
            return size_of_sections([len(block.section) for block in self._blocks(source, code)])

        found = highest_within(trial, max(target.size, 1), 0, highest)
        return (found, None) if found is not None else (0, "The size cannot be reached; this is the smallest file.")

    def _cut(self, stream: Stream, shape: dict[str, int]) -> list[Span]:
        """The frames of each section. Raises `StreamError` if the stream cannot be decoded for its shape."""
        config = self._weights.config
        length = fitting_count(shape["count"], shape["rate"], config.rate)
        if length * shape["channels"] > MAX_SAMPLES:
            raise LimitError(f"At {config.rate} Hz the sound has {length * shape['channels']} samples, more than the "
                             f"limit of {MAX_SAMPLES}.")
        cut = spans(_frames(config, length), config.block, 0)
        if len(stream.sections) != len(cut):
            raise DamagedError(f"The sound needs {len(cut)} sections, the file has {len(stream.sections)}.")
        return cut

    @torch.inference_mode()
    def _latents(self, stream: Stream, cut: list[Span], channels: int) -> Iterator[tuple[Tensor, Tensor]]:
        """What `latents` gives, section by section."""
        coder = self._weights.coder
        for span, section in zip(cut, stream.sections, strict=True):
            frames = span.stop - span.start
            integers = torch.zeros(channels, coder.rows, frames, dtype=torch.int16)
            heard = torch.zeros(channels, frames, dtype=torch.bool)
            if section:
                audible, data = _unmasked(section, channels)
                integers[audible] = coder.decode(data, len(audible), frames, stream.settings["quality"])
                heard[audible] = True
            yield integers, heard

    @torch.inference_mode()
    def _planes(self, stream: Stream, cut: list[Span], channels: int, progress: Progress) -> Iterator[Tensor]:
        """Samples (channels, n) at the model's rate, block by block; each sees its neighbours' latents."""
        config, model, frames = self._weights.config, self._weights.model, cut[-1].stop
        levels, gain = _level(self._weights, self.device, stream.settings["quality"])
        first, second = tee(self._latents(stream, cut, channels))
        every, every_heard = Window(integers for integers, _ in first), Window(heard for _, heard in second)
        for number, span in enumerate(cut):
            # a hop of samples lies between two frames, so that the first of them waits for the next block
            first_frame = max(span.start - 1, 0)
            seen = Span.around(first_frame, span.stop, config.halo_before, frames, config.halo_after)
            integers = every.part(seen.outer_start, seen.outer_stop)
            heard = every_heard.part(seen.outer_start, seen.outer_stop)
            samples = torch.zeros(channels, (span.stop - 1 - first_frame) * config.hop)
            if heard[:, seen.inner].any():
                steps = self._weights.coder.dequantise(integers).to(self.device)
                steps *= heard[:, None].to(self.device)
                coefficients = model.synthesis(steps, gain, levels)[:, :, seen.inner].cpu()
                coefficients *= heard[:, None, seen.inner]
                samples = model.mdct.inverse(coefficients.to(self.device)).cpu()
            progress((number + 1) / len(cut), "decoding")
            yield samples * _unit(stream.settings["gain"])


class SpeechCodec(AudioCodec):
    """Speech at 16 kHz, at about 1.5 to 9 kbit/s."""

    name = "speech"
    weights_path = WEIGHTS / "speech.safetensors"


class LiveSpeechCodec(AudioCodec):
    """Speech at 16 kHz while it is spoken, at about 2 to 10 kbit/s: a sample can be heard 0.34 s later at most.

    Its networks see the past alone, a block has 16 frames (0.32 s), a sample lies between two frames (0.02 s), and the
    level is taken as it is.
    """

    name = "speech-live"
    weights_path = WEIGHTS / "speech-live.safetensors"
    level_seconds = 0


class SpeechVqCodec(AudioCodec):
    """Speech at 16 kHz by residual vector quantisation, at up to 6 kbit/s."""

    name, family = "speech-vq", "vector-quantised"
    weights_path = WEIGHTS / "speech-vq.safetensors"

    @cached_property
    def _weights(self) -> Weights:
        return load_vector_weights(self.weights_path, self.device)


class GeneralCodec(AudioCodec):
    """Music and all other sounds at 24 kHz, at about 3 to 16 kbit/s for each channel."""

    name = "sound"
    weights_path = WEIGHTS / "sound.safetensors"


def _seen(planes: Window, start: int, stop: int, hop: int) -> Tensor:
    """The samples that frames `start` to `stop` see, 0 beyond the sound: (channels, (stop - start + 1) * hop)."""
    first, last = (start - 1) * hop, stop * hop
    part = planes.part(max(first, 0), last)
    return F.pad(part, (max(-first, 0), last - max(first, 0) - part.shape[1]))


def _level(weights: Weights, device: str, code: int) -> tuple[Tensor, Tensor]:
    """Level weights (1, L), and steps of the quantiser in a unit of each latent (1, K), at a quality."""
    levels = weights.coder.level_weights(code).to(device)
    return levels, weights.model.gain(levels)


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
