"""One supervised connection of a venue: opened, kept, renewed in time, lost, and opened again."""

import asyncio
import logging
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, NoReturn

import aiohttp

from feeds.connect_budget import ConnectBudget
from feeds.frames import told
from feeds.http import Unanswered, fetch, retry_after_s
from feeds.intake import Intake
from feeds.link import ConnectionLost, Link
from feeds.rest import Opening
from feeds.source import SourceState
from feeds.supervision import Supervision
from feeds.venue import VenueEndpoint

_NS_PER_S = 1_000_000_000
_LOG = logging.getLogger(__name__)


class _Life:
    """One connection from its first try to its loss; `task` ends with why it was lost."""

    task: "asyncio.Task[ConnectionLost]"

    def __init__(self, opened_ns: int, *, overlaps: bool) -> None:
        self.opened_ns = opened_ns
        self.overlaps = overlaps
        self.link: asyncio.Future[Link] = asyncio.get_running_loop().create_future()


class Connection:
    """One connection of a venue, with the pairs `symbols`; the venue's share intake and budget."""

    def __init__(
        self,
        endpoint: VenueEndpoint,
        symbols: Iterable[str],
        intake: Intake,
        budget: ConnectBudget,
        supervision: Supervision,
    ) -> None:
        self._venue = intake.venue
        self._endpoint = endpoint
        self._symbols = tuple(symbols)
        self._intake = intake
        self._budget = budget
        self._supervision = supervision
        self._limits = supervision.limits
        self._started = False

    async def run(self, session: aiohttp.ClientSession) -> NoReturn:
        """Keep the venue connected until cancelled; nothing an exchange does ends this."""
        async with asyncio.TaskGroup() as lives:
            failures = 0
            before: _Life | None = None
            while True:
                life = self._live(lives, session, overlaps=before is not None)
                if before is not None and not await self._succeeded(life, before):
                    # The one before goes on meanwhile, so that nothing is missed by the wait.
                    failures += 1
                    await self._end(life)
                    wait_s = self._limits.backoff.wait_s(failures, self._supervision.rng)
                    await asyncio.wait({before.task}, timeout=wait_s)
                    if not before.task.done():
                        continue
                    failures, before = await self._lost(before, failures), None
                    continue
                before = None
                if await self._wants_renewal(life):
                    failures, before = 0, life
                    # Not all members of a committee at one instant.
                    wait_s = self._limits.backoff.wait_s(0, self._supervision.rng)
                    await asyncio.wait({life.task}, timeout=wait_s)
                else:
                    failures = await self._lost(life, failures)
        raise AssertionError("connections are kept for ever")

    def _live(
        self, lives: asyncio.TaskGroup, session: aiohttp.ClientSession, *, overlaps: bool
    ) -> _Life:
        life = _Life(self._supervision.monotonic_ns(), overlaps=overlaps)
        life.task = lives.create_task(self._live_once(session, life))
        self._intake.traffic.reconnects += self._started
        self._started = True
        return life

    async def _succeeded(self, life: _Life, before: _Life) -> bool:
        """Wait until a successor delivers, then end the one before; False if it does not."""
        await _first(life.task, life.link)
        if life.link.done():
            link = life.link.result()
            delivers = asyncio.create_task(link.delivers.wait())
            try:
                ends = (life.task, before.task, delivers, link.renewal)
                await _first(*ends, timeout_s=self._limits.overlap_s)
                if not link.has_delivered and not before.task.done():
                    # Nothing of it yet: its own clocks will end it if that remains so.
                    await _first(*ends)
            finally:
                delivers.cancel()
        if life.task.done():
            self._note_loss(f"the successor failed: {life.task.result()}")
            return False
        if life.link.result().renewal.done():
            return False
        await self._end(before)
        life.overlaps = False
        life.link.result().stand_alone()
        return True

    async def _wants_renewal(self, life: _Life) -> bool:
        """Wait until a connection should be replaced in time, or is lost: False."""
        await _first(life.task, life.link)
        if life.task.done():
            return False
        renewal = life.link.result().renewal
        await _first(life.task, renewal)
        if life.task.done():
            return False
        self._note_loss(renewal.result())
        return True

    async def _lost(self, life: _Life, failures: int) -> int:
        """Wait before the next try; return how many failures in a row there are now."""
        lost = await life.task
        lived_ns = self._supervision.monotonic_ns() - life.opened_ns
        failures = 0 if lived_ns >= self._limits.stable_s * _NS_PER_S else failures + 1
        wait_s = max(
            self._limits.backoff.wait_s(failures, self._supervision.rng),
            min(lost.wait_s, self._limits.retry_after_max_s),
        )
        self._note_loss(str(lost))
        self._begin(SourceState.WAITING, f"{lost}; next try in {wait_s:.1f} s")
        await asyncio.sleep(wait_s)
        return failures

    async def _end(self, life: _Life) -> None:
        life.task.cancel()
        await asyncio.wait({life.task})

    async def _live_once(self, session: aiohttp.ClientSession, life: _Life) -> ConnectionLost:
        try:
            await self._afford(life)
            if self._venue.bootstrap is not None:
                self._tell(life, SourceState.CONNECTING, "asking where to connect")
            opening = await self._opening(session)
            self._tell(life, SourceState.CONNECTING, f"connecting to {self._endpoint.ws_url}")
            socket = await self._open(session, opening.ws_url)
            _LOG.info("%s: connected to %s", self._venue.name, self._endpoint.ws_url)
            self._tell(life, SourceState.SUBSCRIBING, "connected, waiting for the first price")
            return await self._linked(socket, opening, life)
        except ConnectionLost as lost:
            return lost
        except Exception as error:
            # A fault of ours in handling one venue must not take the other venues along.
            _LOG.exception("%s: unexpected fault", self._venue.name)
            return ConnectionLost(f"unexpected fault in this node: {told(repr(error))}")

    async def _linked(
        self, socket: "aiohttp.ClientWebSocketResponse[bool]", opening: Opening, life: _Life
    ) -> NoReturn:
        try:
            stream = self._intake.stream(self._symbols, overlaps=life.overlaps)
            link = Link(socket, opening.ping_every_s, self._intake, stream, self._supervision)
            life.link.set_result(link)
            await link.run()
        finally:
            await self._close(socket)

    async def _afford(self, life: _Life) -> None:
        """Wait until the exchange's limit allows another connection, and count it."""
        while wait_s := self._budget.wait_s(self._supervision.monotonic_ns()):
            reason = f"waiting {wait_s:.1f} s: the exchange limits how often one may connect"
            self._tell(life, SourceState.WAITING, reason)
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
            body = await fetch(session, rest_url, bootstrap.request, self._limits)
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
        try:
            async with asyncio.timeout(self._limits.handshake_s):
                return await session.ws_connect(
                    ws_url,
                    autoping=False,
                    max_msg_size=self._limits.frame_bytes_max,
                    timeout=aiohttp.ClientWSTimeout(ws_close=self._limits.close_s),
                )
        except TimeoutError:
            raise ConnectionLost(f"no handshake within {self._limits.handshake_s:g} s") from None
        except aiohttp.WSServerHandshakeError as error:
            raise ConnectionLost(
                f"handshake refused with HTTP status {error.status}",
                wait_s=retry_after_s(error.headers),
            ) from None
        except aiohttp.ClientConnectorError as error:
            url, why = self._endpoint.ws_url, error.os_error.strerror or error.os_error
            raise ConnectionLost(f"cannot connect to {url}: {told(why)}") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            url = self._endpoint.ws_url
            raise ConnectionLost(f"cannot connect to {url}: {told(error)}") from None

    async def _close(self, socket: "aiohttp.ClientWebSocketResponse[bool]") -> None:
        # The exchange may neither answer the close nor stop sending: the time is bounded, after
        # which aiohttp drops the transport.
        with suppress(TimeoutError, aiohttp.ClientError, OSError):
            async with asyncio.timeout(self._limits.close_s):
                await socket.close()

    def _note_loss(self, reason: str) -> None:
        _LOG.warning("%s: connection lost: %s", self._venue.name, reason)
        self._intake.traffic.last_loss = reason

    def _tell(self, life: _Life, state: SourceState, reason: str) -> None:
        """Tell how a life goes, unless its predecessor's standing is what counts."""
        if not life.overlaps:
            self._begin(state, reason)

    def _begin(self, state: SourceState, reason: str) -> None:
        for symbol in self._symbols:
            self._intake.sources[symbol].standing = (state, reason)


async def _first(*futures: "asyncio.Future[Any]", timeout_s: float | None = None) -> None:
    """Wait until one of them is done, or for so long."""
    await asyncio.wait(futures, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
