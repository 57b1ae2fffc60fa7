"""Static weights, capped so that no venue and no converted group can decide a price.

Weights never follow volume: a venue reports its own.
"""

from collections.abc import Sequence

from aggregation.feed import PPM


def cap_venues(weighted: Sequence[tuple[str, int]], cap_ppm: int) -> list[int]:
    """Return the weights of (venue, weight) pairs, none of whose venues exceeds its share.

    The result is scaled by 10**6 against rounding. With too few venues for the cap all weigh
    the same. Rounded down.
    """
    totals: dict[str, int] = {}
    for venue, weight in weighted:
        totals[venue] = totals.get(venue, 0) + weight * PPM
    if not totals:
        return []
    limit = _venue_limit(sorted(totals.values(), reverse=True), cap_ppm)
    return [weight * PPM * min(limit, totals[venue]) // totals[venue] for venue, weight in weighted]


def _venue_limit(descending: Sequence[int], cap_ppm: int) -> int:
    """Return the greatest L with L <= cap · Σ min(total, L), else the least total."""
    rest = sum(descending)
    for limited, total in enumerate(descending):
        # With the `limited` greatest cut to L: L = cap · (limited · L + rest).
        room = PPM - limited * cap_ppm
        if room <= 0:
            break
        limit = cap_ppm * rest // room
        if total <= limit:
            return limit
        rest -= total
    return descending[-1]


def cap_converted(native: Sequence[int], converted: Sequence[int]) -> list[int]:
    """Return the converted sources' weights, cut until they sum to less than the native ones.

    Then, whatever the conversion rate, the low weighted median stays in the range of the native
    prices. Rounded down.
    """
    limit = sum(native) - 1
    total = sum(converted)
    if total <= limit:
        return list(converted)
    return [weight * max(limit, 0) // total for weight in converted]
