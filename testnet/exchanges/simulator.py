"""All simulated exchanges in one process: their ports, and the control endpoint for faults."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import msgspec
from aiohttp import web

from testnet.exchanges.binance import Binance
from testnet.exchanges.bitfinex import Bitfinex
from testnet.exchanges.bitstamp import Bitstamp
from testnet.exchanges.bybit import Bybit
from testnet.exchanges.coinbase_advanced import CoinbaseAdvanced
from testnet.exchanges.coinbase_exchange import CoinbaseExchange
from testnet.exchanges.cryptocom import CryptoCom
from testnet.exchanges.faults import Fault, Kind
from testnet.exchanges.gate import Gate
from testnet.exchanges.gemini import Gemini
from testnet.exchanges.htx import Htx
from testnet.exchanges.kraken import Kraken
from testnet.exchanges.kucoin import Kucoin
from testnet.exchanges.mexc import Mexc
from testnet.exchanges.okx import Okx
from testnet.exchanges.server import Venue, json_response
from testnet.market import Depeg, Market

VENUES: dict[str, type[Venue]] = {
    venue.profile.venue: venue
    for venue in (
        *(CoinbaseExchange, CoinbaseAdvanced, Kraken, Bitstamp, Gemini, Bitfinex, CryptoCom),
        *(Binance, Okx, Bybit, Kucoin, Gate, Htx, Mexc),
    )
}
"""Every exchange that can be simulated, by name."""

DEFAULT_RATE = 400.0
MAX_RATE = 2_000.0

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a simulated exchange listens; the REST address is the part before the path."""

    ws_url: str
    rest_url: str


@dataclass(frozen=True, slots=True)
class Simulation:
    """Running exchanges."""

    venues: dict[str, Venue]
    endpoints: dict[str, Endpoint]
    control_url: str

    def description(self) -> dict[str, object]:
        """Return what the process prints when it is ready."""
        return {
            "venues": {
                name: {"ws_url": endpoint.ws_url, "rest_url": endpoint.rest_url}
                for name, endpoint in self.endpoints.items()
            },
            "control": self.control_url,
        }


@asynccontextmanager
async def simulated_exchanges(
    market: Market,
    *,
    host: str = "127.0.0.1",
    rate: float = DEFAULT_RATE,
    names: Sequence[str] = tuple(VENUES),
    clients: int = 1,
    bases: Collection[str] | None = None,
) -> AsyncIterator[Simulation]:
    """Run exchanges on ports of their own until the block is left.

    Args:
        market: what they quote around.
        host: a loopback address.
        rate: quotes a second, summed over all exchanges and pairs.
        names: which exchanges; their share of the rate is the same whoever else is there.
        bases: the assets whose pairs are traded, with all of the rate; all that are listed unless
            given.
        clients: how many share the address that they come from; each has its limits to itself.
    """
    pace_total = sum(venue.profile.pace for venue in VENUES.values())
    venues = {
        name: VENUES[name](market, rate * VENUES[name].profile.pace / pace_total) for name in names
    }
    for venue in venues.values():
        venue.clients = clients
        if bases is not None:
            venue.keep(bases)
    runners: list[web.AppRunner] = []
    try:
        endpoints = {}
        for name, venue in venues.items():
            port = await _listen(venue.application(), host, runners)
            path = venue.ws_paths[0]
            endpoints[name] = Endpoint(
                f"ws://{host}:{port}{'' if path == '/' else path}", f"http://{host}:{port}"
            )
        control = await _listen(_control(venues, market), host, runners)
        url = f"http://{host}:{control}/control"
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(venue.run()) for venue in venues.values()]
            try:
                yield Simulation(venues, endpoints, url)
            finally:
                for venue in venues.values():
                    for session in tuple(venue.sessions):
                        session.abort()
                for task in running:
                    task.cancel()
    finally:
        for runner in runners:
            await runner.cleanup()


async def _listen(app: web.Application, host: str, runners: list[web.AppRunner]) -> int:
    """Serve an application on a free port and return the port."""
    runner = web.AppRunner(app, handle_signals=False, access_log=None, shutdown_timeout=0.5)
    runners.append(runner)
    await runner.setup()
    site = web.TCPSite(runner, host, 0)
    await site.start()
    address = runner.addresses[0]
    return int(address[1])


class Fall(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An order to the market: an asset falls to `factor` of its worth within `over_ms`."""

    asset: str
    factor: float
    over_ms: int = 0


def _control(venues: dict[str, Venue], market: Market) -> web.Application:
    """Return the application that takes orders for faults and tells what is in force."""

    async def order(request: web.Request) -> web.Response:
        try:
            fault = msgspec.json.decode(await request.read(), type=Fault)
        except (ValueError, RecursionError) as error:
            return json_response({"error": str(error)}, 400)
        venue = venues.get(fault.venue)
        if venue is None:
            known = ", ".join(venues)
            return json_response({"error": f"unknown venue, choose one of {known}"}, 404)
        venue.order(fault)
        _LOG.info("%s: %s", venue.name, fault.fault)
        if fault.kind is Kind.DISCONNECT:
            await venue.drop_all()
        return json_response(_state(venue))

    async def depeg(request: web.Request) -> web.Response:
        at_ms = time.time_ns() // 1_000_000
        try:
            fall = msgspec.json.decode(await request.read(), type=Fall)
            market.depeg(Depeg(fall.asset, fall.factor, at_ms, fall.over_ms))
        except (ValueError, RecursionError) as error:
            return json_response({"error": str(error)}, 400)
        _LOG.info("%s falls to %g of its worth", fall.asset, fall.factor)
        return json_response({"asset": fall.asset, "at_ms": at_ms})

    async def show(request: web.Request) -> web.Response:
        return json_response({name: _state(venue) for name, venue in venues.items()})

    app = web.Application(client_max_size=4_096)
    app.router.add_post("/control", order)
    app.router.add_get("/control", show)
    app.router.add_post("/depeg", depeg)
    return app


def _state(venue: Venue) -> dict[str, object]:
    frames = venue.frames_total + sum(session.frames_sent for session in venue.sessions)
    return {
        "venue": venue.name,
        "fault": venue.fault.fault,
        "mode": venue.fault.manner,
        "factor": venue.fault.factor,
        "connections": len(venue.sessions),
        "connections_total": venue.connections_total,
        "frames_total": frames,
    }
