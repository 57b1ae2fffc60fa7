"""What a leader made of one feed's price by choosing whose observations it took."""

from math import comb
from typing import NamedTuple

from aggregation.feed import PPM
from aggregation.median import low_median

PPB = 1_000_000_000


class Choice(NamedTuple):
    """One choice, measured against all prices that the leader could have taken.

    `shift_ppb` is how far the agreed price lies above the low median of all of them, in parts per
    billion of that. `rank_ppm` says where the agreed price stands among all that equally many of
    them could have led to: from -500,000 for the lowest to 500,000 for the highest, and 0 on
    average for whoever leaves out members regardless of their prices.

    The shift alone accuses the innocent: the low median of fewer prices is higher on average
    wherever their number becomes odd. `lowest_ppm` and `highest_ppm` are the ranks that the lowest
    and the highest of these prices would have had.
    """

    shift_ppb: int
    rank_ppm: int
    lowest_ppm: int
    highest_ppm: int

    def lean_ppm(self, side: int) -> int:
        """Return how far the choice leans to a side (1: higher, -1: lower).

        In parts per million of the farthest that any choice could have leant to the other side, so
        -1,000,000 at worst, and 0 on average for whoever does not look at prices.
        """
        farthest = -self.lowest_ppm if side > 0 else self.highest_ppm
        return max(_towards_zero(side * self.rank_ppm * PPM, farthest), -PPM)


def choice(included: list[int], left_out: list[int]) -> Choice | None:
    """Measure the low median of the included prices; None if no other was possible.

    Prices are positive integers of one feed, in any order; at least one is included. Divisions
    round towards zero, so that high and low are treated alike.
    """
    count, size = len(included) + len(left_out), len(included)
    if not left_out:
        return None
    ordered = sorted(included + left_out)
    middle = (size - 1) // 2
    if ordered[middle] == ordered[middle + count - size]:
        return None
    agreed, full = low_median(included), low_median(ordered)
    # How many subsets of this size have the element at `place` as their low median.
    below = same = lowest = highest = 0
    for place in range(middle, middle + count - size + 1):
        ways = comb(place, middle) * comb(count - 1 - place, size - 1 - middle)
        below += ways if ordered[place] < agreed else 0
        same += ways if ordered[place] == agreed else 0
        lowest += ways if ordered[place] == ordered[middle] else 0
        highest += ways if ordered[place] == ordered[middle + count - size] else 0
    total = comb(count, size)
    return Choice(
        _towards_zero((agreed - full) * PPB, full),
        _towards_zero((2 * below + same - total) * PPM, 2 * total),
        _towards_zero((lowest - total) * PPM, 2 * total),
        _towards_zero((total - highest) * PPM, 2 * total),
    )


def _towards_zero(numerator: int, denominator: int) -> int:
    magnitude = abs(numerator) // denominator
    return magnitude if numerator >= 0 else -magnitude
