"""The bounds within which connections are kept, and the clocks and randomness they use."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random, SystemRandom

from aggregation.quote import FUTURE_STAMP_MAX_MS
from feeds.backoff import Backoff


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on what an exchange may do; durations in seconds.

    More than `faults_max` faulty frames (not understood, out of order, stamped in the future)
    within `faults_window_s` end a connection; `answer_s` is for one by HTTP.
    One that lived for `stable_s` is followed by the next without delay. A refused subscription is
    tried again after `retry_refused_s`. A connection that is renewed in time overlaps its successor
    by at most `overlap_s` once that delivers. An exchange's clock may steadily lead ours by up to
    `clock_lead_max_ms`; a price that a connection brings `past_max_ms` after its own stamp does not
    count, since whole connections may be held back. REST is not asked for prices in the first
    `poll_first_s`, and for one pair at most `polls_per_age` times within its source's limit on age.
    """

    handshake_s: float = 10
    acknowledge_s: float = 10
    send_s: float = 5
    close_s: float = 1
    check_every_s: float = 1.0
    stable_s: float = 60
    retry_refused_s: float = 600
    retry_after_max_s: float = 600
    frame_bytes_max: int = 256 * 1024
    answer_s: float = 5
    answer_bytes_max: int = 256 * 1024
    faults_max: int = 20
    faults_window_s: float = 60
    future_max_ms: int = FUTURE_STAMP_MAX_MS
    past_max_ms: int = 60_000
    clock_lead_max_ms: int = 5_000
    overlap_s: float = 30
    poll_first_s: float = 2
    polls_per_age: int = 5
    poll_backoff: Backoff = field(default_factory=lambda: Backoff(base_s=2, cap_s=60))
    backoff: Backoff = field(default_factory=lambda: Backoff(base_s=0.5, cap_s=30))


def _unix_ms() -> int:
    return time.time_ns() // 1_000_000


@dataclass(frozen=True, slots=True)
class Supervision:
    """What every connection is given besides its exchange."""

    limits: Limits = field(default_factory=Limits)
    monotonic_ns: Callable[[], int] = time.monotonic_ns
    unix_ms: Callable[[], int] = _unix_ms
    rng: Random = field(default_factory=SystemRandom)
