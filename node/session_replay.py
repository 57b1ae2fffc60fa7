"""A recorded session through the whole aggregation: what would have been agreed, and why."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from aggregation.feed import FeedSpec
from aggregation.quote import RawQuote
from aggregation.replay import Replay
from aggregation.sources import SourceKey
from aggregation.status import Cause, Status
from aggregation.table import FeedTable
from node.session_file import Event, Withdrawn

SILENCE_MS_MAX = 660_000
"""After a longer silence no quote is fresh: the rest of it is passed over."""

CHANGES_KEPT = 200
POINTS_MAX = 4_096


@dataclass(frozen=True, slots=True)
class Change:
    """A feed's new status, so many seconds after the first quote."""

    at_s: float
    status: Status
    cause: Cause


@dataclass(slots=True)
class FeedRecord:
    """What became of one feed; prices are in its units, `rounds` by status.

    `alarms` and `apart` count the rounds in which each was told, `unused` those in which a source
    did not count, by reason. `points` are (seconds, price, status), at most `POINTS_MAX` evenly
    spread ones.
    """

    feed: FeedSpec
    rounds: Counter[Status] = field(default_factory=Counter)
    changes: list[Change] = field(default_factory=list)
    changes_total: int = 0
    first: int = 0
    last: int = 0
    low: int = 0
    high: int = 0
    confidences_ppm: list[int] = field(default_factory=list)
    alarms: Counter[str] = field(default_factory=Counter)
    apart: Counter[SourceKey] = field(default_factory=Counter)
    unused: Counter[tuple[SourceKey, str]] = field(default_factory=Counter)
    points: list[tuple[float, int, Status]] = field(default_factory=list)


@dataclass(slots=True)
class Session:
    """What a session was, and what became of each feed."""

    begun_ms: int
    ended_ms: int
    quotes: int
    unknown: int
    """Quotes of sources that the catalogue does not have."""
    rounds: int
    feeds: list[FeedRecord]


def replay_session(
    table: FeedTable, events: Iterable[Event], interval_ms: int, carry_ms: int
) -> Session | None:
    """Agree every `interval_ms` on what a session holds; None if it holds no quotes."""
    known = {source.key for feed in table.feeds for source in feed.sources}
    view: dict[SourceKey, RawQuote] = {}
    session: Session | None = None
    replay: Replay | None = None
    now_ms = 0
    for at_ms, what in events:
        if session is None or replay is None:
            session = Session(at_ms, at_ms, 0, 0, 0, [FeedRecord(feed) for feed in table.feeds])
            replay = Replay(table, at_ms, carry_ms=carry_ms)
            now_ms = at_ms
        if at_ms - now_ms > SILENCE_MS_MAX:
            _rounds(session, replay, view, now_ms, now_ms + SILENCE_MS_MAX, interval_ms)
            now_ms = at_ms
        now_ms = _rounds(session, replay, view, now_ms, at_ms, interval_ms)
        session.ended_ms = at_ms
        if isinstance(what, Withdrawn):
            view.pop(what.key, None)
            continue
        key = (what.venue, what.base, what.quote)
        session.quotes += 1
        if key in known:
            view[key] = what
        else:
            session.unknown += 1
    if session is not None and replay is not None:
        _rounds(session, replay, view, now_ms, now_ms + interval_ms + 1, interval_ms)
    return session


def _rounds(
    session: Session,
    replay: Replay,
    view: dict[SourceKey, RawQuote],
    now_ms: int,
    until_ms: int,
    interval_ms: int,
) -> int:
    """Agree at each interval before `until_ms`; return the time of the last."""
    while now_ms + interval_ms < until_ms:
        now_ms += interval_ms
        moment = replay.round(now_ms, [dict(view)])
        session.rounds += 1
        at_s = (now_ms - session.begun_ms) / 1_000
        for record, state, price in zip(
            session.feeds, moment.state.feeds, moment.prices[0], strict=True
        ):
            before = record.changes[-1] if record.changes else None
            record.rounds[state.status] += 1
            if before is None or (before.status, before.cause) != (state.status, state.cause):
                record.changes_total += 1
                if len(record.changes) < CHANGES_KEPT:
                    record.changes.append(Change(at_s, state.status, state.cause))
                else:
                    record.changes[-1] = Change(at_s, state.status, state.cause)
            if state.price:
                record.first = record.first or state.price
                record.last = state.price
                record.low = min(record.low or state.price, state.price)
                record.high = max(record.high, state.price)
                record.confidences_ppm.append(state.confidence * 1_000_000 // state.price)
            record.alarms.update(alarm.name.lower() for alarm in price.alarms)
            record.apart.update(price.outliers)
            record.unused.update((source.key, str(reason)) for source, reason in price.rejected)
            record.points.append((at_s, state.price, state.status))
            if len(record.points) >= 2 * POINTS_MAX:
                record.points = record.points[::2]
                record.confidences_ppm = record.confidences_ppm[::2]
    return now_ms
