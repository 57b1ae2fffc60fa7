"""What becomes of prices: news is handed over, and a newer price is never displaced."""

from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggregation.quote import RawQuote
from feeds.frames import Price
from feeds.intake import Intake, Outcome, Stream
from feeds.source import Source, SourceKey, SourceState
from feeds.supervision import Limits, Supervision
from feeds.venues import VENUES

UNIT = 10**12
SECOND_NS = 10**9
NOW_MS = 1_786_562_942_000


class Desk:
    """An intake of one venue for BTC/USD, with a clock that tests move."""

    def __init__(self, venue: str = "kraken", *, past_max_ms: int = 10**15) -> None:
        self.taken: list[RawQuote] = []
        self.withdrawn: list[SourceKey] = []
        self.now_ns = SECOND_NS
        self.symbol = VENUES[venue].symbol("BTC", "USD")
        self.source = Source("BTC", "USD", self.symbol, 5000)
        supervision = Supervision(
            monotonic_ns=lambda: self.now_ns,
            unix_ms=lambda: NOW_MS + self.now_ns // 10**6,
            rng=Random(1),
            limits=Limits(past_max_ms=past_max_ms),
        )
        self.intake = Intake(
            VENUES[venue], [self.source], self.taken.append, self.withdrawn.append, supervision
        )
        self.stream = self.open()

    def open(self, *, overlaps: bool = False) -> Stream:
        return self.intake.stream([self.symbol], overlaps=overlaps)

    def price(
        self,
        bid: int,
        time_ms: int | None = None,
        sequence: int | None = None,
        last: int | None = None,
    ) -> Price:
        return Price(self.symbol, bid * UNIT, (bid + 1) * UNIT, last, time_ms, sequence)

    def take(self, price: Price, stream: Stream | None = None) -> Outcome:
        return self.intake.take(price, stream or self.stream, self.now_ns)

    def poll(self, price: Price, *, asked_s_ago: float = 0.1, step_ms: int = 1) -> Outcome:
        asked_ns = self.now_ns - round(asked_s_ago * SECOND_NS)
        return self.intake.take_polled(price, asked_ns, step_ms, self.now_ns)

    @property
    def bids(self) -> list[int]:
        return [quote.bid // UNIT for quote in self.taken]


def test_while_two_connections_overlap_the_older_delivers_until_the_newer_has_caught_up() -> None:
    desk = Desk()
    assert desk.take(desk.price(10, 100)) is Outcome.TAKEN
    successor = desk.open(overlaps=True)
    assert desk.take(desk.price(9, 50), successor) is Outcome.OVERTAKEN
    assert not successor.replaces_all
    assert desk.take(desk.price(11, 110)) is Outcome.TAKEN
    assert desk.take(desk.price(12, 120), successor) is Outcome.TAKEN
    assert successor.replaces_all
    assert desk.take(desk.price(13, 130)) is Outcome.OVERTAKEN
    assert desk.bids == [10, 11, 12]


def test_a_connection_that_takes_over_with_the_same_book_makes_nothing_younger() -> None:
    desk = Desk("binance")
    desk.take(desk.price(10, sequence=7))
    desk.now_ns += 3 * SECOND_NS
    successor = desk.open(overlaps=True)
    assert desk.take(desk.price(10, sequence=7), successor) is Outcome.REPEATED
    assert successor.replaces_all
    assert desk.source.age_ms(desk.now_ns) == 3000
    assert desk.bids == [10]


def test_sequences_of_a_new_connection_may_count_from_anew() -> None:
    desk = Desk("binance")
    desk.take(desk.price(10, sequence=1000))
    assert desk.take(desk.price(11, sequence=1), desk.open()) is Outcome.TAKEN


def test_a_polled_price_fills_a_gap_and_a_pushed_one_ends_it() -> None:
    desk = Desk()
    desk.take(desk.price(10, NOW_MS))
    desk.source.standing = (SourceState.WAITING, "connection lost")
    desk.now_ns += 2 * SECOND_NS
    assert desk.source.wants_poll(desk.now_ns)
    assert desk.poll(desk.price(11, NOW_MS + 2000)) is Outcome.TAKEN
    state, reason, _ = desk.source.seen(desk.now_ns)
    assert (state, reason) == (SourceState.POLLED, "prices by REST, because: connection lost")
    assert desk.take(desk.price(9, NOW_MS + 1000), desk.open()) is Outcome.OVERTAKEN
    assert desk.take(desk.price(12, NOW_MS + 2500), desk.open()) is Outcome.TAKEN
    assert desk.source.seen(desk.now_ns)[0] is SourceState.LIVE
    assert desk.bids == [10, 11, 12]
    assert {(quote.venue, quote.base, quote.quote) for quote in desk.taken} == {
        ("kraken", "BTC", "USD")
    }


def test_a_polled_price_never_displaces_a_newer_pushed_one() -> None:
    desk = Desk()
    desk.take(desk.price(10, NOW_MS + 900))
    assert desk.poll(desk.price(9, NOW_MS + 950)) is Outcome.OVERTAKEN, "pushed after the asking"
    desk.now_ns += SECOND_NS
    assert desk.poll(desk.price(9, NOW_MS + 899)) is Outcome.OVERTAKEN, "older by its time"
    assert desk.poll(desk.price(9, NOW_MS), step_ms=1000) is Outcome.TAKEN, "times in seconds"


def test_a_poll_that_finds_the_same_book_makes_nothing_younger() -> None:
    desk = Desk("binance")
    desk.take(desk.price(10, sequence=3))
    desk.now_ns += 4 * SECOND_NS
    assert desk.poll(desk.price(10)) is Outcome.REPEATED
    assert desk.source.age_ms(desk.now_ns) == 4000
    assert desk.poll(desk.price(11)) is Outcome.TAKEN


def test_a_polled_trade_is_of_unknown_age() -> None:
    desk = Desk("coinbase_exchange")
    desk.take(desk.price(10, NOW_MS, 1, last=10 * UNIT))
    desk.now_ns += 9 * SECOND_NS
    desk.poll(desk.price(20, NOW_MS + 9000, last=15 * UNIT))
    assert [quote.last for quote in desk.taken] == [10 * UNIT, None]


def test_a_connection_that_is_held_back_does_not_count_until_its_stamps_are_new_again() -> None:
    desk = Desk(past_max_ms=60_000)
    assert desk.take(desk.price(10, NOW_MS)) is Outcome.TAKEN
    # Ever new prices, of half an hour ago: alive, in order, and worth nothing.
    for count in range(1, 4):
        desk.now_ns += SECOND_NS
        desk.take(desk.price(10 + count, NOW_MS + 1000 * count))
    late = Desk(past_max_ms=60_000)
    for count in range(4):
        late.now_ns += SECOND_NS
        late.take(late.price(10 + count, NOW_MS + 1000 * count - 1_800_000))
    assert desk.bids == [10, 11, 12, 13]
    assert late.bids == []
    assert late.withdrawn == [("kraken", "BTC", "USD")]
    state, reason, _ = late.source.seen(late.now_ns)
    assert state is SourceState.STALE
    assert "1802 s after the exchange's own stamp" in reason
    # REST tells how the book stands at the moment of asking.
    late.now_ns += SECOND_NS
    assert late.poll(late.price(20, NOW_MS - 600_000)) is Outcome.TAKEN
    assert late.source.seen(late.now_ns)[0] is SourceState.POLLED
    late.now_ns += SECOND_NS
    assert late.take(late.price(21, NOW_MS + late.now_ns // 10**6)) is Outcome.TAKEN
    assert late.source.seen(late.now_ns)[0] is SourceState.LIVE
    assert late.bids == [20, 21]


def test_a_clock_that_leads_steadily_is_learnt_and_one_stamp_from_the_future_is_not() -> None:
    desk = Desk()
    assert desk.take(desk.price(10, NOW_MS + 1000)) is Outcome.TAKEN
    refused = 0
    for count in range(1, 60):
        desk.now_ns += SECOND_NS // 5
        stamp_ms = NOW_MS + desk.now_ns // 10**6 + 3000
        try:
            desk.take(desk.price(10 + count, stamp_ms))
        except ValueError:
            refused += 1
    assert 10 < refused < 30
    assert desk.intake.clock.offset_ms == 3000
    assert desk.taken[-1].exchange_time_ms == NOW_MS + desk.now_ns // 10**6
    with pytest.raises(ValueError, match="2001 ms in the future"):
        desk.take(desk.price(99, NOW_MS + desk.now_ns // 10**6 + 5001))


def test_a_clock_that_leads_by_far_stays_refused() -> None:
    desk = Desk()
    for _ in range(100):
        desk.now_ns += SECOND_NS // 5
        with pytest.raises(ValueError, match="in the future"):
            desk.take(desk.price(10, NOW_MS + desk.now_ns // 10**6 + 60_000))
    assert desk.intake.clock.offset_ms == 60_000
    assert not desk.taken


def test_a_stamp_from_the_future_does_not_put_what_follows_out_of_order() -> None:
    desk = Desk()
    with pytest.raises(ValueError, match="in the future"):
        desk.take(desk.price(10, NOW_MS + 99_000))
    assert desk.take(desk.price(11, NOW_MS)) is Outcome.TAKEN


def test_a_halted_or_frozen_source_is_withdrawn_until_its_book_is_another() -> None:
    desk = Desk("binance")
    desk.take(desk.price(10, sequence=1))
    desk.intake.freeze(desk.source, "the same price for 20 s")
    assert desk.withdrawn == [("binance", "BTC", "USD")]
    desk.take(desk.price(10, sequence=2))
    assert desk.bids == [10]
    assert desk.source.seen(desk.now_ns)[:2] == (SourceState.FROZEN, "the same price for 20 s")
    desk.take(desk.price(11, sequence=3))
    assert desk.bids == [10, 11]
    assert desk.source.seen(desk.now_ns)[0] is SourceState.LIVE
    desk.intake.halt(desk.source, "maintenance")
    assert len(desk.withdrawn) == 2
    assert not desk.source.wants_poll(desk.now_ns + 10 * SECOND_NS)


steps = st.lists(
    st.tuples(
        st.sampled_from(["old", "new", "poll"]),
        st.integers(0, 40),  # the exchange's time
        st.integers(1, 9),  # the price
        st.integers(0, 3),  # seconds that pass
    ),
    max_size=40,
)


@given(steps)
def test_whatever_comes_by_whichever_way_what_is_handed_over_never_goes_back(
    script: list[tuple[str, int, int, int]],
) -> None:
    desk = Desk()
    streams = {"old": desk.stream, "new": desk.open(overlaps=True)}
    for way, time_ms, bid, passed_s in script:
        desk.now_ns += passed_s * SECOND_NS + 1
        price = replace(desk.price(bid), exchange_time_ms=NOW_MS + time_ms)
        try:
            if way == "poll":
                desk.poll(price, asked_s_ago=0)
            else:
                desk.take(price, streams[way])
        except ValueError as error:
            if "out of order" not in str(error):
                raise
    times = [quote.exchange_time_ms for quote in desk.taken]
    assert times == sorted(times, key=lambda time: time or 0)
    arrivals = [quote.received_ns for quote in desk.taken]
    assert arrivals == sorted(arrivals)
