"""A source that repeats a price which the other venues of its pair have left does not count."""

import pytest

from feeds.frames import Price
from feeds.frozen import FrozenWatch
from feeds.source import Source

UNIT = 10**12
SECOND_NS = 10**9


class Market:
    def __init__(self, venues: int = 4) -> None:
        self.sources = [Source("BTC", "USD", "BTC-USD", 5000) for _ in range(venues)]
        self.watch = FrozenWatch(self.sources)
        self.now_ns = 0

    def say(self, index: int, middle: int, half_spread: int = 0) -> None:
        price = Price(
            "BTC-USD",
            middle * UNIT - half_spread * UNIT,
            middle * UNIT + half_spread * UNIT,
            sequence=self.now_ns,
        )
        self.sources[index].take(price, self.now_ns)

    def run(self, seconds: int, *moving: int, step: int, half_spread: int = 0) -> list[int]:
        """Let some venues move by a step each second, the others repeat theirs; who is frozen?"""
        found = []
        for _ in range(seconds):
            self.now_ns += SECOND_NS
            for index, source in enumerate(self.sources):
                newest = source.newest
                middle = 100_000 if newest is None else (newest.bid + newest.ask) // 2 // UNIT
                self.say(index, middle + (step if index in moving else 0), half_spread)
            for source, reason in self.watch.look(self.now_ns):
                assert "the same price for" in reason
                source.frozen = reason
                found.append(next(i for i, one in enumerate(self.sources) if one is source))
        return found


def test_one_that_stands_while_all_others_leave_it_is_found() -> None:
    market = Market()
    assert market.run(19, 0, 1, 2, step=10) == []
    assert market.run(10, 0, 1, 2, step=10) == [3]
    market.say(3, 100_300)
    assert market.sources[3].frozen is None
    assert market.run(5, 0, 1, 2, 3, step=10) == []


def test_a_market_that_rests_freezes_nobody() -> None:
    assert Market().run(120, step=0) == []


def test_moves_within_the_source_s_own_spread_freeze_nobody() -> None:
    assert Market().run(100, 0, 1, 2, step=1, half_spread=100) == []


@pytest.mark.parametrize("moving", [(0,), (0, 1)])
def test_a_minority_that_moves_does_not_freeze_the_rest(moving: tuple[int, ...]) -> None:
    found = Market(5).run(60, *moving, step=10)
    assert found == []


def test_two_venues_cannot_judge_each_other() -> None:
    assert Market(2).run(60, 0, step=10) == []


def test_venues_that_move_in_different_directions_freeze_nobody() -> None:
    market = Market(3)
    for _ in range(60):
        market.now_ns += SECOND_NS
        for index, step in enumerate((10, -10, 0)):
            newest = market.sources[index].newest
            middle = 100_000 if newest is None else (newest.bid + newest.ask) // 2 // UNIT
            market.say(index, middle + step)
        assert market.watch.look(market.now_ns) == []
