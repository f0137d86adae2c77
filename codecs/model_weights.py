"""Weights files of codecs that have float transforms beside integer networks and tables."""

from torch import Tensor, from_numpy, nn

from fewbits.entropy.tables import SymbolTables


def stored(model: nn.Module, parts: tuple[str, ...], networks: dict[str, Tensor],
           tables: dict[str, SymbolTables]) -> dict[str, Tensor]:
    """The tensors of a weights file.

    Args:
        parts: how the names of the model's tensors begin that are stored, with half precision.
        networks: integer networks, as named tensors.
        tables: by the prefix of their names.
    """
    tensors = {name: value.half().contiguous() for name, value in model.state_dict().items() if name.startswith(parts)}
    tensors |= {name: value.contiguous() for name, value in networks.items()}
    for prefix, part in tables.items():
        tensors |= arrays_of(prefix, part)
    return tensors


def arrays_of(prefix: str, tables: SymbolTables) -> dict[str, Tensor]:
    """Tables as named tensors."""
    return {prefix + name: from_numpy(array) for name, array in tables.to_arrays().items()}


def load_floats(model: nn.Module, parts: tuple[str, ...], tensors: dict[str, Tensor]) -> None:
    """Gives a model the floats that `stored` took from one. Raises `ValueError` if they are another model's."""
    floats = {name: value.float() for name, value in tensors.items() if name.startswith(parts)}
    missing, unexpected = model.load_state_dict(floats, strict=False)
    if unexpected or any(name.startswith(parts) for name in missing):
        raise ValueError("it holds another model")


def tables_of(prefix: str, tensors: dict[str, Tensor]) -> SymbolTables:
    """Tables from what `arrays_of` made of them. Raises `KeyError` or `ValueError` for anything else."""
    return SymbolTables.from_arrays({name.removeprefix(prefix): value.numpy() for name, value in tensors.items()
                                     if name.startswith(prefix)})
