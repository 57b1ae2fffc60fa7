"""Volatility from agreed history alone: an integer EWMA of squared relative returns per second.

Returns are in parts per billion (ppb), variances in ppb² per second.
"""

from functools import lru_cache
from math import isqrt

PPB = 1_000_000_000
PPB_OF_PPM = 1_000

VARIANCE_MAX = 4 * PPB * PPB
"""A return of 100 % every 250 ms; nothing is taken as more volatile."""

ELAPSED_MAX_MS = 7 * 86_400_000
"""A longer silence says no more about what a price may have done."""

_ONE = 1 << 64
_FRACTION_BITS = 20


def _roots_of_half() -> tuple[int, ...]:
    """Return 2**-(1/2), 2**-(1/4), … in 64-bit fixed point, each rounded down."""
    roots = [isqrt(_ONE * _ONE >> 1)]
    while len(roots) < _FRACTION_BITS:
        roots.append(isqrt(roots[-1] << 64))
    return tuple(roots)


_ROOTS = _roots_of_half()


@lru_cache(maxsize=4096)
def decay(elapsed_ms: int, half_life_ms: int) -> int:
    """Return 2**-(elapsed / half life) in 64-bit fixed point, rounded down.

    The exponent's fraction is cut to 20 bits.
    """
    halvings, rest = divmod(elapsed_ms, half_life_ms)
    fraction = (rest << _FRACTION_BITS) // half_life_ms
    product = _ONE
    for place, root in enumerate(_ROOTS, start=1):
        if fraction >> (_FRACTION_BITS - place) & 1:
            product = product * root >> 64
    return product >> halvings


def relative_return_ppb(before: int, after: int) -> int:
    """Return |after - before| relative to before, rounded down, at most 100 %."""
    return min(abs(after - before) * PPB // before, PPB)


def next_variance(variance: int, return_ppb: int, elapsed_ms: int, half_life_ms: int) -> int:
    """Return the variance after one more return, rounded down.

    It lies between the old variance and that of the return (both capped at `VARIANCE_MAX`), and
    grows with either.
    """
    newest = min(return_ppb * return_ppb * 1000 // elapsed_ms, VARIANCE_MAX)
    kept = decay(elapsed_ms, half_life_ms)
    return (variance * kept + newest * (_ONE - kept)) >> 64


def jump_bound_ppb(variance: int, elapsed_ms: int, sigma_multiple: int, floor_ppm: int) -> int:
    """Return how far a price may move: multiple · σ · √Δt + floor, rounded down."""
    sigma_ppb = isqrt(variance * elapsed_ms // 1000)
    return sigma_multiple * sigma_ppb + floor_ppm * PPB_OF_PPM
