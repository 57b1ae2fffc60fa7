"""What this member itself warns of, told when it begins and when it ends."""

from collections.abc import Iterator, Sequence

import structlog

from aggregation.alarm import Alarm
from aggregation.member import MemberPrice

_log = structlog.get_logger("node.feed_alarms")


class FeedAlarms:
    """Logs each feed's alarms once, as they are raised and as they are over."""

    def __init__(self, pairs: Sequence[str]) -> None:
        self._pairs = pairs
        self._raised: list[frozenset[Alarm]] = [frozenset()] * len(pairs)

    def note(self, prices: Sequence[MemberPrice]) -> None:
        """Note the member's newest prices, in table order."""
        for index, price in enumerate(prices):
            before, now = self._raised[index], price.alarms
            if now == before:
                continue
            self._raised[index] = now
            feed = self._pairs[index]
            for alarm in sorted(now - before):
                _log.warning("feed.alarm", feed=feed, alarm=alarm.name.lower(), text=str(alarm))
            for alarm in sorted(before - now):
                _log.info("feed.alarm_over", feed=feed, alarm=alarm.name.lower())


def apart(price: MemberPrice) -> Iterator[str]:
    """Yield each source that stands apart from the others."""
    for venue, base, quote in sorted(price.outliers):
        yield f"{venue} {base}/{quote}"


def unused(price: MemberPrice) -> Iterator[str]:
    """Yield each source that does not count in a price, with the reason."""
    for source, reason in price.rejected:
        yield f"{source.venue} {source.base}/{source.quote}: {reason}"
