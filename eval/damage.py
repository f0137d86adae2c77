"""Damage done to files on purpose, to see what survives it."""

from typing import Any

import numpy as np

from fewbits.codecs import files
from fewbits.errors import InputError

WAYS = {"flip": "other bytes", "erase": "lost sections", "cut": "the end cut off"}
"""What can be done to a file, and what comes of it in words."""


def damaged(data: bytes, way: str, share: float, seed: int = 0) -> bytes:
    """A `.fwb` file of which a share of what follows its header is damaged; the header stays as it is.

    Args:
        way: "flip" changes single bytes anywhere, "erase" makes whole sections zero, "cut" leaves out the end.
        share: 0 to 1, of the bytes or of the sections; at least one of them for any share above 0.
        seed: of the choice of bytes and sections.

    Raises:
        InputError: for another way or share.
        StreamError: if the file is damaged as it is.
    """
    if way not in WAYS or not 0 <= share <= 1:
        raise InputError(f"A file can be damaged by {', '.join(WAYS)}, with a share from 0 to 1, not {way} {share:g}.")
    facts: dict[str, Any] = files.info(data)
    bytes_of, generator = np.frombuffer(data, np.uint8).copy(), np.random.default_rng(seed)
    start = facts["header_bytes"]
    if way == "cut":
        return data[: len(data) - _count(share, len(data) - start)]
    if way == "flip":
        places = start + generator.permutation(len(data) - start)[: _count(share, len(data) - start)]
        bytes_of[places] ^= generator.integers(1, 256, places.size, np.uint8)
        return bytes_of.tobytes()
    sections = [slice(p["offset"], p["offset"] + p["length"]) for p in facts["sections"] if p["length"]]
    for number in generator.permutation(len(sections))[: _count(share, len(sections))]:
        bytes_of[sections[number]] = 0
    return bytes_of.tobytes()


def _count(share: float, of: int) -> int:
    return min(max(round(share * of), int(share > 0)), of)
