"""What an answer may be used for, and why."""

from enum import IntEnum


class Status(IntEnum):
    """The status of an answer; its number is part of the signed answer."""

    UNAVAILABLE = 0
    LIVE = 1
    CARRIED = 2
    DEGRADED = 3
    HALTED = 4


class Cause(IntEnum):
    """Why a feed has its status; part of the agreed state."""

    NONE = 0
    """Live: nothing to explain."""
    NEVER_AGREED = 1
    """Unavailable since genesis."""
    LACKED = 2
    """Unavailable: more than f members say that they lack the feed."""
    CARRY_EXPIRED = 3
    """Unavailable: the last real agreement is too long ago."""
    UNREPRESENTABLE = 4
    """Unavailable: the agreed price does not fit 48 bits."""
    NO_LIVE_PRICE = 5
    """Unavailable: dispersion too wide, and no live price to keep yet."""
    TOO_FEW_OBSERVATIONS = 6
    """Carried: fewer than 2f+1 observations of this feed in the proposal."""
    WIDE_CONFIDENCE = 7
    """Degraded."""
    HIGH_RISK = 8
    """Degraded: the members' agreed risk level, which few sources raise too."""
    HEALING = 9
    """Degraded: on the way from halted to live."""
    JUMP = 10
    """Halted: the price moved farther than the agreed volatility explains."""
    DISPERSION = 11
    """Halted: confidence beyond the feed's limit."""
    SETTLING = 12
    """Degraded: confidence and risk level are good again, but not for long enough yet."""


class Phase(IntEnum):
    """Where the breaker stands; survives rounds without an agreement."""

    STEADY = 0
    HEALING = 1
    HALTED_BY_JUMP = 2
    HALTED_BY_DISPERSION = 3
    UNSETTLED = 4
    """Degraded for its confidence or its risk level, until it was calm for some rounds."""


CAUSES: dict[Status, frozenset[Cause]] = {
    Status.UNAVAILABLE: frozenset(
        {
            Cause.NEVER_AGREED,
            Cause.LACKED,
            Cause.CARRY_EXPIRED,
            Cause.UNREPRESENTABLE,
            Cause.NO_LIVE_PRICE,
        }
    ),
    Status.LIVE: frozenset({Cause.NONE}),
    Status.CARRIED: frozenset({Cause.TOO_FEW_OBSERVATIONS}),
    Status.DEGRADED: frozenset(
        {Cause.WIDE_CONFIDENCE, Cause.HIGH_RISK, Cause.HEALING, Cause.SETTLING}
    ),
    Status.HALTED: frozenset({Cause.JUMP, Cause.DISPERSION}),
}
"""Which causes go with which status."""
