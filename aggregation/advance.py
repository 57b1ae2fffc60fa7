"""One block's observations onto the agreed state: what every member recomputes."""

from collections.abc import Sequence

from aggregation.agreed import agree, agreed_time_ms
from aggregation.breaker import next_feed_state
from aggregation.observation import Observation
from aggregation.price import TIME_MAX_MS
from aggregation.state import AgreedState
from aggregation.table import FeedTable


def advance(
    state: AgreedState,
    observations: Sequence[Observation],
    table: FeedTable,
    faulty_max: int,
    carry_ms: int,
) -> AgreedState:
    """Return the agreed state after a block with these observations, in any order.

    `state` is the one after the *justify* block. Raises `ValueError` unless at least 2f+1
    distinct members observed every feed of the table; no values in them can raise anything else.
    """
    _check(state, observations, table, faulty_max)
    times_ms = [observation.observed_at_ms for observation in observations]
    observed_at_ms = agreed_time_ms(times_ms, state.observed_at_ms)
    if observed_at_ms > TIME_MAX_MS:
        raise ValueError("the agreed time is out of range")
    columns = zip(*[observation.entries for observation in observations], strict=True)
    feeds = tuple(
        next_feed_state(before, agree(column, faulty_max), observed_at_ms, feed.breaker, carry_ms)
        for before, column, feed in zip(state.feeds, columns, table.feeds, strict=True)
    )
    return AgreedState(observed_at_ms, feeds)


def _check(
    state: AgreedState, observations: Sequence[Observation], table: FeedTable, faulty_max: int
) -> None:
    if len(state.feeds) != table.count:
        raise ValueError(f"the state has {len(state.feeds)} feeds, the table {table.count}")
    if len(observations) < 2 * faulty_max + 1:
        raise ValueError(
            f"{len(observations)} observations are fewer than {2 * faulty_max + 1}, the least that"
            f" outvote {faulty_max} faulty members"
        )
    if len({observation.member for observation in observations}) != len(observations):
        raise ValueError("a member observed twice")
    for observation in observations:
        if len(observation.entries) != table.count:
            raise ValueError(
                f"member {observation.member} observed {len(observation.entries)} feeds of"
                f" {table.count}"
            )
