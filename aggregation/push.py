"""How far a price may move before a chain is updated: a threshold that follows the volatility."""

from math import isqrt

from aggregation.feed import FeedSpec
from aggregation.state import AgreedState
from aggregation.table import FeedTable
from aggregation.volatility import PPB_OF_PPM


def push_deviation_ppm(feed: FeedSpec, variance: int) -> int:
    """Return the threshold of the deviation push at an agreed variance (ppb² per second).

    It is σ·√heartbeat, rounded down: a random walk leaves that after about a heartbeat, so a
    market of any liveliness causes about as many updates as the heartbeats do. It is never above
    the published deviation, on which readers rely, and never below the feed's `calm_deviation_ppm`.
    """
    if feed.calm_deviation_ppm == 0:
        return feed.deviation_ppm
    usual_ppm = isqrt(variance * feed.heartbeat_ms // 1_000) // PPB_OF_PPM
    return min(max(usual_ppm, feed.calm_deviation_ppm), feed.deviation_ppm)


def push_deviations_ppm(table: FeedTable, state: AgreedState) -> tuple[int, ...]:
    """Return the threshold of each feed in table order."""
    return tuple(
        push_deviation_ppm(feed, agreed.variance)
        for feed, agreed in zip(table.feeds, state.feeds, strict=True)
    )
