"""How far a decoded sound is from its source, for training: spectra with their phase, and loudness as it is heard."""

import math
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from fewbits.codecs.audio.codec import USUAL_LEVEL

LOUDNESS_WINDOW = 0.032  # seconds
BANDS = 49
SPEECH_LEVEL = 79.0  # dB of sound pressure that the usual level stands for
_DEAD_ZONE = 0.25  # differences below this share of the loudness are not heard
_GAMMA = 0.23  # loudness grows with this power of the intensity


def spectrum(samples: Tensor, window: int) -> Tensor:
    """(N, S) samples to their complex spectrum (N, window / 2 + 1, frames), orthonormal, half a window a step."""
    return torch.stft(samples, window, window // 2, window=torch.hann_window(window, device=samples.device),
                      return_complex=True) / math.sqrt(window)


@dataclass(frozen=True)
class SpectralDistance:
    """Distance of spectra with their phase, of logarithms of magnitudes and of waveforms.

    The complex spectra have magnitudes to the power of 0.3: where logarithms alone weigh, the phase stays random.
    Logarithms are taken of mel bands and bin by bin: bands alone let noise become a few fixed tones.

    Attributes:
        windows: samples of the spectra.
        phase, bins, bands: weights of complex spectra, and of logarithms bin by bin and of mel bands.
        floor: magnitude that counts as silence.
    """

    windows: tuple[int, ...]
    phase: float
    bins: float
    bands: float
    floor: float

    def __call__(self, source: Tensor, decoded: Tensor, rate: int) -> Tensor:
        """(N, S) each to (N,)."""
        total = 5 * (source - decoded).abs().mean(1)
        for window in self.windows:
            a, b = spectrum(source, window), spectrum(decoded, window)
            powers = [s.real.square() + s.imag.square() for s in (a, b)]
            bins = [torch.log10(p + self.floor**2) / 2 for p in powers]
            bank = mel_bank(window, rate, window * 3 // 32).to(source.device)
            bands = [torch.log10(bank @ (p + self.floor**2 / 100).sqrt() + self.floor / 10) for p in powers]
            total = total + self.phase * (_companded(a) - _companded(b)).abs().mean([1, 2, 3])
            total = total + self.bins * (bins[0] - bins[1]).abs().mean([1, 2])
            total = total + self.bands * (bands[0] - bands[1]).abs().mean([1, 2])
        return total


def _companded(spectrum: Tensor) -> Tensor:
    """Real and imaginary parts with magnitudes to the power of 0.3."""
    power = spectrum.real.square() + spectrum.imag.square() + 1e-8
    return torch.view_as_real(spectrum) * power.pow(-0.35)[..., None]


@cache
def mel_bank(window: int, rate: int, bands: int) -> Tensor:
    """(bands, window / 2 + 1): triangles of height 1 over mel bands from 0 Hz to half the rate."""
    frequencies = torch.linspace(0, rate / 2, window // 2 + 1)
    corners = 700 * (10 ** (torch.linspace(0, 2595 * math.log10(1 + rate / 1400), bands + 2) / 2595) - 1)
    left, centre, right = corners[:-2, None], corners[1:-1, None], corners[2:, None]
    return torch.minimum((frequencies - left) / (centre - left), (right - frequencies) / (right - centre)).clamp(min=0)


def loudness_distance(source: Tensor, decoded: Tensor, rate: int) -> Tensor:
    """Disturbance as ITU-T P.862 (PESQ) defines it, in outline: (N, S) each, at the usual level, to (N,).

    Loudness in Bark bands over 32 ms (Zwicker's law); differences beyond a dead zone count, and those where something
    was added count once more. Without its alignments and thresholds' tables: what remains is differentiable, and as
    many points off a mean opinion score of 4.5, roughly.
    """
    window = 2 ** round(math.log2(LOUDNESS_WINDOW * rate))
    bank, threshold, widths = (t.to(source.device) for t in bark_bank(window, rate))
    powers = [bank @ (s.real.square() + s.imag.square()) * _intensity_of_usual_level() for s in
              (spectrum(x, window) for x in (source, decoded))]
    loud = [(threshold / 0.5) ** _GAMMA * ((0.5 + 0.5 * p / threshold) ** _GAMMA - 1).clamp(min=0) for p in powers]
    difference = loud[1] - loud[0]
    heard = (difference.abs() - _DEAD_ZONE * torch.minimum(*loud)).clamp(min=0)
    added = ((powers[1] + 50) / (powers[0] + 50)) ** 1.2
    added = torch.where(added > 3, added.clamp(max=12), torch.zeros_like(added)).detach()
    symmetric = (heard.square() * widths).sum(1).add(1e-6).sqrt()
    asymmetric = (heard * added * widths).sum(1)
    emphasis = (powers[0].sum(1) / 1e7 + 0.01) ** -0.04
    return 0.1 * _pooled(symmetric * emphasis) + 0.0309 * _pooled(asymmetric * emphasis)


def _pooled(frames: Tensor) -> Tensor:
    """Mean of fourth powers over time: bad moments count more. (N, frames) to (N,)."""
    return frames.clamp(max=45).pow(4).mean(1).add(1e-8).pow(0.25)


def _intensity_of_usual_level() -> float:
    """What multiplies powers of an orthonormal spectrum of samples at the codecs' usual level, so that 0 dB is 1."""
    return 10 ** (SPEECH_LEVEL / 10) / (USUAL_LEVEL**2 * 2**8)


def intelligibility_distance(source: Tensor, decoded: Tensor, rate: int) -> Tensor:
    """One minus the short-time objective intelligibility (C. Taal et al., 2011), in outline: (N, S) each to (N,).

    Correlation of the envelopes of third octaves over 0.4 s; decoded envelopes are scaled to the source's and count up
    to 15 dB above it. Parts that are 40 dB below the loudest do not count.
    """
    window = 2 ** round(math.log2(0.0256 * rate))
    bank = third_octaves(window, rate).to(source.device)
    length = round(0.384 * rate / (window // 2))
    powers = [bank @ (s.real.square() + s.imag.square()) for s in (spectrum(x, window) for x in (source, decoded))]
    a, b = ((p + 1e-8).sqrt().unfold(2, length, length // 4) for p in powers)  # (N, bands, parts, length)
    b = torch.minimum(b * (a.norm(dim=3, keepdim=True) / b.norm(dim=3, keepdim=True)), a * (1 + 10**0.75))
    a, b = (x - x.mean(3, keepdim=True) for x in (a, b))
    correlation = (a * b).sum(3) / (a.norm(dim=3) * b.norm(dim=3) + 1e-6)
    loud = powers[0].sum(1).unfold(1, length, length // 4).mean(2)
    counts = (loud > 1e-4 * loud.amax(1, keepdim=True)).float()
    return 1 - (correlation.mean(1) * counts).sum(1) / counts.sum(1).clamp(min=1)


@cache
def third_octaves(window: int, rate: int) -> Tensor:
    """(15, window / 2 + 1): which bins are in each third of an octave, the centre of the lowest at 150 Hz."""
    frequencies = torch.linspace(0, rate / 2, window // 2 + 1)
    centres = 150 * 2 ** (torch.arange(15)[:, None] / 3)
    return ((frequencies >= centres * 2 ** (-1 / 6)) & (frequencies < centres * 2 ** (1 / 6))).float()


@cache
def bark_bank(window: int, rate: int) -> tuple[Tensor, Tensor, Tensor]:
    """Which bins are in each Bark band (B, window / 2 + 1), the quietest that is heard in each and its width (B, 1).

    The threshold is E. Terhardt's (1979), the width in Bark.
    """
    frequencies = torch.linspace(0, rate / 2, window // 2 + 1)
    bark = 6 * torch.asinh(frequencies / 600)
    place = (bark / bark[-1] * BANDS).long().clamp(max=BANDS - 1)
    bank = torch.nn.functional.one_hot(place, BANDS).t().float()
    bank = bank[bank.sum(1) > 0]  # the lowest bands are narrower than a bin
    kilohertz = (bank @ frequencies / bank.sum(1)).clamp(min=20) / 1000
    decibels = 3.64 * kilohertz**-0.8 - 6.5 * torch.exp(-0.6 * (kilohertz - 3.3) ** 2) + 1e-3 * kilohertz**4
    return bank, 10 ** (decibels.clamp(max=60) / 10)[:, None], torch.full((len(bank), 1), float(bark[-1]) / len(bank))
