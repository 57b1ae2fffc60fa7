"""One venue's supervised connection: opened, kept, lost, and opened again, for ever."""

import asyncio
import logging
from collections.abc import Iterable
from contextlib import suppress
from typing import NoReturn

import aiohttp

from feeds.connect_budget import ConnectBudget
from feeds.frames import told
from feeds.http import Unanswered, fetch, retry_after_s
from feeds.link import ConnectionLost, Link, Traffic
from feeds.rest import Opening
from feeds.source import Sink, Source, SourceHealth, SourceState
from feeds.supervision import Supervision
from feeds.venue import Venue, VenueEndpoint

_NS_PER_S = 1_000_000_000
_LOG = logging.getLogger(__name__)


class Connection:
    """One connection of a venue, with all pairs of `sources`; the venue's share a budget."""

    def __init__(
        self,
        venue: Venue,
        endpoint: VenueEndpoint,
        sources: Iterable[Source],
        sink: Sink,
        budget: ConnectBudget,
        supervision: Supervision,
    ) -> None:
        self._venue = venue
        self._endpoint = endpoint
        self._budget = budget
        self._sources = {source.symbol: source for source in sources}
        self._sink = sink
        self._supervision = supervision
        self._traffic = Traffic()

    async def run(self, session: aiohttp.ClientSession) -> NoReturn:
        """Keep the venue connected until cancelled; nothing an exchange does ends this."""
        limits = self._supervision.limits
        failures = 0
        while True:
            opened_ns = self._supervision.monotonic_ns()
            lost = await self._live_once(session)
            lived_ns = self._supervision.monotonic_ns() - opened_ns
            failures = 0 if lived_ns >= limits.stable_s * _NS_PER_S else failures + 1
            wait_s = max(
                limits.backoff.wait_s(failures, self._supervision.rng),
                min(lost.wait_s, limits.retry_after_max_s),
            )
            reason = f"{lost}; next try in {wait_s:.1f} s"
            _LOG.warning("%s: connection lost: %s", self._venue.name, reason)
            self._begin(SourceState.WAITING, reason)
            await asyncio.sleep(wait_s)
            self._traffic.reconnects += 1

    def health(self, now_ns: int) -> list[SourceHealth]:
        """Return a snapshot of each source; any thread may ask."""
        snapshots = []
        for source in self._sources.values():
            state, reason, age_ms = source.seen(now_ns)
            snapshots.append(
                SourceHealth(
                    venue=self._venue.name,
                    base=source.base,
                    quote=source.quote,
                    state=state,
                    reason=reason,
                    frames=self._traffic.frames,
                    faults=self._traffic.faults,
                    quotes=source.quotes,
                    reconnects=self._traffic.reconnects,
                    last_quote_age_ms=age_ms,
                )
            )
        return snapshots

    async def _live_once(self, session: aiohttp.ClientSession) -> ConnectionLost:
        try:
            await self._afford()
            self._begin(SourceState.CONNECTING, "asking where to connect")
            opening = await self._opening(session)
            self._begin(SourceState.CONNECTING, f"connecting to {self._endpoint.ws_url}")
            socket = await self._open(session, opening.ws_url)
        except ConnectionLost as lost:
            return lost
        _LOG.info("%s: connected to %s", self._venue.name, self._endpoint.ws_url)
        self._begin(SourceState.SUBSCRIBING, "connected, waiting for the first price")
        try:
            await Link(
                self._venue,
                socket,
                opening.ping_every_s,
                self._sources,
                self._sink,
                self._traffic,
                self._supervision,
            ).run()
        except ConnectionLost as lost:
            return lost
        except Exception as error:
            # A fault of ours in handling one venue must not take the other venues along.
            _LOG.exception("%s: unexpected fault", self._venue.name)
            return ConnectionLost(f"unexpected fault in this node: {told(repr(error))}")
        finally:
            await self._close(socket)

    async def _afford(self) -> None:
        """Wait until the exchange's limit allows another connection, and count it."""
        while wait_s := self._budget.wait_s(self._supervision.monotonic_ns()):
            reason = f"waiting {wait_s:.1f} s: the exchange limits how often one may connect"
            self._begin(SourceState.WAITING, reason)
            await asyncio.sleep(wait_s)
        self._budget.spend(self._supervision.monotonic_ns())

    async def _opening(self, session: aiohttp.ClientSession) -> Opening:
        """Return where to connect: asked of the exchange, if it wants that, each time."""
        bootstrap, rest_url = self._venue.bootstrap, self._endpoint.rest_url
        if bootstrap is None:
            return Opening(self._endpoint.ws_url)
        if rest_url is None:
            raise ConnectionLost("no rest_url is configured, by which to ask where to connect")
        connection_id = f"{self._supervision.rng.getrandbits(64):016x}"
        try:
            body = await fetch(session, rest_url, bootstrap.request, self._supervision.limits)
            opening = bootstrap.read(body, connection_id)
        except Unanswered as error:
            raise ConnectionLost(f"cannot learn where to connect: {error}", error.wait_s) from None
        except (ValueError, ArithmeticError, RecursionError) as error:
            raise ConnectionLost(f"cannot learn where to connect: {told(error)}") from None
        # An answer that came encrypted may not lead to a connection that is not.
        if rest_url.startswith("https:") and not opening.ws_url.startswith("wss:"):
            raise ConnectionLost(f"told to connect without encryption: {told(opening.ws_url)}")
        return opening

    async def _open(
        self, session: aiohttp.ClientSession, ws_url: str
    ) -> "aiohttp.ClientWebSocketResponse[bool]":
        limits = self._supervision.limits
        try:
            async with asyncio.timeout(limits.handshake_s):
                return await session.ws_connect(
                    ws_url,
                    autoping=False,
                    max_msg_size=limits.frame_bytes_max,
                    timeout=aiohttp.ClientWSTimeout(ws_close=limits.close_s),
                )
        except TimeoutError:
            raise ConnectionLost(f"no handshake within {limits.handshake_s:g} s") from None
        except aiohttp.WSServerHandshakeError as error:
            raise ConnectionLost(
                f"handshake refused with HTTP status {error.status}",
                wait_s=retry_after_s(error.headers),
            ) from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            url = self._endpoint.ws_url
            raise ConnectionLost(f"cannot connect to {url}: {told(error)}") from None

    async def _close(self, socket: "aiohttp.ClientWebSocketResponse[bool]") -> None:
        # The exchange may neither answer the close nor stop sending: the time is bounded, after
        # which aiohttp drops the transport.
        with suppress(TimeoutError, aiohttp.ClientError, OSError):
            async with asyncio.timeout(self._supervision.limits.close_s):
                await socket.close()

    def _begin(self, state: SourceState, reason: str) -> None:
        for source in self._sources.values():
            source.begin(state, reason)
