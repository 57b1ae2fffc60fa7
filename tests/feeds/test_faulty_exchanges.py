"""Every exchange with every fault, as our sources see it: nothing wrong is taken for a price.

A fault of prices that a single venue cannot be convicted of (a lie, swapped symbols) is for
`aggregation` to outvote; here it arrives as it was said.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from random import Random
from typing import Any

import aiohttp
import pytest

from aggregation.quote import RawQuote
from aggregation.table import FeedTable
from feeds.backoff import Backoff
from feeds.catalogue import load_catalogue
from feeds.service import FeedService
from feeds.source import SourceHealth, SourceState
from feeds.supervision import Limits, Supervision
from feeds.venue import VenueEndpoint
from testnet.exchanges.simulator import Simulation, simulated_exchanges
from testnet.market import Market

Key = tuple[str, str, str]

ONE = 10**12
PPM = 1_000_000
NEAR_PPM = 1_500
BASES = ("BTC", "ETH", "SOL", "USDT")
TABLE = FeedTable(tuple(feed for feed in load_catalogue().feeds if feed.base in BASES))
KEYS = {source.key for feed in TABLE.feeds for source in feed.sources}
NAMES = sorted({venue for venue, _, _ in KEYS})
TELL_NO_TIME = ("binance", "bitfinex")
SLOW = pytest.mark.slow


@dataclass
class Trial:
    """All exchanges, a service that listens to them, and what it handed over since it was asked."""

    market: Market
    simulation: Simulation
    service: FeedService | None = None
    quotes: list[RawQuote] = field(default_factory=list)

    def sink(self, quote: RawQuote) -> None:
        self.quotes.append(quote)

    def error_ppm(self, quote: RawQuote, base: str = "") -> int:
        """Return how far a quote is from the market's middle of now."""
        now_ms = time.time_ns() // 1_000_000
        middle = self.market.middle(base or quote.base, now_ms)
        if quote.quote != "USD":
            middle = middle * ONE // self.market.middle(quote.quote, now_ms)
        return abs((quote.bid + quote.ask) // 2 - middle) * PPM // middle

    def health(self, name: str) -> list[SourceHealth]:
        assert self.service is not None
        return [one for one in self.service.health() if one.venue == name]

    def all_health(self) -> list[SourceHealth]:
        assert self.service is not None
        return self.service.health()

    async def order_all(self, **fault: object) -> None:
        async with aiohttp.ClientSession() as session:
            for name in NAMES:
                order = {"venue": name, **fault}
                async with session.post(self.simulation.control_url, json=order) as answer:
                    assert answer.status == 200, await answer.text()

    async def until(self, condition: Callable[[], object], within_s: float = 40) -> None:
        try:
            async with asyncio.timeout(within_s):
                while True:
                    if condition():
                        return
                    await asyncio.sleep(0.01)
        except TimeoutError:
            shown = [(one.venue, one.base, one.state, one.reason) for one in self.all_health()]
            raise AssertionError(f"still not so after {within_s} s: {shown}") from None

    async def all_deliver(self) -> None:
        """Wait until every source has delivered anew, near the market."""
        self.quotes.clear()
        await self.until(lambda: {(q.venue, q.base, q.quote) for q in self.quotes} == KEYS)
        await self.until(lambda: all(one.state is SourceState.LIVE for one in self.all_health()))


@asynccontextmanager
async def trial(limits: Limits) -> AsyncIterator[Trial]:
    market = Market(seed=5, origin_ms=time.time_ns() // 1_000_000)
    async with simulated_exchanges(market, rate=800, clients=1_000, bases=BASES) as simulation:
        held = Trial(market, simulation)
        endpoints = {
            name: VenueEndpoint(endpoint.ws_url, endpoint.rest_url)
            for name, endpoint in simulation.endpoints.items()
        }
        supervision = Supervision(limits, rng=Random(2))
        held.service = FeedService(TABLE, endpoints, held.sink, supervision=supervision)
        task = asyncio.create_task(held.service.run())
        try:
            yield held
            assert not task.done()
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


# No exchange's budget of connects is spent by what these trials last.
PATIENT = Limits(backoff=Backoff(0.7, 1.0))


def held_trial(of: Callable[[Trial], Awaitable[None]], limits: Limits = PATIENT) -> None:
    async def main() -> None:
        async with trial(limits) as held:
            await held.all_deliver()
            await of(held)

    asyncio.run(main())


@pytest.mark.parametrize(
    "fault", ["garbage", "types", "cut", *(pytest.param(f, marks=SLOW) for f in ("loss", "huge"))]
)
def test_damaged_frames_make_no_price(fault: str) -> None:
    async def of(held: Trial) -> None:
        before = {one.venue: one for one in held.all_health()}
        await held.order_all(fault=fault)
        await held.until(lambda: all(marked(held.health(name)[0], before[name]) for name in NAMES))
        errors = {(q.venue, q.base): held.error_ppm(q) for q in held.quotes if usable(q)}
        assert max(errors.values()) < NEAR_PPM, errors
        await held.order_all(fault="none")
        await held.all_deliver()

    def marked(now: SourceHealth, before: SourceHealth) -> bool:
        if fault in ("cut", "huge"):
            return now.last_loss != before.last_loss
        if fault == "loss":
            # Only one exchange counts what it sends.
            return now.venue != "coinbase_advanced" or now.faults > before.faults
        return now.faults > before.faults

    def usable(quote: RawQuote) -> bool:
        return 0 < quote.bid <= quote.ask < 2 * quote.bid

    held_trial(of)


def test_a_slow_handshake_is_given_up_and_tried_again() -> None:
    async def of(held: Trial) -> None:
        await held.order_all(fault="disconnect", seconds=0.1)
        await held.order_all(fault="slow", ms=1_500)
        await held.until(
            lambda: all(
                "within 0.5 s" in one.last_loss or "within 0.5 s" in one.reason
                for one in held.all_health()
            )
        )
        await held.order_all(fault="none")
        await held.all_deliver()

    held_trial(of, Limits(handshake_s=0.5, answer_s=0.5, backoff=Backoff(0.7, 1.0)))


@pytest.mark.parametrize("status", [429, *(pytest.param(s, marks=SLOW) for s in (403, 418))])
def test_an_exchange_that_refuses_for_a_while_is_tried_again(status: int) -> None:
    async def of(held: Trial) -> None:
        await held.order_all(fault="disconnect", seconds=0.1)
        await held.order_all(fault="limit", status=status, retry_after_s=2)
        await held.until(
            lambda: all(f"HTTP status {status}" in one.last_loss for one in held.all_health())
        )
        await held.order_all(fault="none")
        await held.all_deliver()

    held_trial(of)


def test_stamps_of_the_future_are_refused_and_of_the_past_are_not() -> None:
    async def of(held: Trial) -> None:
        await held.order_all(fault="skew", ms=60_000)
        await asyncio.sleep(0.3)
        held.quotes.clear()
        await held.until(
            lambda: all(
                one.faults > 0 for one in held.all_health() if one.venue not in TELL_NO_TIME
            )
        )
        assert {quote.venue for quote in held.quotes} <= set(TELL_NO_TIME)
        await held.order_all(fault="none")
        await held.all_deliver()
        await held.order_all(fault="skew", ms=-30)
        await held.all_deliver()

    held_trial(of)


@SLOW
def test_a_stream_that_lags_is_still_in_order() -> None:
    async def of(held: Trial) -> None:
        faults = {one.venue: one.faults for one in held.all_health()}
        await held.order_all(fault="lag", ms=1_000)
        await asyncio.sleep(0.3)
        await held.all_deliver()
        now_ms = time.time_ns() // 1_000_000
        for quote in held.quotes[-20:]:
            if quote.exchange_time_ms is not None:
                assert now_ms - quote.exchange_time_ms >= 950
        assert {one.venue: one.faults for one in held.all_health()} == faults

    held_trial(of)


LIES: dict[str, dict[str, Any]] = {
    "constant": {"factor": 1.2},
    "drift": {"factor": 1.2, "ms": 1_500},
    "spike": {"factor": 1.2, "ms": 1_000},
}


@pytest.mark.parametrize(
    "mode", ["constant", *(pytest.param(mode, marks=SLOW) for mode in ("drift", "spike"))]
)
def test_a_lie_arrives_as_it_is_told(mode: str) -> None:
    async def of(held: Trial) -> None:
        held.quotes.clear()
        await held.order_all(fault="lie", mode=mode, **LIES[mode])
        told: dict[str, list[int]] = {name: [] for name in NAMES}

        def all_told() -> bool:
            for quote in held.quotes:
                told[quote.venue].append(held.error_ppm(quote))
            held.quotes.clear()
            return all(is_told(errors) for errors in told.values())

        await held.until(all_told)

    def is_told(errors: list[int]) -> bool:
        lies = sum(abs(error - 200_000) < 2_000 for error in errors)
        honest = sum(error < NEAR_PPM for error in errors)
        between = len(errors) - lies - honest
        if mode == "constant":
            return lies > 5
        return lies > 3 and (between > 3 if mode == "drift" else honest > 3)

    held_trial(of)


def test_a_crossed_book_arrives_crossed() -> None:
    async def of(held: Trial) -> None:
        await held.order_all(fault="crossed")
        await asyncio.sleep(0.3)
        await held.all_deliver()
        assert all(quote.bid > quote.ask for quote in held.quotes)

    held_trial(of)


@SLOW
def test_swapped_symbols_bear_the_prices_of_others() -> None:
    async def of(held: Trial) -> None:
        await held.order_all(fault="swap")
        await asyncio.sleep(0.3)
        await held.all_deliver()
        for quote in held.quotes[-100:]:
            assert held.error_ppm(quote) > NEAR_PPM
            assert min(held.error_ppm(quote, base) for base in BASES) < 5_000

    held_trial(of)


def test_who_is_shut_out_stays_away_for_ten_minutes() -> None:
    async def of(held: Trial) -> None:
        await held.order_all(fault="disconnect", seconds=0.1)
        await held.order_all(fault="limit", status=403)
        await held.until(
            lambda: (
                all("next try in" in one.reason for one in held.health("bybit"))
                and all("HTTP status 403" in one.last_loss for one in held.health("bybit"))
            )
        )
        assert all("next try in 600.0 s" in one.reason for one in held.health("bybit"))
        await held.until(lambda: "HTTP status 403" in held.health("kraken")[0].last_loss)
        assert all("next try in 600.0 s" not in one.reason for one in held.health("kraken"))

    held_trial(of)
