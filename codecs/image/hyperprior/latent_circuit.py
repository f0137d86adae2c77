"""A circuit as prior over the latents: what the symbols of one position say about each other, beside their tables.

Integer networks give each symbol a table. A hidden Chow-Liu tree over the channels of a position knows dependencies
that are left (A. Liu, S. Mandt, G. Van den Broeck, "Lossless Compression with Probabilistic Circuits", ICLR 2022, put
circuits into a flow in this place). It sees each symbol as an interval of the cumulative frequencies of its table, so
that one circuit serves all rates; `kernels.interval_circuit` has the arithmetic. Latents, and so the decoded picture,
are the same as without it.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from fewbits.codecs.circuit.tree import Tree
from fewbits.codecs.image.hyperprior.config import HyperpriorConfig
from fewbits.codecs.image.hyperprior.passes import HYPER_PASSES, Pass, passes_of
from fewbits.entropy.coder import symbols_of
from fewbits.entropy.tables import SymbolTables
from fewbits.entropy.words import join, split
from fewbits.errors import DamagedError, WeightsError
from fewbits.kernels import adaptive_rans, interval_circuit
from fewbits.kernels.interval_circuit import LARGEST_DENSITY, NOTHING, IntervalCircuit, IntervalTables, Variables
from fewbits.kernels.parameter_codes import codes_of
from fewbits.kernels.rans import RansTables

LATENTS = HyperpriorConfig.LATENTS


@dataclass(frozen=True, eq=False)
class LatentCircuit:
    """A circuit over channels of one position of the latents, with integers for parameters; nodes are in pre-order.

    Attributes:
        channels: (D,) int64, the channel of each node, none twice.
        depths: (D,) int64, as in `Tree`.
        edges: (K + 1,) int64, from 0 to 2**24: cells in which densities of leaves are constant.
        root: (M,) uint8, codes (`kernels.parameter_codes`).
        transitions: (D, M, M) uint8, codes, from states of the parent (rows) to states of the node.
        leaves: (D, M, K) uint8, codes of densities.
        belongs_to: identity of the weights of `hyperprior` that it was trained for.

    Raises:
        ValueError: if they are not a circuit.
    """

    channels: np.ndarray
    depths: np.ndarray
    edges: np.ndarray
    root: np.ndarray
    transitions: np.ndarray
    leaves: np.ndarray
    belongs_to: bytes

    def __post_init__(self) -> None:
        if any(array.dtype != np.int64 or array.ndim != 1 for array in (self.channels, self.depths, self.edges)):
            raise ValueError("channels, depths and edges must be rows of int64")
        if any(array.dtype != np.uint8 for array in (self.root, self.transitions, self.leaves)):
            raise ValueError("parameters must be uint8")
        if (self.channels < 0).any() or (self.channels >= LATENTS).any():
            raise ValueError(f"channels go from 0 to {LATENTS - 1}")
        self.compiled  # noqa: B018 checks all else

    @classmethod
    def from_probabilities(cls, tree: Tree, channels: np.ndarray, edges: np.ndarray, root: np.ndarray,
                           transitions: np.ndarray, leaves: np.ndarray, belongs_to: bytes) -> "LatentCircuit":
        """From float parameters in rows that need not sum to 1, nodes as in the tree.

        Args:
            channels: (D,) int64, the channel of each variable, a "pixel" of the tree.
            leaves: (D, M, K), of each cell.
        """
        return cls(channels[tree.pixels], tree.depths, edges, codes_of(root), codes_of(transitions),
                   codes_of(leaves / np.diff(edges), LARGEST_DENSITY), belongs_to)

    @cached_property
    def compiled(self) -> IntervalCircuit:
        """In the form of the coder."""
        tree = Tree(np.argsort(np.argsort(self.channels)), self.depths)
        if np.unique(self.channels).size < self.channels.size:
            raise ValueError("a circuit has a channel twice")
        return IntervalCircuit.from_codes(tree.parents(), self.edges, self.root, self.transitions, self.leaves)

    def save(self, path: Path, notes: dict[str, str]) -> None:
        """Writes a weights file; `notes` go into its metadata."""
        names = ("channels", "depths", "edges", "root", "transitions", "leaves")
        save_file({name: getattr(self, name) for name in names}, path,
                  metadata={"hyperprior": self.belongs_to.hex()} | notes)

    @classmethod
    def load(cls, path: Path) -> "LatentCircuit":
        """Reads a weights file. Raises `WeightsError` if it is missing or is not one."""
        try:
            with safe_open(path, "numpy") as file:
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
                belongs_to = bytes.fromhex((file.metadata() or {})["hyperprior"])
            return cls(**tensors, belongs_to=belongs_to)
        except (OSError, SafetensorError, KeyError, ValueError, TypeError, IndexError) as error:
            raise WeightsError(f"{path} cannot be used as circuit of `hyperprior`: {error}.") from None


@dataclass(frozen=True, eq=False)
class Part:
    """The circuit's variables among the channels of a band.

    Attributes:
        columns: (V,) int64, which of the band's channels they are.
        alone: (C,) bool, which are none.
        coded, known: (V,) and (U,) int64, their nodes, and those of lower bands.
    """

    columns: np.ndarray
    alone: np.ndarray
    coded: np.ndarray
    known: np.ndarray
    variables: Variables

    @classmethod
    def of(cls, channels: np.ndarray, first: int, beyond: int) -> "Part":
        """Of a band's channels; `channels` are those of the nodes."""
        coded, known = (first <= channels) & (channels < beyond), channels < first
        columns, alone = channels[coded] - first, np.ones(beyond - first, bool)
        alone[columns] = False
        return cls(columns, alone, np.flatnonzero(coded), np.flatnonzero(known),
                   Variables(_numbered(coded), _numbered(known)))


def _numbered(chosen: np.ndarray) -> np.ndarray:
    """0, 1, ... for the chosen nodes, `NOTHING` for the others."""
    return np.where(chosen, np.cumsum(chosen) - 1, NOTHING)


class CircuitPrior:
    """A circuit over symbols with given tables: what encoders and decoders share.

    Args:
        circuit: the circuit.
        config: of the model whose latents they are.
        tables: those of the latents.
    """

    def __init__(self, circuit: LatentCircuit, config: HyperpriorConfig, tables: SymbolTables) -> None:
        self.circuit, self.tables = circuit.compiled, tables
        self.steps = (*HYPER_PASSES, *passes_of(config))
        self.ends = IntervalTables.from_frequencies(tables.frequencies, tables.offsets, circuit.edges)
        bands = {(step.channels.start, step.channels.stop) for step in self.steps if not step.hyper}
        self.parts = {band: Part.of(circuit.channels, *band) for band in bands}
        self._coder_tables: dict[SymbolTables, RansTables] = {}

    def coder_tables(self, tables: SymbolTables) -> RansTables:
        """Tables in the form of the coder, for symbols that are no variables."""
        if tables not in self._coder_tables:
            self._coder_tables[tables] = RansTables.from_frequencies(tables.frequencies, tables.offsets)
        return self._coder_tables[tables]


@dataclass(frozen=True, eq=False)
class _Pass:
    """The circuit's variables in a pass over N positions.

    Attributes:
        step: the pass.
        part: which they are.
        tables: (N, V) int32.
        known: (N, U) int32, see `interval_circuit.intervals`.
    """

    step: Pass
    part: Part
    tables: np.ndarray
    known: np.ndarray

    @property
    def alone(self) -> np.ndarray:
        """Which symbols of the pass are no variables: (n,) bool."""
        return np.tile(self.part.alone, len(self.tables))


class CircuitPasses:
    """What is known of a tile's variables while its passes go on, over all of its sections.

    Args:
        height, width: of the tile, in latents.
    """

    def __init__(self, prior: CircuitPrior, height: int, width: int) -> None:
        self._prior, self._steps = prior, iter(prior.steps)
        self._entries = np.zeros((height, width, len(prior.circuit.parents)), np.int32)  # in `CircuitPrior.ends`

    def next(self, index: np.ndarray) -> _Pass | None:
        """The next pass; None if it is over hyper-latents, which are no variables.

        Args:
            index: (n,), the table of each of its symbols.
        """
        step = next(self._steps)
        if step.hyper:
            return None
        part = self._prior.parts[step.channels.start, step.channels.stop]
        tables = index.reshape(-1, part.alone.size)[:, part.columns]
        entries = [self._entries[place].reshape(-1, self._entries.shape[-1]) for place in step.places()]
        known = np.concatenate(entries)[:, part.known]
        return _Pass(step, part, np.ascontiguousarray(tables, np.int32), np.ascontiguousarray(known))

    def done(self, own: _Pass, entries: np.ndarray) -> None:
        """Keeps the entries (N, V) of a pass's variables for the passes after it."""
        ends, begin = self._prior.ends.first[own.tables] + entries, 0
        for rows, columns in own.step.places():
            phase = self._entries[rows, columns]
            height, width, _ = phase.shape
            phase[..., own.part.coded] = ends[begin : begin + height * width].reshape(height, width, ends.shape[1])
            begin += height * width


class CircuitEncoder:
    """As `entropy.coder.Encoder`, for groups of one tile. Those with the latents' tables are its passes.

    Args:
        passes: shared by the encoders of a tile's sections, which are made use of in their order.

    Attributes:
        bits: ideal code length of what was added.
    """

    def __init__(self, prior: CircuitPrior, passes: CircuitPasses) -> None:
        self._prior, self._passes = prior, passes
        self._intervals: list[np.ndarray] = []
        self._escapes: list[bytes] = []
        self.bits = 0.0

    def add(self, symbols: np.ndarray, tables: SymbolTables, index: np.ndarray) -> None:
        """Adds a group: symbols (n,) int32 and the table of each, (n,) uint16."""
        prior = self._prior
        entries, escapes = tables.entries(symbols, index)
        self._escapes.append(escapes)
        self.bits += 8 * len(escapes)
        if tables is prior.tables and (step := self._passes.next(index)):
            of_variables = entries.reshape(-1, step.part.alone.size)[:, step.part.columns]
            self._add(interval_circuit.intervals(of_variables, step.tables, step.known, step.part.variables,
                                                 prior.circuit, prior.ends))
            self._passes.done(step, of_variables)
            entries, index = entries[step.alone], index[step.alone]
        self._add(adaptive_rans.intervals_by_tables(entries, index, prior.coder_tables(tables)))

    def _add(self, intervals: np.ndarray) -> None:
        self._intervals.append(intervals)
        self.bits += adaptive_rans.bits_of(intervals)

    def finish(self) -> bytes:
        """The section."""
        return join(b"".join(self._escapes), adaptive_rans.encode_intervals(np.concatenate(self._intervals)))


class CircuitDecoder:
    """As `entropy.coder.Decoder`, for what `CircuitEncoder` made of groups of one tile.

    Args:
        passes: shared by the decoders of a tile's sections, which are made use of in their order.

    Raises:
        TruncatedError, DamagedError: if the section cannot be that.
    """

    def __init__(self, prior: CircuitPrior, passes: CircuitPasses, section: bytes) -> None:
        self._prior, self._passes = prior, passes
        self._escapes, self._words = split(section)
        self._coder = adaptive_rans.open_words(self._words)
        self._used = 0

    def decode(self, tables: SymbolTables, index: np.ndarray) -> np.ndarray:
        """The next group, (n,) int32; `index`: (n,) uint16. Most damage is noticed at `finish` only.

        Raises:
            DamagedError: if escaped symbols are missing or malformed.
        """
        prior = self._prior
        entries, alone = np.empty(index.size, np.int32), np.ones(index.size, bool)
        if tables is prior.tables and (step := self._passes.next(index)):
            of_variables = interval_circuit.decode(self._words, self._coder, step.tables, step.known,
                                                   step.part.variables, prior.circuit, prior.ends)
            self._passes.done(step, of_variables)
            entries.reshape(-1, step.part.alone.size)[:, step.part.columns] = of_variables
            alone = step.alone
        entries[alone] = adaptive_rans.decode_by_tables(self._words, self._coder, index[alone],
                                                        prior.coder_tables(tables))
        symbols, self._used = symbols_of(entries, index, tables, self._escapes, self._used)
        return symbols

    def finish(self) -> None:
        """Raises `DamagedError` unless everything was consumed, as it is after an undamaged stream."""
        adaptive_rans.check_end(self._coder)
        if self._used != self._escapes.size:
            raise DamagedError("The section is damaged: it has more escaped symbols than it needs.")
