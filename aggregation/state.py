"""What the committee agrees on after one block, from which the next block's answers follow."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from struct import Struct
from typing import NamedTuple

from aggregation.digests import TAG_STATE, keccak
from aggregation.observation import FEEDS_MAX
from aggregation.price import PRICE_MAX, TIME_MAX_MS
from aggregation.status import CAUSES, Cause, Phase, Status
from aggregation.table import FeedTable
from aggregation.volatility import VARIANCE_MAX

_HEAD = Struct(">QH")
_FEED = Struct(">BBBBHQQQQQQQ")

_HALTED_CAUSE = {
    Phase.HALTED_BY_JUMP: Cause.JUMP,
    Phase.HALTED_BY_DISPERSION: Cause.DISPERSION,
}


class FeedState(NamedTuple):
    """One feed's answer and history. Prices are scaled by the feed's decimals.

    `kept_price` and `kept_confidence` are of the last answer that was served as live or degraded;
    `agreed_price` is the last agreed one, which differs while the feed is halted, and
    `agreed_at_ms` its time. `rounds` counts the consecutive rounds of healing or of calm; while
    halted their agreed prices lie in `level_low` to `level_high`. `variance` is in squared parts
    per billion per second. A tuple and no dataclass, because each round makes one for every feed.
    """

    status: Status
    cause: Cause
    phase: Phase = Phase.STEADY
    risk: int = 0
    rounds: int = 0
    kept_price: int = 0
    kept_confidence: int = 0
    agreed_price: int = 0
    agreed_at_ms: int = 0
    level_low: int = 0
    level_high: int = 0
    variance: int = 0

    @property
    def price(self) -> int:
        """The price of the answer; 0 if unavailable."""
        return 0 if self.status is Status.UNAVAILABLE else self.kept_price

    @property
    def confidence(self) -> int:
        """The confidence of the answer in units of the price; 0 if unavailable."""
        return 0 if self.status is Status.UNAVAILABLE else self.kept_confidence

    def encode(self) -> bytes:
        """Return the fixed-width form that the state's digest covers."""
        return _FEED.pack(*self)


@dataclass(frozen=True)
class AgreedState:
    """The agreed answers after one block, in table order, and the time they are of (Unix ms).

    What follows from a state is asked for several times in a round, and kept with it.
    """

    observed_at_ms: int
    feeds: tuple[FeedState, ...]

    def encode(self) -> bytes:
        """Return the canonical form: observed_at_ms u64 | count u16 | fixed-width feed states."""
        return self._encoded

    @cached_property
    def _encoded(self) -> bytes:
        head = _HEAD.pack(self.observed_at_ms, len(self.feeds))
        return head + b"".join([feed.encode() for feed in self.feeds])

    @cached_property
    def words(self) -> tuple[int, ...]:
        """The words of the answers, as reports hold them."""
        from aggregation.encoding import words_of  # which knows states

        return words_of(self)

    @staticmethod
    def decode(encoded: bytes) -> "AgreedState":
        """Return what `encode` packed; raises `ValueError` for what no state encodes to."""
        if len(encoded) < _HEAD.size:
            raise ValueError(f"a state has at least {_HEAD.size} bytes, not {len(encoded)}")
        observed_at_ms, count = _HEAD.unpack_from(encoded)
        if not 1 <= count <= FEEDS_MAX:
            raise ValueError(f"a state has 1 to {FEEDS_MAX} feeds, not {count}")
        if len(encoded) != _HEAD.size + count * _FEED.size:
            raise ValueError(f"a state of {count} feeds cannot have {len(encoded)} bytes")
        if observed_at_ms > TIME_MAX_MS:
            raise ValueError("observed_at_ms is out of range")
        feeds = []
        for index, fields in enumerate(_FEED.iter_unpack(encoded[_HEAD.size :])):
            status, cause, phase, *rest = fields
            try:
                feed = FeedState(Status(status), Cause(cause), Phase(phase), *rest)
            except ValueError as error:
                raise ValueError(f"feed {index}: {error}") from None
            for problem in _problems(feed, observed_at_ms):
                raise ValueError(f"feed {index}: {problem}")
            feeds.append(feed)
        return AgreedState(observed_at_ms, tuple(feeds))

    def digest(self) -> bytes:
        """Return the state digest, which is part of a block's link."""
        return self._digest

    @cached_property
    def _digest(self) -> bytes:
        return keccak(TAG_STATE + self.encode())


def genesis_state(table: FeedTable, time_ms: int) -> AgreedState:
    """Return the state before the first block: no feed has a price yet."""
    if not 0 <= time_ms <= TIME_MAX_MS:
        raise ValueError("the genesis time is out of range")
    return AgreedState(time_ms, (FeedState(Status.UNAVAILABLE, Cause.NEVER_AGREED),) * table.count)


def _problems(feed: FeedState, observed_at_ms: int) -> Iterator[str]:
    halted = feed.phase in _HALTED_CAUSE
    if feed.cause not in CAUSES[feed.status]:
        yield f"status {feed.status.name} cannot have cause {feed.cause.name}"
    if (feed.cause is Cause.NEVER_AGREED or feed.cause is Cause.NO_LIVE_PRICE) and feed.kept_price:
        yield f"cause {feed.cause.name} contradicts a kept price"
    if feed.status is Status.HALTED and feed.cause is not _HALTED_CAUSE.get(feed.phase):
        yield f"phase {feed.phase.name} cannot be halted by {feed.cause.name}"
    if halted and feed.status not in (Status.HALTED, Status.UNAVAILABLE):
        yield f"phase {feed.phase.name} cannot have status {feed.status.name}"
    if feed.phase in (Phase.HEALING, Phase.UNSETTLED) and feed.status is Status.LIVE:
        yield "a healing or unsettled feed is not live"
    if feed.cause is Cause.HEALING and feed.phase is not Phase.HEALING:
        yield "cause HEALING needs phase HEALING"
    if feed.cause is Cause.SETTLING and feed.phase is not Phase.UNSETTLED:
        yield "cause SETTLING needs phase UNSETTLED"
    if feed.kept_price == 0:
        if feed != FeedState(Status.UNAVAILABLE, feed.cause):
            yield "a feed that was never agreed has no history"
        return
    if not 1 <= feed.kept_price <= PRICE_MAX or not 1 <= feed.agreed_price <= PRICE_MAX:
        yield "a price is out of range"
    if not halted and feed.agreed_price != feed.kept_price:
        yield "the agreed price differs from the kept one, but the feed is not halted"
    if feed.agreed_at_ms > observed_at_ms:
        yield "agreed_at_ms is later than observed_at_ms"
    if feed.variance > VARIANCE_MAX:
        yield "the variance is out of range"
    if not (feed.level_low <= feed.level_high <= PRICE_MAX):
        yield "level_low to level_high is no range"
    if (feed.level_low > 0) != (halted and feed.rounds > 0):
        yield "a level belongs to the healing rounds of a halted feed"
    if feed.level_low == 0 and feed.level_high > 0:
        yield "level_low to level_high is no range"
    if feed.rounds > 0 and (feed.phase is Phase.STEADY or feed.status is Status.UNAVAILABLE):
        yield "only a feed that heals or settles counts rounds"
