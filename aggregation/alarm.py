"""What a member warns of, and the risk level that its warnings come to."""

from collections.abc import Set
from enum import StrEnum

RISK_NONE = 0
RISK_NOTICE = 1
"""Something is unusual, the price is as good as ever."""
RISK_HIGH = 2
"""Whoever relies on the price should know: a feed that is set so is degraded."""


class Alarm(StrEnum):
    """One thing that is wrong with a feed, as its member sees it; the text is for operators."""

    SOURCES_MISSING = "some of its sources do not count"
    FEW_SOURCES = "with one source or venue less it is unavailable"
    OUTLIER = "a venue stands apart from the others"
    SCATTERED = "venues with more than a quarter of the weight stand apart from the others"
    DISPERSION = "its sources disagree more than usual"
    OFF_PEG = "a stablecoin that it rests on is off its peg"
    PEG_LOST = "a stablecoin that it rests on has lost its peg"
    DRIFT = "the price keeps moving one way"
    BURST = "the price moves far more than it did lately"
    CLUSTER = "unusual moves follow each other"


_HIGH = frozenset({Alarm.FEW_SOURCES, Alarm.SCATTERED, Alarm.PEG_LOST})

MARKET_ALARMS = frozenset({Alarm.DRIFT, Alarm.BURST, Alarm.CLUSTER})
"""Alarms of a price's path; a lively market raises any of them alone."""


def risk_level(alarms: Set[Alarm]) -> int:
    """Return the risk level of alarms: high for a grave one, or if two of the path agree."""
    if not alarms:
        return RISK_NONE
    if alarms & _HIGH or len(alarms & MARKET_ALARMS) > 1:
        return RISK_HIGH
    return RISK_NOTICE
