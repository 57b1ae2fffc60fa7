"""Whether a report is worth a transaction, given what a chain holds."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from aggregation.encoding import UNAVAILABLE_ANSWER, decode_answer, unpack_words
from aggregation.feed import PPM, FeedSpec
from aggregation.status import Status


class Trigger(StrEnum):
    """Why a report is pushed."""

    STATUS = "status"
    DEVIATION = "deviation"
    HEARTBEAT = "heartbeat"


@dataclass(frozen=True, slots=True)
class Stored:
    """What a chain's Oracle holds: its place in time, and (price, status) of each feed.

    View and time (Unix ms) are 0 before the first report, and then every feed is unavailable.
    """

    epoch: int
    view: int
    observed_at_ms: int
    answers: tuple[tuple[int, Status], ...]


@dataclass(frozen=True, slots=True)
class Due:
    """A push that is due, and the first feed that asks for it."""

    trigger: Trigger
    feed: str


def answers_in(words: Sequence[int], feeds: int) -> tuple[tuple[int, Status], ...]:
    """Return price and status of each feed; lanes never written count as unavailable."""
    decoded = [decode_answer(answer or UNAVAILABLE_ANSWER) for answer in unpack_words(words)]
    return tuple((answer.price, answer.status) for answer in decoded[:feeds])


def due(
    stored: Stored,
    observed_at_ms: int,
    answers: Sequence[tuple[int, Status]],
    feeds: Sequence[FeedSpec],
    deviations_ppm: Sequence[int],
    lead_ms: int,
) -> Due | None:
    """Return why these newer answers are to be pushed, or None if they are not.

    `deviations_ppm` is how far each price may move (`aggregation.push`). A heartbeat is due
    `lead_ms` early, at most a quarter of it, by observation times alone. Carried counts as live: a
    feed that is carried for a round or two asks for no transaction, its stored answer stays true
    and ages.
    """
    if observed_at_ms <= stored.observed_at_ms:
        return None
    age_ms = observed_at_ms - stored.observed_at_ms
    heartbeat: Due | None = None
    deviation: Due | None = None
    for feed, deviation_ppm, (old_price, old_status), (price, status) in zip(
        feeds, deviations_ppm, stored.answers, answers, strict=True
    ):
        if _settled(old_status) != _settled(status):
            return Due(Trigger.STATUS, feed.pair)
        if deviation is None and abs(price - old_price) * PPM > deviation_ppm * old_price:
            deviation = Due(Trigger.DEVIATION, feed.pair)
        due_after_ms = feed.heartbeat_ms - min(lead_ms, feed.heartbeat_ms // 4)
        if heartbeat is None and age_ms >= due_after_ms:
            heartbeat = Due(Trigger.HEARTBEAT, feed.pair)
    return deviation or heartbeat


def _settled(status: Status) -> Status:
    return Status.LIVE if status is Status.CARRIED else status
