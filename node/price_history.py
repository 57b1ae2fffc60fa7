"""The agreed prices of the last minutes, in memory: what a chart begins with."""

from collections import deque
from dataclasses import dataclass
from typing import Final

from aggregation.state import AgreedState
from aggregation.status import Status

STEP_MS: Final = 2_000
POINTS_MAX: Final = 150
"""Five minutes."""

_AGREED = (Status.LIVE, Status.DEGRADED)


@dataclass(frozen=True, slots=True)
class PricePoint:
    """What was agreed at one moment: price and confidence by feed, in the feed's units.

    Price 0: nothing was agreed then. What was only carried or kept is no agreement.
    """

    observed_at_ms: int
    prices: tuple[int, ...]
    confidences: tuple[int, ...]


class PriceHistory:
    """Keeps one point of every step; indices of feeds never change, new ones are appended."""

    def __init__(self) -> None:
        self._points: deque[PricePoint] = deque(maxlen=POINTS_MAX)

    def agreed(self, state: AgreedState) -> None:
        """Note a newer state; most are passed over."""
        if self._points and state.observed_at_ms < self._points[-1].observed_at_ms + STEP_MS:
            return
        feeds = state.feeds
        self._points.append(
            PricePoint(
                state.observed_at_ms,
                tuple(feed.price if feed.status in _AGREED else 0 for feed in feeds),
                tuple(feed.confidence for feed in feeds),
            )
        )

    @property
    def points(self) -> tuple[PricePoint, ...]:
        """The points, oldest first."""
        return tuple(self._points)
