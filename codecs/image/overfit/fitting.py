"""From a picture and a target to a finished fit: how long, when to round, what to do where an aim is missed."""

import math
import os
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np

from fewbits.codecs.codec import Progress, Target
from fewbits.codecs.image.overfit.aims import Aim
from fewbits.codecs.image.overfit.fit import Fit, Objectives, Schedule
from fewbits.codecs.image.overfit.fitted import Fitted
from fewbits.codecs.image.overfit.latent_coder import LatentCoder
from fewbits.codecs.image.overfit.networks import difference_bits
from fewbits.codecs.image.overfit.objective import Objective
from fewbits.codecs.image.overfit.parameters import Parameters
from fewbits.codecs.image.overfit.reconstruction import Reconstruction
from fewbits.codecs.image.overfit.rounding import Rounding, leave_unchanged_what_pays_not
from fewbits.codecs.image.overfit.starts import Starts
from fewbits.errors import InputError

ROUNDING_BEGINS = 0.8  # share of the steps after which networks are used rounded, as a file has them
FINEST_CHECKS = (0.15, 0.5)  # shares of the steps after which the finest grid may be dropped
AIM_LOOKS = tuple(0.1 + 0.05 * i for i in range(13))  # shares of the steps after which the trade is steered to an aim
RETURN = 0.35  # share of the steps from where a fit that missed its aim goes on; later, latents hardly move any more
MAX_RETURNS = 4
MAX_PIXELS = 50_000_000
DEAR_NETWORKS = 0.3  # share of the bits from which on it is tried to do with nearly none for networks
BIAS_RATE = 0.015  # learning rate of biases where nothing else of the networks is fitted

LONG_NOISE = (0.25, 0.2)  # in long fits, less of it lets the latents of fine texture die, one after the other

SCHEDULES = {1: Schedule(0, 120), 2: Schedule(1, 480)} | {
    effort: Schedule(size, steps, noise=LONG_NOISE) for effort, size, steps in (
        (3, 1, 1600), (4, 1, 3200), (5, 1, 4800), (6, 2, 10_000), (7, 2, 18_000), (8, 2, 32_000), (9, 2, 64_000))}
"""By effort. With two cores and 768x512: about 4 s, 20 s, 1 min, 2 min, 4 min, 9 min, 16 min, 30 min, an hour."""

COARSE_SCHEDULES = SCHEDULES | {2: Schedule(0, 620)}
"""For trades beyond `COARSE_TRADE`: where there are few bits, a smaller decoder with more steps is better."""

COARSE_TRADE = 0.008


def fit(rgb: np.ndarray, target: Target, starts: Starts, progress: Progress, device: str = "cpu") -> Fitted:
    """Fits a decoder to a picture.

    Args:
        rgb: (H, W, 3) uint8.
        target: an aim of rate is for all sections of the file together.
        device: of torch where it is not "cpu"; the compiled kernels work on the CPU.

    Raises:
        InputError: if the picture is too large.
        KeyboardInterrupt: when interrupted, unless the target asks for the best so far.
    """
    if rgb.shape[0] * rgb.shape[1] > MAX_PIXELS:
        raise InputError(f"overfit takes pictures of up to {MAX_PIXELS // 10**6} megapixels, for a fit needs 200 bytes "
                         f"a pixel; this one has {rgb.shape[1]} x {rgb.shape[0]}: reduce it, or use another codec.")
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        aim = Aim(target, rgb.shape[0] * rgb.shape[1])
        schedule = (COARSE_SCHEDULES if aim.trade > COARSE_TRADE else SCHEDULES)[target.effort]
        objectives = _objectives(target, device, pool)
        work, fitted = Fit(rgb, schedule, aim.trade, starts, objectives), None
        try:
            fitted = fit_to_aim(work, aim, progress)
            bits, psnr = _measured(work, fitted)
            if _networks_bits(work, fitted) < DEAR_NETWORKS * bits:
                return fitted
            found = [(_worth(work, bits, psnr), fitted)]
            del work.objective  # two of them would take twice the memory
            schedule = replace(schedule, network_rate=BIAS_RATE)
            modest = Fit(rgb, schedule, aim.trade, starts, objectives, only_biases=True)
            # To begin with the mean colour may be all that a picture needs; a fit leads away from it.
            candidates = [_finish(modest)] if aim.is_fixed else []
            candidates.append(fit_to_aim(modest, aim, progress))
            found += [(_worth(modest, *_measured(modest, candidate)), candidate) for candidate in candidates]
            return min(found, key=lambda pair: pair[0])[1]
        except KeyboardInterrupt:
            if not target.keep_best:
                raise
            progress(1.0, "interrupted: finishing with what is fitted so far")
            return fitted or _finish(work)


def _objectives(target: Target, device: str, pool: ThreadPoolExecutor) -> Objectives:
    """What makes objectives for a target, on a device."""
    perceptual = target.tune == "msssim"
    if device == "cpu":
        return lambda rgb, size, finest: Objective(rgb, size, finest, pool, perceptual)
    from fewbits.codecs.image.overfit.torch_objective import TorchObjective

    return lambda rgb, size, finest: TorchObjective(rgb, size, finest, device, perceptual)


def fit_to_aim(work: Fit, aim: Aim, progress: Progress) -> Fitted:
    """A whole fit, and returns to its last part while it misses the aim."""
    results = []
    for _ in range(1 + MAX_RETURNS):
        _run(work, aim, progress)
        fitted = _finish(work)
        if aim.is_fixed:
            return fitted
        bits, psnr = _measured(work, fitted)
        if aim.is_met(bits, psnr):
            return fitted
        results.append((aim.miss(bits, psnr), fitted))
        aim.learn(bits, psnr)
        work.steps_done = min(int(RETURN * work.schedule.steps), work.schedule.steps - 1)
    return replace(min(results, key=lambda result: result[0])[1], notices=(aim.regret,))


def _run(work: Fit, aim: Aim, progress: Progress) -> None:
    """The steps that are left, with the trade steered towards the aim."""
    steps, first, begun = work.schedule.steps, work.steps_done, time.monotonic()
    checks = {max(int(share * steps), 1) for share in FINEST_CHECKS}
    looks = set() if aim.is_fixed else {max(round(share * steps), 1) for share in AIM_LOOKS}
    while work.steps_done < steps:
        cost = work.step()
        done = work.steps_done
        if done in checks:
            work.drop_finest_if_it_pays()
        if done >= ROUNDING_BEGINS * steps and work.rounding is None:
            work.rounding = _rounding(work)
        if done in looks:
            now = work.rounded_cost()
            work.trade = aim.steered(work.trade, now.bits, work.psnr(now))
        left = (time.monotonic() - begun) * (steps - done) / (done - first)
        progress(done / steps, f"fitting: {cost.bits / work.pixels:.3f} bpp, {work.psnr(cost):.2f} dB, "
                               f"{left:.0f} s left")


def _finish(work: Fit) -> Fitted:
    """The integers of the fit."""
    rounding = work.rounding or _rounding(work)
    networks = rounding.networks(work.parameters)
    work.parameters.flat[:] = Parameters.from_networks(work.size, networks).flat
    networks = leave_unchanged_what_pays_not(work.parameters, networks, work.start_networks, rounding.shifts,
                                             work.starts.tables, work.rounded_share)
    return Fitted(work.schedule.size, work.start, work.objective.finest, networks, rounding.shifts, work.integers())


def _rounding(work: Fit) -> Rounding:
    return Rounding(work.parameters, work.start_networks, work.rounded_share)


def _networks_bits(work: Fit, fitted: Fitted) -> float:
    return difference_bits(fitted.networks, work.start_networks, work.size, work.starts.tables, fitted.shifts)


def _worth(work: Fit, bits: float, psnr: float) -> float:
    """Bits and the worth of the error in bits; less is better."""
    return bits + work.pixels * 10 ** (-psnr / 10) / work.trade


def _measured(work: Fit, fitted: Fitted) -> tuple[float, float]:
    """Bits of the sections, and the PSNR of the decoded picture."""
    height, width = work.rgb.shape[:2]
    bits = _networks_bits(work, fitted)
    coder = LatentCoder(work.size, fitted.networks, work.starts.tables)
    bits += sum(coder.estimate_bits(tile) for tile in coder.symbols(fitted.latents, height, width))
    samples = Reconstruction(fitted.latents, fitted.networks, height, width).samples()
    error = float(np.square(samples.astype(np.float32) - work.rgb).mean(dtype=np.float64))
    return bits, 10 * math.log10(255**2 / max(error, 1e-10))
