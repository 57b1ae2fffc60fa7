"""The agreed price, confidence, risk level and time of one proposal."""

from collections.abc import Sequence
from enum import Enum
from typing import NamedTuple

from aggregation.median import low_median
from aggregation.observation import Entry, Observation
from aggregation.price import PRICE_MAX


class Agreement(NamedTuple):
    """What at least 2f+1 observations of a feed make of it, in the feed's units."""

    price: int
    confidence: int
    risk: int


class Absence(Enum):
    """Why a proposal has no agreement on a feed."""

    TOO_FEW = "fewer than 2f+1 observations, and at most f members say that they lack the feed"
    LACKED = "more than f members say that they lack the feed"
    UNREPRESENTABLE = "the agreed price does not fit 48 bits"


def agree(entries: Sequence[Entry], faulty_max: int) -> Agreement | Absence:
    """Return what the members' entries for one feed agree on, in any order of members.

    With at most `faulty_max` faulty ones, the price lies between two honest prices, the confidence
    between the smallest honest confidence and the larger of the greatest honest confidence and
    the greatest honest |price - agreed|, the risk level between two honest levels.
    """
    present = [entry for entry in entries if entry[0]]
    count = len(present)
    if count < 2 * faulty_max + 1:
        lacking = len(entries) - count
        return Absence.LACKED if lacking > faulty_max else Absence.TOO_FEW
    # Sorted in place of `low_median` three times over: this runs members x feeds each round.
    middle = (count - 1) // 2
    prices, confidences, risks = zip(*present, strict=True)
    price: int = sorted(prices)[middle]
    if price > PRICE_MAX:
        return Absence.UNREPRESENTABLE
    confidence: int = sorted(confidences)[middle]
    distance: int = sorted([abs(other - price) for other in prices])[middle]
    return Agreement(price, max(confidence, distance), sorted(risks)[middle])


def agreed_time_ms(times_ms: Sequence[int], parent_time_ms: int) -> int:
    """Return the low median of the included observation times, but later than the parent's."""
    return max(low_median(times_ms), parent_time_ms + 1)


def every_feed_agrees(observations: Sequence[Observation], faulty_max: int) -> bool:
    """Tell whether each feed has 2f+1 observations, so that waiting for more cannot save one."""
    if not observations:
        return False
    columns = zip(*[observation.entries for observation in observations], strict=True)
    return all(sum(1 for entry in column if entry[0]) > 2 * faulty_max for column in columns)
