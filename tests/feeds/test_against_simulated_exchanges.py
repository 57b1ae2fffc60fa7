"""The whole catalogue against the simulated exchanges, which speak the real wire formats."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
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
from feeds.source import SourceState
from feeds.supervision import Limits, Supervision
from feeds.venue import VenueEndpoint
from testnet.exchanges.simulator import Simulation, simulated_exchanges
from testnet.market import Market

Key = tuple[str, str, str]

ONE = 10**12
PPM = 1_000_000
NEAR_PPM = 1_500

TELL_THE_BOOK_AT_ONCE = (
    *("coinbase_exchange", "coinbase_advanced", "kraken", "bitstamp", "okx", "bybit", "bitfinex"),
    *("cryptocom", "htx"),
)
"""A new subscription begins with the book at these."""

TELL_NO_TIME = ("binance", "bitfinex")
TELL_NO_SEQUENCE = ("kraken", "bitstamp", "bitfinex", "cryptocom")

KEYS = {source.key for feed in load_catalogue().feeds for source in feed.sources}


@dataclass
class Trial:
    """Simulated exchanges, a service that listens to them, and what it handed over."""

    market: Market
    simulation: Simulation
    quotes: dict[Key, RawQuote] = field(default_factory=dict)
    errors_ppm: dict[Key, int] = field(default_factory=dict)

    def sink(self, quote: RawQuote) -> None:
        now_ms = time.time_ns() // 1_000_000
        key = (quote.venue, quote.base, quote.quote)
        middle = self.market.middle(quote.base, now_ms)
        if quote.quote != "USD":
            middle = middle * ONE // self.market.middle(quote.quote, now_ms)
        seen = (quote.bid + quote.ask) // 2
        error_ppm = abs(seen - middle) * PPM // middle
        self.errors_ppm[key] = max(error_ppm, self.errors_ppm.get(key, 0))
        self.quotes[key] = quote

    async def order(self, **fault: object) -> None:
        async with (
            aiohttp.ClientSession() as session,
            session.post(self.simulation.control_url, json=fault) as answer,
        ):
            assert answer.status == 200, await answer.text()


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(30):
        while True:
            if condition():
                return
            await asyncio.sleep(0.01)


@asynccontextmanager
async def trial(
    table: FeedTable | None = None, *, without_ws: bool = False
) -> AsyncIterator[tuple[Trial, FeedService]]:
    market = Market(seed=3, origin_ms=time.time_ns() // 1_000_000)
    async with simulated_exchanges(market) as simulation:
        held = Trial(market, simulation)
        endpoints = {
            # Nobody listens on port 1.
            name: VenueEndpoint(
                "ws://127.0.0.1:1/" if without_ws else endpoint.ws_url, endpoint.rest_url
            )
            for name, endpoint in simulation.endpoints.items()
        }
        limits = Limits(backoff=Backoff(0.2, 0.4), poll_first_s=0)
        supervision = Supervision(limits, rng=Random(2))
        service = FeedService(table or load_catalogue(), endpoints, held.sink, supervision)
        task = asyncio.create_task(service.run())
        try:
            yield held, service
            assert not task.done()
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


def test_every_source_of_the_catalogue_delivers_near_the_market_s_middle() -> None:
    async def main() -> None:
        async with trial() as (held, service):
            await until(lambda: set(held.quotes) == KEYS)
            await until(lambda: all(one.quotes >= 5 for one in service.health()))
            assert max(held.errors_ppm.values()) < NEAR_PPM, held.errors_ppm
            for health in service.health():
                assert health.state is SourceState.LIVE
                assert (health.faults, health.reconnects) == (0, 0), health
            for (venue, _, _), quote in held.quotes.items():
                assert 0 < quote.bid < quote.ask
                assert (quote.exchange_time_ms is None) == (venue in TELL_NO_TIME)
                assert (quote.last is not None) == venue.startswith("coinbase")
                assert (quote.sequence is None) == (venue in TELL_NO_SEQUENCE)

    asyncio.run(main())


def test_without_websockets_every_source_is_polled_and_stays_near_the_market() -> None:
    async def main() -> None:
        # A few feeds: at the limits of the exchanges, all would take a while.
        some = ("BTC/USD", "USDT/USD", "USDC/USD")
        table = FeedTable(tuple(feed for feed in load_catalogue().feeds if feed.pair in some))
        keys = {source.key for feed in table.feeds for source in feed.sources}
        async with trial(table, without_ws=True) as (held, service):
            # This one says by REST where its WebSocket is, so that it cannot be led astray here.
            polled = {key for key in keys if key[0] != "kucoin"}
            await until(lambda: set(held.quotes) >= polled)
            assert max(held.errors_ppm.values()) < NEAR_PPM, held.errors_ppm
            for health in service.health():
                if health.venue != "kucoin":
                    assert health.polled == health.quotes > 0
                    assert "cannot connect to ws://127.0.0.1:1/" in health.last_loss
                    assert health.state in (SourceState.POLLED, SourceState.WAITING)
            assert all(quote.last is None for quote in held.quotes.values())

    asyncio.run(main())


@pytest.mark.parametrize("notice", [False, True])
def test_an_outage_of_all_exchanges_is_survived(notice: bool) -> None:
    async def main() -> None:
        async with trial() as (held, service):
            await until(lambda: set(held.quotes) == KEYS)
            for name in held.simulation.venues:
                await held.order(venue=name, fault="disconnect", seconds=0.3, notice=notice)
            await until(lambda: all(one.reconnects for one in service.health()))
            held.quotes.clear()
            await until(lambda: set(held.quotes) == KEYS)
            await until(lambda: all(one.state is SourceState.LIVE for one in service.health()))
            assert max(held.errors_ppm.values()) < NEAR_PPM

    asyncio.run(main())


def test_an_exchange_that_stands_still_does_not_look_alive_by_reconnecting() -> None:
    async def main() -> None:
        async with trial() as (held, service):
            await until(lambda: set(held.quotes) == KEYS)
            for name in held.simulation.venues:
                await held.order(venue=name, fault="freeze")
            await asyncio.sleep(0.2)
            last = dict(held.quotes)
            frames = {one.venue: one.frames for one in service.health()}
            for venue in held.simulation.venues.values():
                await venue.drop_all()
            await until(lambda: all(one.reconnects for one in service.health()))
            await until(
                lambda: all(
                    one.frames > frames[one.venue] + 3
                    for one in service.health()
                    if one.venue in TELL_THE_BOOK_AT_ONCE
                )
            )
            assert held.quotes == last

    asyncio.run(main())


QUICKER: dict[str, dict[str, object]] = {
    "binance": {"ping_every_s": 0.4, "pong_within_s": 0.4},
    "gate": {"ping_every_s": 0.4, "pong_within_s": 0.4},
    "htx": {"ping_every_s": 0.4},
    "cryptocom": {"heartbeat_s": 1.2, "answer_within_s": 0.4, "first_second_messages": 0},
    "kucoin": {"ping_every_s": 1.5, "ping_late_s": 1.0},
}
"""Exchanges that hang up on who does not answer, or is too early, in less time than usual."""


def test_what_an_exchange_demands_of_a_connection_is_done() -> None:
    async def main() -> None:
        async with trial() as (held, service):
            venues: dict[str, Any] = {name: held.simulation.venues[name] for name in QUICKER}
            await until(lambda: all(venue.sessions for venue in venues.values()))
            for name, venue in venues.items():
                for demand, value in QUICKER[name].items():
                    assert hasattr(venue, demand)
                    setattr(venue, demand, value)
            before = {name: venue.connections_total for name, venue in venues.items()}
            for venue in venues.values():
                await venue.drop_all()
            await until(
                lambda: all(v.connections_total > before[name] for name, v in venues.items())
            )
            held.quotes.clear()
            await until(lambda: set(held.quotes) == KEYS)
            await until(lambda: all(one.state is SourceState.LIVE for one in service.health()))
            connections = {name: venue.connections_total for name, venue in venues.items()}
            await asyncio.sleep(3.5)
            assert {name: v.connections_total for name, v in venues.items()} == connections
            for health in service.health():
                assert (health.state, health.faults) == (SourceState.LIVE, 0), health

    asyncio.run(main())
