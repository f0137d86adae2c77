"""Asymmetric numeral systems, as the format uses them: the constants, and coder and decoder in plain Python.

This is the definition that the fast coders (`rans` in numba, constriction) are tested against: a state of 64 bits and
a stack of words of 32 bits, both as in constriction's `AnsCoder`. (Range variant: J. Duda, arXiv 1311.2540.)

The state begins at `START`, not at 0. Near 0, a state can take any number of first entries of tables without growing,
so a decoder could not tell that it reads more symbols than were written. From 2**24 on it grows with every symbol.
"""

from collections.abc import Sequence

PRECISION = 24
TOTAL = 1 << PRECISION  # sum of the frequencies of a table
WORD_BITS = 32
START = TOTAL


def encode(symbols: Sequence[int], tables: Sequence[Sequence[int]]) -> list[int]:
    """Words of symbols; `tables[i]` are the frequencies for symbol i, an entry of it."""
    words = []
    state = START
    for symbol, table in reversed(list(zip(symbols, tables, strict=True))):
        if state >> 64 - PRECISION >= table[symbol]:
            words.append(state % 2**WORD_BITS)
            state >>= WORD_BITS
        state = (state // table[symbol] << PRECISION) + state % table[symbol] + sum(table[:symbol])
    while state:
        words.append(state % 2**WORD_BITS)
        state >>= WORD_BITS
    return words


def decode(words: Sequence[int], tables: Sequence[Sequence[int]]) -> list[int] | None:
    """Inverse of `encode`. None if the words do not end where the symbols end."""
    stack = list(words)
    state = 0
    while state < 2**WORD_BITS and stack:
        state = state << WORD_BITS | stack.pop()
    symbols = []
    for table in tables:
        quantile, symbol = state % TOTAL, 0
        while quantile >= table[symbol]:
            quantile -= table[symbol]
            symbol += 1
        symbols.append(symbol)
        state = table[symbol] * (state >> PRECISION) + quantile
        if state < 2**WORD_BITS and stack:
            state = state << WORD_BITS | stack.pop()
    return symbols if state == START and not stack else None
