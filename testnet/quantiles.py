"""Quantiles of what was measured."""

from collections.abc import Sequence


def quantile(values: Sequence[float], percent: int) -> float | None:
    """Return the smallest value that so many percent of all do not exceed; None without any."""
    if not values:
        return None
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)]
