"""All sources of a feed table, kept alive in one asyncio task tree."""

import asyncio
import logging
import socket
from collections.abc import Callable, Mapping
from typing import NoReturn

import aiohttp

from aggregation.quote import RawQuote
from aggregation.table import FeedTable
from feeds.ccxt_poller import CcxtPoller
from feeds.ccxt_venue import PREFIX
from feeds.connect_budget import ConnectBudget
from feeds.connection import Connection
from feeds.frozen import FrozenWatch
from feeds.intake import Intake
from feeds.polling import Poller
from feeds.source import Sink, Source, SourceHealth, SourceKey
from feeds.supervision import Supervision
from feeds.venue import Venue, VenueEndpoint
from feeds.venues import VENUES, find_venue

_CLOCKS_MIN = 3
_RECEIVE_BYTES = 128 * 1024
_LOG = logging.getLogger(__name__)


class FeedService:
    """Streams the quotes of every source of a feed table into a sink, which keeps the newest.

    `endpoints` replaces the exchanges' own addresses by venue name. `withdraw` is told of a source
    whose newest quote must not be used any more; `on_socket` is shown each new socket before it
    connects. Raises ValueError for a venue that is not known.
    """

    def __init__(
        self,
        table: FeedTable,
        endpoints: Mapping[str, VenueEndpoint],
        sink: Sink,
        supervision: Supervision | None = None,
        withdraw: Callable[[SourceKey], None] = lambda _key: None,
        on_socket: Callable[[socket.socket], None] = lambda _socket: None,
    ) -> None:
        self._sink = sink
        self._on_socket = on_socket
        self._supervision = supervision or Supervision()
        unknown = sorted(name for name in endpoints if find_venue(name) is None)
        if unknown:
            raise ValueError(
                f"endpoint for unknown venue {unknown[0]!r}: known are {', '.join(VENUES)}"
            )
        self._intakes: list[Intake] = []
        self._connections: list[Connection] = []
        self._pollers: list[Poller | CcxtPoller] = []
        for name, (venue, sources) in _sources_by_venue(table).items():
            intake = Intake(venue, sources, self._deliver, withdraw, self._supervision)
            self._intakes.append(intake)
            self._attend(intake, endpoints.get(name, venue.endpoint))
        self._owners = [
            (intake, one) for intake in self._intakes for one in intake.sources.values()
        ]

    def _attend(self, intake: Intake, endpoint: VenueEndpoint) -> None:
        """Make a venue's connections, as many as it needs for all its sources, and its poller."""
        venue, symbols = intake.venue, list(intake.sources)
        if venue.name.startswith(PREFIX):
            self._pollers.append(CcxtPoller(endpoint.rest_url, intake, self._supervision))
            return
        budget = ConnectBudget(venue.connect_limit)
        for first in range(0, len(symbols), venue.pairs_per_connection):
            carried = symbols[first : first + venue.pairs_per_connection]
            self._connections.append(
                Connection(endpoint, carried, intake, budget, self._supervision)
            )
        if venue.rest is not None and endpoint.rest_url is not None:
            self._pollers.append(Poller(venue.rest, endpoint.rest_url, intake, self._supervision))

    async def run(self) -> NoReturn:
        """Connect to all venues and deliver quotes until cancelled."""
        async with (
            aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(socket_factory=self._socket, limit=0),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"User-Agent": "didyma"},
            ) as session,
            asyncio.TaskGroup() as tasks,
        ):
            for connection in self._connections:
                tasks.create_task(connection.run(session))
            for poller in self._pollers:
                tasks.create_task(poller.run(session))
            await self._watch()
        raise AssertionError("connections are kept for ever")

    async def _watch(self) -> NoReturn:
        """Look for sources that stand still while the market moves."""
        watch = FrozenWatch([source for _, source in self._owners])
        intakes = {id(source): intake for intake, source in self._owners}
        while True:
            await asyncio.sleep(self._supervision.limits.check_every_s)
            for source, reason in watch.look(self._supervision.monotonic_ns()):
                intake = intakes[id(source)]
                _LOG.warning(
                    "%s: %s/%s is frozen: %s",
                    intake.venue.name, source.base, source.quote, reason,
                )  # fmt: skip
                intake.freeze(source, reason)

    def _socket(self, info: aiohttp.AddrInfoType) -> socket.socket:
        family, kind, protocol, *_ = info
        made = socket.socket(family, kind, protocol)
        # Whoever falls behind should notice, and so should the exchange: what waits in a large
        # buffer are old prices.
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BYTES)
        self._on_socket(made)
        return made

    def health(self) -> list[SourceHealth]:
        """Return a snapshot of every source, by venue and pair; any thread may ask."""
        now_ns = self._supervision.monotonic_ns()
        return [snapshot for intake in self._intakes for snapshot in intake.health(now_ns)]

    def clock_offset_ms(self) -> int | None:
        """Return how far the exchanges' clocks are ahead: the median of three venues or more.

        Below zero it is their lag, or a clock of ours that is fast.
        """
        known = [one.clock.offset_ms for one in self._intakes if one.clock.offset_ms is not None]
        if len(known) < _CLOCKS_MIN:
            return None
        return sorted(known)[len(known) // 2]

    def _deliver(self, quote: RawQuote) -> None:
        try:
            self._sink(quote)
        except Exception:
            # A newer quote will come anyway; the exchange that it came from is not at fault.
            _LOG.exception("the taker of quotes failed; a quote of %s is lost", quote.venue)


def _sources_by_venue(table: FeedTable) -> dict[str, tuple[Venue, list[Source]]]:
    """Return one record per (venue, pair), with the most generous age limit of its users."""
    ages_ms: dict[SourceKey, int] = {}
    for feed in table.feeds:
        for spec in feed.sources:
            key = (spec.venue, spec.base, spec.quote)
            ages_ms[key] = max(spec.max_age_ms, ages_ms.get(key, 0))
    by_venue: dict[str, tuple[Venue, list[Source]]] = {}
    for (name, base, quote), age_ms in sorted(ages_ms.items()):
        venue = find_venue(name)
        if venue is None:
            raise ValueError(f"{base}/{quote} at {name!r}: known venues are {', '.join(VENUES)}")
        _, sources = by_venue.setdefault(name, (venue, []))
        sources.append(Source(base, quote, venue.symbol(base, quote), age_ms))
    return by_venue
