"""What an exchange can be told to do wrong."""

from collections.abc import Mapping
from enum import Enum
from typing import Literal

import msgspec

_PPM = 1_000_000
_FACTOR_MAX = 1_000.0
_SECONDS_MAX = 86_400.0
_MS_MAX = 86_400_000
_BYTES_MAX = 4 * 1024 * 1024
_SPIKE_MS = 300


class Kind(Enum):
    """The faults; NONE is an honest exchange."""

    NONE = "none"
    FREEZE = "freeze"
    LIE = "lie"
    LAG = "lag"
    CROSSED = "crossed"
    SWAP = "swap"
    SKEW = "skew"
    LOSS = "loss"
    GARBAGE = "garbage"
    TYPES = "types"
    HUGE = "huge"
    CUT = "cut"
    SLOW = "slow"
    LIMIT = "limit"
    DISCONNECT = "disconnect"


_MODES: Mapping[Kind, tuple[str, ...]] = {
    Kind.FREEZE: ("silent", "repeat"),
    Kind.LIE: ("constant", "drift", "spike"),
}
_USUAL_MS: Mapping[Kind, int] = {
    Kind.LIE: 10_000,
    Kind.LAG: 5_000,
    Kind.SKEW: 60_000,
    Kind.SLOW: 15_000,
}
_USUAL_SECONDS: Mapping[Kind, float] = {Kind.DISCONNECT: 10.0}


class Fault(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One order to one venue, as it is posted to the control endpoint.

    Of its prices:

    - `freeze`: connections, heartbeats and pongs go on, but the book stands still. In the mode
      `silent` nothing more is quoted, as when a matching engine halts; in the mode `repeat` the
      same prices are quoted again and again with new times and sequence numbers, as when a gateway
      lost its engine.
    - `lie`: every price is multiplied by `factor`: at once (`constant`), growing to it over `ms`
      (`drift`), or for 0.3 s in each `ms` (`spike`).
    - `lag`: quotes arrive `ms` late, stamped with the time at which they were true.
    - `crossed`: bids above asks.
    - `swap`: each pair's frames bear another pair's prices.
    - `skew`: the venue's clock is `ms` ahead, or behind if negative.

    Of its frames with prices:

    - `loss`: each is left out with a chance of one half; sequences that count all messages go on.
    - `garbage`: anything but the protocol: noise, cut and doubled frames, other encodings.
    - `types`: fields of other types than the protocol's, missing or additional.
    - `huge`: well-formed, and of `bytes` bytes (compressed, where the protocol compresses).
    - `cut`: the connection ends in the middle of a frame.

    Of its answers:

    - `slow`: handshakes and REST answers wait for `ms`.
    - `limit`: handshakes and REST requests get the HTTP `status` 429, 418 or 403, with
      `Retry-After` if `retry_after_s` is given.
    - `disconnect`: every connection is dropped and new ones are refused for `seconds` (10 unless
      given). With `notice` the venue first says so, if its protocol has words for that.
    - `none`: ends the fault.

    Each ends by itself after `seconds`, if given.
    """

    venue: str
    fault: Literal[
        "none",
        "freeze",
        "lie",
        "lag",
        "crossed",
        "swap",
        "skew",
        "loss",
        "garbage",
        "types",
        "huge",
        "cut",
        "slow",
        "limit",
        "disconnect",
    ]
    mode: str | None = None
    factor: float = 1.0
    ms: int | None = None
    bytes: int = 1024 * 1024
    status: Literal[403, 418, 429] = 429
    retry_after_s: int | None = None
    seconds: float | None = None
    notice: bool = False

    def __post_init__(self) -> None:
        modes = _MODES.get(self.kind, ())
        if self.mode is not None and self.mode not in modes:
            known = f"one of {', '.join(modes)}" if modes else "none at all"
            raise ValueError(f"the mode of {self.fault} must be {known}")
        if not 0.0 < self.factor <= _FACTOR_MAX:
            raise ValueError(f"factor must be above 0 and at most {_FACTOR_MAX:g}")
        if self.kind is Kind.LIE and self.factor == 1.0:
            raise ValueError("a lie needs a factor other than 1, such as 1.1")
        if self.ms is not None and not abs(self.ms) <= _MS_MAX:
            raise ValueError(f"ms must be at most {_MS_MAX}")
        if self.kind is not Kind.SKEW and self.ms is not None and self.ms <= 0:
            raise ValueError("ms must be above 0")
        if not 0 < self.bytes <= _BYTES_MAX:
            raise ValueError(f"bytes must be above 0 and at most {_BYTES_MAX}")
        if self.retry_after_s is not None and not 0 <= self.retry_after_s <= _SECONDS_MAX:
            raise ValueError(f"retry_after_s must be at least 0 and at most {_SECONDS_MAX:g}")
        if self.seconds is not None and not 0.0 < self.seconds <= _SECONDS_MAX:
            raise ValueError(f"seconds must be above 0 and at most {_SECONDS_MAX:g}")

    @property
    def kind(self) -> Kind:
        """The fault."""
        return Kind(self.fault)

    @property
    def manner(self) -> str:
        """The mode, the usual one unless given; empty for faults that have none."""
        return self.mode or _MODES.get(self.kind, ("",))[0]

    @property
    def by_ms(self) -> int:
        """How long or how far, in milliseconds: `ms`, or what is usual for the fault."""
        return _USUAL_MS.get(self.kind, 0) if self.ms is None else self.ms

    @property
    def skew_ms(self) -> int:
        """How far the venue's clock is ahead."""
        return self.by_ms if self.kind is Kind.SKEW else 0

    @property
    def lasts_s(self) -> float | None:
        """After how many seconds the fault ends by itself, if it does."""
        return _USUAL_SECONDS.get(self.kind) if self.seconds is None else self.seconds

    def factor_ppm(self, elapsed_ms: int) -> int:
        """Return what prices are multiplied by so long after the order, in millionths."""
        if self.kind is not Kind.LIE:
            return _PPM
        factor_ppm = round(self.factor * _PPM)
        if self.manner == "drift":
            return _PPM + (factor_ppm - _PPM) * min(elapsed_ms, self.by_ms) // self.by_ms
        if self.manner == "spike" and elapsed_ms % self.by_ms >= _SPIKE_MS:
            return _PPM
        return factor_ppm


def honest(venue: str) -> Fault:
    """Return the state of a venue without faults."""
    return Fault(venue=venue, fault="none")
