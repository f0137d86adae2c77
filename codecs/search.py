"""Finding the quality that meets a target in few trials."""

import math
from collections.abc import Callable


def highest_within(measure: Callable[[int], float], limit: float, low: int, high: int, trials: int = 8) -> int | None:
    """Largest setting whose measure stays within a limit.

    The measure is positive and grows with the setting, nearly exponentially: trials are placed by interpolating its
    logarithm, and by halving where that converges slowly.

    Args:
        measure: what a setting leads to; called at most `trials` times, never twice for a setting.
        limit: upper bound.
        low, high: first and last setting to consider.

    Returns:
        The setting, or None if even the lowest one exceeds the limit.
    """
    inside, outside = low - 1, high + 1
    inside_log, outside_log = -math.inf, math.inf
    goal = math.log(limit)
    for trial in range(trials):
        if outside - inside <= 1:
            break
        if inside < low and outside > high:
            setting = (low + high) // 2
        elif math.isinf(inside_log) or math.isinf(outside_log) or trial % 3 == 2:
            setting = (inside + outside) // 2
        else:
            share = (goal - inside_log) / max(outside_log - inside_log, 1e-9)
            setting = inside + round(share * (outside - inside))
        setting = min(max(setting, inside + 1), outside - 1)
        value = math.log(max(measure(setting), 1e-300))
        if value <= goal:
            inside, inside_log = setting, value
        else:
            outside, outside_log = setting, value
    return inside if inside >= low else None
