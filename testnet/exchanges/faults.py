"""What an exchange can be told to do wrong."""

from enum import Enum
from typing import Literal

import msgspec

_PPM = 1_000_000
_FACTOR_MAX = 1_000.0
_SECONDS_MAX = 86_400.0
_OUTAGE_S = 10.0


class Kind(Enum):
    """The faults; NONE is an honest exchange."""

    NONE = "none"
    FREEZE = "freeze"
    LIE = "lie"
    DISCONNECT = "disconnect"


class Fault(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One order to one venue, as it is posted to the control endpoint.

    - `freeze`: connections, heartbeats and pongs go on, but the book stands still. In the mode
      `silent` nothing more is quoted, as when a matching engine halts; in the mode `repeat` the
      same prices are quoted again and again with new times and sequence numbers, as when a gateway
      lost its engine.
    - `lie`: every price is multiplied by `factor`.
    - `disconnect`: every connection is dropped and new ones are refused for `seconds` (10 unless
      given). With `notice` the venue first says so, if its protocol has words for that.
    - `none`: ends the fault.

    A freeze or a lie also ends after `seconds`, if given.
    """

    venue: str
    fault: Literal["none", "freeze", "lie", "disconnect"]
    mode: Literal["silent", "repeat"] = "silent"
    factor: float = 1.0
    seconds: float | None = None
    notice: bool = False

    def __post_init__(self) -> None:
        if not 0.0 < self.factor <= _FACTOR_MAX:
            raise ValueError(f"factor must be above 0 and at most {_FACTOR_MAX:g}")
        if self.fault == "lie" and self.factor == 1.0:
            raise ValueError("a lie needs a factor other than 1, such as 1.1")
        if self.seconds is not None and not 0.0 < self.seconds <= _SECONDS_MAX:
            raise ValueError(f"seconds must be above 0 and at most {_SECONDS_MAX:g}")

    @property
    def kind(self) -> Kind:
        """The fault."""
        return Kind(self.fault)

    @property
    def factor_ppm(self) -> int:
        """What prices are multiplied by, in millionths."""
        return round(self.factor * _PPM) if self.kind is Kind.LIE else _PPM

    @property
    def lasts_s(self) -> float | None:
        """After how many seconds the fault ends by itself, if it does."""
        if self.kind is Kind.DISCONNECT and self.seconds is None:
            return _OUTAGE_S
        return self.seconds


def honest(venue: str) -> Fault:
    """Return the state of a venue without faults."""
    return Fault(venue=venue, fault="none")
