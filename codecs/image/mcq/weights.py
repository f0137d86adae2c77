"""What weights of `mcq` have beside those of `hyperprior`: the codebooks."""

from torch import Tensor, from_numpy

from fewbits.codecs.image.mcq.codebook_sizes import CODEBOOK_SIZES
from fewbits.codecs.image.mcq.codebooks import VectorResiduals
from fewbits.codecs.model_weights import tables_of
from fewbits.entropy.tables import SymbolTables

INDEX_TABLES, CODEBOOKS = "index_tables.", "codebooks."


def vector_residuals(latent_tables: SymbolTables, tensors: dict[str, Tensor]) -> VectorResiduals:
    """From the tensors of a weights file. Raises `KeyError` or `ValueError` where they are no codebooks."""
    entries = [tensors[f"{CODEBOOKS}{number}"].numpy() for number in range(len(CODEBOOK_SIZES))]
    return VectorResiduals(entries, tables_of(INDEX_TABLES, tensors), latent_tables)


def codebook_tensors(residuals: VectorResiduals) -> dict[str, Tensor]:
    """The codebooks as tensors for a weights file."""
    return {f"{CODEBOOKS}{number}": from_numpy(entries) for number, entries in enumerate(residuals.entries)}
