"""Checkpoints of CompressAI as weights of the codec `compressai`.

A checkpoint is a state dict, alone or under "state_dict" as training scripts save it; its architecture follows from the
names and shapes of its tensors. What decides probabilities is turned into integers here, once, so that files decode
everywhere: densities become tables, the hyper-decoder an integer network. The other networks keep their floats.
"""

import pickle
import re
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from fewbits.codecs.image.compressai.config import (
    FACTORIZED,
    MEAN_SCALE_HYPERPRIOR,
    NAMES,
    SCALE_HYPERPRIOR,
    CompressaiConfig,
)
from fewbits.codecs.image.compressai.density import FactorisedDensity
from fewbits.codecs.image.compressai.hyper_decoder import LIMIT, UNIT, ExactHyperDecoder
from fewbits.codecs.image.compressai.latent_coder import FactorisedLatents, HyperpriorLatents
from fewbits.codecs.image.compressai.transforms import Transforms, hyper_synthesis
from fewbits.codecs.image.compressai.weights import Weights
from fewbits.entropy.tables import MAX_REACH, gaussian_scale_tables
from fewbits.errors import InputError

PARTS = ("g_a", "g_s", "h_a", "h_s", "entropy_bottleneck", "gaussian_conditional")
SCALES = np.geomspace(0.11, 256, 64)  # as in CompressAI, of which the first is its lower bound too
PEDESTAL = 2.0**-36  # of CompressAI's parametrisation of numbers that are not negative
BETA_MIN = 1e-6
DENSITY_LAYERS = 5

State = dict[str, Tensor]


def import_weights(checkpoint: Path) -> Weights:
    """The weights in a checkpoint of CompressAI. Nothing but tensors is read of it: code in the file does not run.

    Raises:
        InputError: if the file cannot be read, holds more than tensors, or is of an architecture that cannot be had.
    """
    state = _renamed(_loaded(checkpoint))
    try:
        config = _config_of(state)
        return Weights(config, _transforms(state, config), _coder(state, config))
    except (KeyError, ValueError, RuntimeError, IndexError) as error:
        raise InputError(f"{checkpoint} cannot be used as a model of CompressAI: "
                         f"{'it lacks ' if isinstance(error, KeyError) else ''}{error}.") from None


def _loaded(checkpoint: Path) -> State:
    """The tensors of a checkpoint by name."""
    try:
        loaded = torch.load(checkpoint, map_location="cpu", weights_only=True)
    except OSError as error:
        raise InputError(f"{checkpoint} cannot be read: {error.strerror}.") from None
    except pickle.UnpicklingError:
        raise InputError(f"{checkpoint} is no checkpoint, or holds more than tensors, perhaps code, which is not run: "
                         "save the state dict alone, with torch.save(model.state_dict(), FILE).") from None
    except (RuntimeError, EOFError, ValueError, KeyError, IndexError, AttributeError, TypeError) as error:
        raise InputError(f"{checkpoint} is no checkpoint that PyTorch can read: {type(error).__name__}.") from None
    state = loaded.get("state_dict", loaded) if isinstance(loaded, dict) else None
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise InputError(f"{checkpoint} holds no state dict, neither alone nor under \"state_dict\".")
    return {str(name): value for name, value in state.items()}


def _renamed(state: State) -> State:
    """With the names that CompressAI gives today: those of parallel training and of its first releases differ."""
    state = {name.removeprefix("module."): value for name, value in state.items()}
    for old, new in (("matri", "matrices"), ("bias", "biases"), ("factor", "factors")):
        pattern = re.compile(rf"^entropy_bottleneck\._?{old}[a-z]*\.?(\d)$")
        state = {pattern.sub(rf"entropy_bottleneck.{new}.\1", name): value for name, value in state.items()}
    return state


def _config_of(state: State) -> CompressaiConfig:
    """Architecture and sizes. Raises `ValueError` or `KeyError` for those that cannot be had."""
    if any(name.startswith(("context_prediction.", "entropy_parameters.")) for name in state):
        raise ValueError("its context model (of mbt2018 or cheng2020) foretells each latent from those before it, one "
                         "position after the other, by float networks, whose last bits differ from machine to machine: "
                         "there would be no file that decodes everywhere. Take bmshj2018-factorized, "
                         "bmshj2018-hyperprior or mbt2018-mean")
    others = {name.split(".")[0] for name in state} - set(PARTS)
    if others or "g_a.1.beta" not in state or "entropy_bottleneck.quantiles" not in state:
        raise ValueError(f"it is none of {', '.join(NAMES)}")
    channels, latents = len(state["g_a.0.weight"]), len(state["g_a.6.weight"])
    if not any(name.startswith("h_s.") for name in state):
        return CompressaiConfig(FACTORIZED, channels, latents)
    has_means = len(state["h_s.4.weight"]) == 2 * latents
    return CompressaiConfig(MEAN_SCALE_HYPERPRIOR if has_means else SCALE_HYPERPRIOR, channels, latents)


def _transforms(state: State, config: CompressaiConfig) -> Transforms:
    transforms = Transforms(config)
    _load(transforms, {name: _plain(name, value) for name, value in _of_networks(state, ("g_a", "g_s", "h_a")).items()})
    return transforms


def _plain(name: str, value: Tensor) -> Tensor:
    """A parameter, that of a GDN as the number that its formula means: CompressAI trains roots of shifted ones."""
    kind = name.rpartition(".")[2]
    if kind not in ("beta", "gamma"):
        return value
    minimum = BETA_MIN if kind == "beta" else 0.0
    return value.clamp(min=(minimum + PEDESTAL) ** 0.5).square() - PEDESTAL


def _coder(state: State, config: CompressaiConfig) -> FactorisedLatents | HyperpriorLatents:
    density = _density(state, config.channels if config.has_hyperprior else config.latents)
    tables = density.tables()
    if not config.has_hyperprior:
        return FactorisedLatents(tables, density.medians)
    network = hyper_synthesis(config)
    _load(network, {name.removeprefix("h_s."): value for name, value in _of_networks(state, ("h_s",)).items()})
    medians = torch.round(density.medians.double() * UNIT).long()
    if int(medians.abs().max()) + MAX_REACH * UNIT > LIMIT:
        raise ValueError("its hyper-latents have medians far from 0")
    lows, highs = (torch.from_numpy(limit).long() * UNIT + medians for limit in (tables.lows, tables.highs))
    thresholds = torch.from_numpy(np.round(UNIT * np.sqrt(SCALES[:-1] * SCALES[1:])).astype(np.int64))
    return HyperpriorLatents(config, tables, medians, ExactHyperDecoder.from_trained(network, config, lows, highs),
                             gaussian_scale_tables(SCALES), thresholds)


def _density(state: State, channels: int) -> FactorisedDensity:
    def layers(name: str, count: int) -> list[Tensor]:
        return [_finite(state[f"entropy_bottleneck.{name}.{i}"]) for i in range(count)]

    quantiles = _finite(state["entropy_bottleneck.quantiles"])
    if quantiles.shape != (channels, 1, 3):
        raise ValueError(f"its entropy bottleneck is not for {channels} channels")
    return FactorisedDensity(layers("matrices", DENSITY_LAYERS), layers("biases", DENSITY_LAYERS),
                             layers("factors", DENSITY_LAYERS - 1), quantiles[:, 0, 1].clone())


def _of_networks(state: State, networks: tuple[str, ...]) -> State:
    """The weights of some networks, without what CompressAI keeps beside those of GDN for training."""
    return {name: value for name, value in state.items()
            if name.split(".")[0] in networks and "_reparam." not in name}


def _load(network: nn.Module, state: State) -> None:
    """Raises `ValueError` if the tensors are another network's, or are no numbers."""
    missing, unexpected = network.load_state_dict({name: _finite(value) for name, value in state.items()}, strict=False)
    if missing or unexpected:
        raise ValueError(f"its layers are not those of {', '.join(NAMES)} (see {[*missing, *unexpected][0]})")


def _finite(value: Tensor) -> Tensor:
    if not torch.isfinite(value).all():
        raise ValueError("it holds weights that are no numbers")
    return value.float()
