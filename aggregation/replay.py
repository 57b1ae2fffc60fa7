"""The whole way from quotes to agreed answers, without a network: to try parameters and explain.

Pure: whoever replays brings quotes and times, of one member or of several.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from aggregation.advance import advance
from aggregation.member import MemberPrice, member_prices
from aggregation.memory import PriceMemory
from aggregation.observation import Observation
from aggregation.quote import NS_OF_MS, RawQuote
from aggregation.sources import SourceKey
from aggregation.state import AgreedState, genesis_state
from aggregation.table import FeedTable

View = Mapping[SourceKey, RawQuote]
"""The newest quote of each source, as one member has it."""


@dataclass(frozen=True, slots=True)
class Moment:
    """What was agreed in one round, and each member's prices in table order."""

    state: AgreedState
    prices: tuple[Sequence[MemberPrice], ...]


class Replay:
    """A committee that agrees on whatever its members see; all of them are correct and present.

    `received_ns` of the quotes counts on the clock of the rounds: Unix time in nanoseconds.
    """

    def __init__(self, table: FeedTable, begin_ms: int, members: int = 1, carry_ms: int = 3_000):
        self._table = table
        self._faulty_max = (members - 1) // 3
        self._carry_ms = carry_ms
        self._memories = [PriceMemory(table) for _ in range(members)]
        self.moment = Moment(genesis_state(table, begin_ms), ((),) * members)

    def round(self, now_ms: int, views: Sequence[View]) -> Moment:
        """Let each member observe its view at a time (Unix ms), and agree."""
        now_ns = now_ms * NS_OF_MS
        prices = tuple(
            member_prices(self._table, view, now_ns, unix_ms=now_ms, before=before, memory=memory)
            for view, before, memory in zip(views, self.moment.prices, self._memories, strict=True)
        )
        observations = [
            Observation(member, now_ms, tuple(price.entry for price in seen))
            for member, seen in enumerate(prices)
        ]
        state = advance(
            self.moment.state, observations, self._table, self._faulty_max, self._carry_ms
        )
        self.moment = Moment(state, prices)
        return self.moment

    def back_to(self, moment: Moment) -> None:
        """Go on from an earlier moment."""
        self.moment = moment
