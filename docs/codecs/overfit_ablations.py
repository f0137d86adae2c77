"""What the parts of `overfit` are worth: fits of photos without them, at as many steps. The table of `overfit.md`.

    python docs/codecs/overfit_ablations.py PHOTO...

Rates are those of all sections of real streams, and pictures are decoded from these.
"""

import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np

from fewbits.apps.train.overfit import random_parameters
from fewbits.codecs.codec import Target, no_progress
from fewbits.codecs.image.overfit.aims import Aim
from fewbits.codecs.image.overfit.architecture import CONTEXT_NETWORKS, SIZES
from fewbits.codecs.image.overfit.codec import pack
from fewbits.codecs.image.overfit.fit import Fit, Schedule
from fewbits.codecs.image.overfit.fitting import fit_to_aim
from fewbits.codecs.image.overfit.networks import rounded
from fewbits.codecs.image.overfit.objective import Objective
from fewbits.codecs.image.overfit.reconstruction import Reconstruction
from fewbits.codecs.image.overfit.starts import Start, Starts, load_starts
from fewbits.codecs.media import Image
from fewbits.eval.curves import Curve, Point, bd_rate
from fewbits.eval.metrics import psnr
from fewbits.kernels.context import COARSE_INPUTS

QUALITIES = (20.0, 45.0, 70.0)
STEPS = 500


class FitWithoutCoarse(Fit):
    """A fit whose context networks do not see coarser grids."""

    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)  # type: ignore[arg-type]
        for number in range(CONTEXT_NETWORKS):
            self._free[f"context.{number}.first.weight"][:, -COARSE_INPUTS:] = 0


@dataclass(frozen=True)
class Variant:
    """A way to fit.

    Attributes:
        begin: what becomes of the shipped starts.
    """

    name: str
    starts: Starts
    schedule: Schedule
    fit: type[Fit] = Fit


def variants(shipped: Starts) -> list[Variant]:
    """The shipped way first; the others differ from it, or from another one that is named, in one thing."""
    usual, long = Schedule(1, STEPS), Schedule(1, 2 * STEPS)
    at_random, blind = without_start(shipped), without_coarse(without_start(shipped))
    return [Variant(f"medium decoder, {STEPS} steps", shipped, usual),
            Variant("one kind of start a rate", first_kinds(shipped), usual),
            Variant("no start", at_random, usual),
            Variant(f"no start, {2 * STEPS} steps", at_random, long),
            Variant(f"no start, no coarse contexts, {2 * STEPS} steps", blind, long, FitWithoutCoarse),
            Variant("small decoder", shipped, Schedule(0, STEPS)),
            Variant("large decoder", shipped, Schedule(2, STEPS))]


def first_kinds(starts: Starts) -> Starts:
    """Of each rate, only the first start."""
    by_size = tuple(tuple({start.trade: start for start in reversed(kinds)}.values()) for kinds in starts.by_size)
    return replace(starts, by_size=by_size)


def without_start(starts: Starts) -> Starts:
    """Networks at random, as the first fit of the recipe has them, and latents of 0."""
    return replace(starts, by_size=tuple(
        (Start(rounded(dict(random_parameters(size, 0).views)), np.zeros_like(kinds[0].filters), 1.0),)
        for size, kinds in zip(SIZES, starts.by_size, strict=True)))


def without_coarse(starts: Starts) -> Starts:
    """Weights of 0 for what context networks see of coarser grids."""
    def blinded(start: Start) -> Start:
        networks = {name: array.copy() for name, array in start.networks.items()}
        for number in range(CONTEXT_NETWORKS):
            networks[f"context.{number}.first.weight"][:, -COARSE_INPUTS:] = 0
        return replace(start, networks=networks)

    return replace(starts, by_size=tuple(tuple(map(blinded, kinds)) for kinds in starts.by_size))


def point(photo: Image, variant: Variant, quality: float, pool: ThreadPoolExecutor) -> Point:
    """Bits a pixel and PSNR of a photo."""
    rgb, aim = photo.rgb(), Aim(Target(quality=quality), 1)
    fit = variant.fit(rgb, variant.schedule, aim.trade, variant.starts,
                      lambda rgb, size, finest: Objective(rgb, size, finest, pool))
    fitted = fit_to_aim(fit, aim, no_progress)
    stream = pack(fitted, photo, variant.starts)
    samples = Reconstruction(fitted.latents, fitted.networks, photo.height, photo.width).samples()
    bits = 8 * sum(len(section or b"") for section in stream.sections)
    return Point(quality, bits / (photo.height * photo.width), psnr(rgb, samples))


def main(paths: Sequence[str]) -> None:
    photos, usual = [Image.open(path) for path in paths], list[Curve]()
    print("| fit | bits at equal PSNR | seconds a fit |\n|---|---|---|")
    with ThreadPoolExecutor() as pool:
        for variant in variants(load_starts()):
            begun = time.monotonic()
            curves = [Curve(variant.name, "psnr", tuple(point(photo, variant, quality, pool) for quality in QUALITIES))
                      for photo in photos]
            seconds = (time.monotonic() - begun) / len(photos) / len(QUALITIES)
            usual = usual or curves
            rates = [float(bd_rate(anchor, curve).percent) for anchor, curve in zip(usual, curves, strict=True)]
            print(f"| {variant.name} | {np.mean(rates):+.1f} % | {seconds:.0f} |", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
