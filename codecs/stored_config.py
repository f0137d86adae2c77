"""Configurations that travel with weights."""

from dataclasses import asdict
from typing import Any, Self


class StoredConfig:
    """Of a frozen dataclass whose fields are numbers or bools: to and from the string map that safetensors stores."""

    def to_metadata(self) -> dict[str, str]:
        """The configuration as the string map that safetensors stores beside weights."""
        this: Any = self
        return {name: repr(value) for name, value in asdict(this).items()}

    @classmethod
    def from_metadata(cls, metadata: dict[str, str]) -> Self:
        """Inverse of `to_metadata`; ignores entries that are no field. Raises `ValueError` for what is no number."""
        fields: dict[str, Any] = getattr(cls, "__dataclass_fields__")  # noqa: B009 known to dataclasses only
        return cls(**{name: _TYPES[fields[name].type](value) for name, value in metadata.items() if name in fields})


def _bool(value: str) -> bool:
    return {"True": True, "False": False}[value]


_TYPES = {int: int, float: float, bool: _bool}
