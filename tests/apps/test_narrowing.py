"""A smaller model out of a larger one."""

from dataclasses import replace

import torch

from fewbits.apps.train.narrowing import narrow
from fewbits.codecs.image.hyperprior.config import HyperpriorConfig
from fewbits.codecs.image.hyperprior.model import HyperpriorModel

WIDE = HyperpriorConfig(transform_hidden=12, analysis_blocks=3, synthesis_blocks=2, hyper_channels=8, hyper_latents=4,
                        hyper_hidden=8, low_hidden=16, low_multiplier=1, high_hidden=16, high_multiplier=1)


def random_model(config: HyperpriorConfig) -> HyperpriorModel:
    model = HyperpriorModel(config)
    for name, parameter in model.named_parameters():
        if name.endswith(("operation.weight", "project.weight")):
            torch.nn.init.normal_(parameter, std=parameter[0].numel() ** -0.5)
    return model


def test_first_blocks_and_common_passes_are_kept():
    """What needs no narrowing stays as it is, whatever else the larger model has."""
    torch.manual_seed(0)
    wide = random_model(WIDE)
    model = HyperpriorModel(replace(WIDE, analysis_blocks=1, synthesis_blocks=1, low_by_bands=False))
    narrow(wide, model, torch.rand(4, 3, 64, 64), torch.linspace(0, 100, 4))
    weights = level_of_half(wide)
    x = torch.randn(1, 192, 8, 8)
    pairs = [(wide.analysis.blocks[0], model.analysis.blocks[0]), (wide.synthesis.blocks[0], model.synthesis.blocks[0])]
    with torch.no_grad():
        for old, new in pairs:
            assert torch.allclose(old(x, weights), new(x, weights), atol=1e-5)
        features = torch.rand(1, 8, 8, 8)
        for old, new in zip(wide.entropy_model.passes[-2:], model.entropy_model.passes[-2:], strict=True):
            assert old.step == new.step
            mean, scale = old(x, features, weights)
            again = new(x, features, weights)
            assert mean.std() > 0.1
            assert torch.allclose(mean, again[0], atol=1e-5)
            assert torch.allclose(scale, again[1], atol=1e-5)


def test_units_that_matter_stay():
    """Half of the hidden units carry nothing: without them the model is the same."""
    torch.manual_seed(1)
    wide = random_model(WIDE)
    with torch.no_grad():
        for block in (*wide.analysis.blocks, *wide.synthesis.blocks):
            block.project.weight[:, ::2] = 0
    model = HyperpriorModel(replace(WIDE, transform_hidden=6))
    narrow(wide, model, torch.rand(4, 3, 64, 64), torch.linspace(0, 100, 4))
    x, weights = torch.randn(1, 192, 8, 8), level_of_half(wide)
    with torch.no_grad():
        for old, new in zip(wide.synthesis.blocks, model.synthesis.blocks, strict=True):
            assert torch.allclose(old(x, weights), new(x, weights), atol=0.05)


def level_of_half(model: HyperpriorModel) -> torch.Tensor:
    weights = torch.zeros(1, model.config.levels)
    weights[0, 3] = 1
    return weights
