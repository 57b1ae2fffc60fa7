"""What all simulated exchanges share: connections, subscriptions, quoting, faults, one port."""

import asyncio
import logging
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable
from typing import ClassVar

import msgspec
from aiohttp import WSMsgType, web
from aiohttp.typedefs import Handler

from testnet.exchanges.book import Book, Profile
from testnet.exchanges.damage import damaged
from testnet.exchanges.faults import Fault, Kind, honest
from testnet.exchanges.limits import Counter, Limit
from testnet.exchanges.quoting import Quoting
from testnet.exchanges.session import Ping, Session
from testnet.market import Market
from testnet.noise import seeded_random

Json = dict[str, object]
Topic = tuple[str, str]

_LOG = logging.getLogger(__name__)
_MESSAGE_BYTES_MAX = 64 * 1024
_SESSIONS_MAX = 256
_HOUSEKEEPING_S = 0.25
_STEP_MS = 4
_POLICY_VIOLATION = 1008
_NS_PER_MS = 1_000_000


class CloseConnection(Exception):
    """The venue ends a connection, with this close code and reason."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class Venue(ABC):
    """One exchange: its books, its connections and its fault.

    A subclass says what frames look like. A *topic* is a channel and a symbol, both as the venue
    names them; a client that subscribed to it gets a frame whenever the symbol's book is updated.
    `connects` and `requests` are how often each of the `clients` behind one address may connect
    and ask by REST.
    """

    profile: ClassVar[Profile]
    channels: ClassVar[tuple[str, ...]]
    ws_paths: ClassVar[tuple[str, ...]] = ("/",)
    messages_per_s_max: ClassVar[int] = 100
    connects: ClassVar[Limit] = Limit(300, 300)
    requests: ClassVar[Limit] = Limit(100, 10)

    def __init__(self, market: Market, updates_per_s: float) -> None:
        self.name = self.profile.venue
        self.fault = honest(self.name)
        self.sessions: set[Session] = set()
        self.connections_total = 0
        self.frames_total = 0
        self.connection_age_s_max: float | None = None
        self.clients = 1
        self._counters: dict[tuple[bool, str | None], Counter] = {}
        self._refusals: dict[str | None, int] = {}
        self._fault_began_ms = 0
        self._fault_ends_s: float | None = None
        self._subscribers: dict[Topic, set[Session]] = {}
        self._chance = seeded_random("faults", self.name, market.seed)
        self._quoting = Quoting(self.profile, market, updates_per_s, self._now_ms())
        self.books = self._quoting.books

    # What a venue's file says.

    @abstractmethod
    def on_message(self, session: Session, message: Json) -> Iterable[bytes]:
        """Return the answers to a client's message; bad ones get the venue's error."""

    @abstractmethod
    def malformed(self, session: Session, text: str) -> bytes:
        """Return the answer to what is not a JSON object."""

    @abstractmethod
    def frame(self, channel: str, book: Book) -> bytes | None:
        """Return a channel's frame for the book as it stands, None if this update has none."""

    @abstractmethod
    def add_rest(self, router: web.UrlDispatcher) -> None:
        """Add the venue's REST routes."""

    def on_open(self, session: Session, request: web.Request) -> Iterable[bytes]:
        """Return what the venue says to a new connection."""
        return ()

    def on_text(self, session: Session, text: str) -> Iterable[bytes]:
        """Return the answers to one text frame."""
        try:
            message = msgspec.json.decode(text)
        except (ValueError, RecursionError):
            return (self.malformed(session, text),)
        if not isinstance(message, dict):
            return (self.malformed(session, text),)
        return self.on_message(session, message)

    def addressed(self, session: Session, topic: Topic, frame: bytes) -> bytes:
        """Return a channel's frame as one client gets it, with that connection's numbers in it."""
        return frame

    def wire(self, frame: bytes) -> bytes:
        """Return a frame of any kind as it is sent: compressed, where the venue compresses."""
        return frame

    def upkeep(self, session: Session, now_s: float) -> Iterable[bytes]:
        """Return heartbeats that are due; raise CloseConnection when a rule was broken."""
        return ()

    def forget(self, session: Session) -> None:  # noqa: B027
        """Drop what the venue remembers of a connection that has ended."""

    def farewell(self) -> bytes | None:
        """Return the venue's notice that connections will be closed, if it has one."""
        return None

    def too_many(self, wait_s: int, refusals: int) -> web.Response:
        """Return the answer to a client beyond its limit, which was refused so often before."""
        return rate_limited(429, wait_s)

    # What a venue's file uses.

    def now_ns(self) -> int:
        """Return the venue's clock, Unix nanoseconds."""
        return time.time_ns() + self.fault.skew_ms * _NS_PER_MS

    def now_ms(self) -> int:
        """Return the venue's clock, Unix milliseconds."""
        return self.now_ns() // _NS_PER_MS

    @staticmethod
    def clock_s() -> float:
        """Return the clock by which connections are judged, in seconds."""
        return asyncio.get_running_loop().time()

    def shown(self, symbol: object) -> Book | None:
        """Return the book of a symbol as clients see it, None if there is no such symbol."""
        return self.seen(symbol) if isinstance(symbol, str) and symbol in self.books else None

    def seen(self, symbol: str) -> Book:
        """Return the book of a known symbol as clients see it."""
        return self._quoting.shown(self.books[symbol], self.fault)

    def first(self, topic: Topic) -> bytes | None:
        """Return a topic's frame as it stands, None if it has none now."""
        return self.frame(topic[0], self.seen(topic[1]))

    # Subscriptions.

    def subscribe(self, session: Session, topic: Topic) -> bool:
        """Subscribe a client, False if it was before."""
        assert topic[0] in self.channels
        assert topic[1] in self.books
        if topic in session.topics:
            return False
        session.topics.add(topic)
        self._subscribers.setdefault(topic, set()).add(session)
        return True

    def unsubscribe(self, session: Session, topic: Topic) -> bool:
        """End a client's subscription, False if it had none."""
        if topic not in session.topics:
            return False
        session.topics.remove(topic)
        self._subscribers[topic].discard(session)
        return True

    def keep(self, bases: Collection[str]) -> None:
        """Delist all pairs but those of some assets, before anybody connects."""
        assert not self.sessions
        self._quoting.keep(bases)

    # Faults.

    def order(self, fault: Fault) -> None:
        """Put a fault in force in place of the one before."""
        self.fault = fault
        self._fault_began_ms = self._now_ms()
        lasts_s = fault.lasts_s
        now_s = asyncio.get_running_loop().time()
        self._fault_ends_s = None if lasts_s is None else now_s + lasts_s

    async def drop_all(self) -> None:
        """Drop every connection, after the venue's notice if the fault asks for it."""
        notice = self.farewell() if self.fault.notice else None
        for session in tuple(self.sessions):
            if notice is not None:
                await session.send(notice)
                await session.close(1001, "going away")
            session.abort()

    # Serving.

    def application(self) -> web.Application:
        """Return the venue's HTTP application: its WebSocket paths and its REST tickers."""

        @web.middleware
        async def gate(request: web.Request, handler: Handler) -> web.StreamResponse:
            return await self._gate(request, handler)

        app = web.Application(middlewares=[gate])
        for path in self.ws_paths:
            app.router.add_get(path, self._serve)
        self.add_rest(app.router)
        return app

    @staticmethod
    def _now_ms() -> int:
        return time.time_ns() // _NS_PER_MS

    async def run(self) -> None:
        """Quote and keep up connections until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._quote())
            tasks.create_task(self._keep_up(tasks))

    async def _gate(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Let a request in, as far as the fault and the client's limits allow."""
        if self.fault.kind is Kind.DISCONNECT and request.transport is not None:
            request.transport.abort()
            return web.Response(status=503)
        if self.fault.kind is Kind.SLOW:
            await asyncio.sleep(self.fault.by_ms / 1_000)
        if self.fault.kind is Kind.LIMIT:
            return rate_limited(self.fault.status, self.fault.retry_after_s)
        remote = request.remote
        limit = self.connects if "Upgrade" in request.headers else self.requests
        counter = self._counters.setdefault(
            (limit is self.connects, remote), Counter(limit, self.clients)
        )
        wait_s = counter.wait_s(asyncio.get_running_loop().time())
        if wait_s > 0:
            refusals = self._refusals[remote] = self._refusals.get(remote, 0) + 1
            return self.too_many(math.ceil(wait_s), refusals)
        self._refusals.pop(remote, None)
        return await handler(request)

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        if len(self.sessions) >= _SESSIONS_MAX:
            raise web.HTTPServiceUnavailable(text="too many connections")
        ws = web.WebSocketResponse(
            autoping=False, compress=False, max_msg_size=_MESSAGE_BYTES_MAX, timeout=1.0
        )
        if not ws.can_prepare(request):
            raise web.HTTPUpgradeRequired(text="this is a WebSocket endpoint")
        await ws.prepare(request)
        session = Session(ws, request, asyncio.get_running_loop().time())
        self.sessions.add(session)
        self.connections_total += 1
        try:
            await self._answer(session, self.on_open(session, request))
            await self._converse(session)
        except CloseConnection as closing:
            await session.close(closing.code, closing.reason)
        finally:
            self.sessions.discard(session)
            self.frames_total += session.frames_sent
            for topic in tuple(session.topics):
                self.unsubscribe(session, topic)
            self.forget(session)
        return ws

    async def _converse(self, session: Session) -> None:
        async for message in session.ws:
            session.last_heard_s = asyncio.get_running_loop().time()
            self._count(session)
            if message.type is WSMsgType.TEXT:
                await self._answer(session, self.on_text(session, message.data))
            elif message.type is WSMsgType.PING:
                await session.pong(message.data)
            elif message.type is WSMsgType.PONG:
                session.last_pong_s = session.last_heard_s
            elif message.type is WSMsgType.BINARY:
                await self._answer(session, (self.malformed(session, ""),))

    def _count(self, session: Session) -> None:
        second = int(session.last_heard_s)
        if second != session.second:
            session.second, session.messages_in_second = second, 0
        session.messages_in_second += 1
        if session.messages_in_second > self.messages_per_s_max:
            raise CloseConnection(_POLICY_VIOLATION, "Too many requests")

    async def _answer(self, session: Session, frames: Iterable[bytes]) -> None:
        for frame in frames:
            await session.send(frame if isinstance(frame, Ping) else self.wire(frame))

    async def _quote(self) -> None:
        while True:
            now_ms = self._now_ms()
            elapsed_ms = now_ms - self._fault_began_ms
            for book in self._quoting.due(now_ms, self.fault, elapsed_ms):
                await self._publish(book.pair.symbol)
            wait_ms = self._quoting.next_ms() - self._now_ms()
            await asyncio.sleep(max(wait_ms, _STEP_MS) / 1_000)

    async def _publish(self, symbol: str) -> None:
        for channel in self.channels:
            topic = (channel, symbol)
            sessions = self._subscribers.get(topic)
            if not sessions:
                continue
            frame = self.first(topic)
            if frame is None:
                continue
            wired = None
            for session in tuple(sessions):
                addressed = self.addressed(session, topic, frame)
                if self.fault.kind is not Kind.NONE:
                    await self._send_faulty(session, addressed)
                elif addressed is frame:
                    # The same for all: compressed once.
                    wired = wired or self.wire(frame)
                    await session.send(wired)
                else:
                    await session.send(self.wire(addressed))

    async def _send_faulty(self, session: Session, frame: bytes) -> None:
        spoilt = damaged(frame, self.fault, self._chance)
        if spoilt is None:
            return
        if self.fault.kind is Kind.CUT:
            session.cut(self.wire(spoilt))
        else:
            await session.send(self.wire(spoilt))

    async def _keep_up(self, tasks: asyncio.TaskGroup) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(_HOUSEKEEPING_S)
            now_s = loop.time()
            if self._fault_ends_s is not None and now_s >= self._fault_ends_s:
                _LOG.info("%s: the fault %s has ended", self.name, self.fault.fault)
                self.order(honest(self.name))
            for session in tuple(self.sessions):
                try:
                    if now_s - session.opened_s > (self.connection_age_s_max or math.inf):
                        raise CloseConnection(1000, "the connection's time is over")
                    await self._answer(session, self.upkeep(session, now_s))
                except CloseConnection as closing:
                    tasks.create_task(session.close(closing.code, closing.reason))


def rate_limited(status: int, retry_after_s: int | None) -> web.Response:
    """Return an HTTP refusal that may say when to come again."""
    headers = {} if retry_after_s is None else {"Retry-After": str(retry_after_s)}
    body = encode({"code": status, "msg": "Too many requests."})
    return web.Response(body=body, status=status, headers=headers, content_type="application/json")


def encode(message: object) -> bytes:
    """Return a message as compact JSON."""
    return msgspec.json.encode(message)


def number(text: str) -> msgspec.Raw:
    """Return a decimal text that is printed as a JSON number."""
    return msgspec.Raw(text.encode())


def strings(value: object, most: int = 1_000) -> list[str] | None:
    """Return a client's list of at most `most` strings, None if it is anything else."""
    if not isinstance(value, list) or len(value) > most:
        return None
    texts = [text for text in value if isinstance(text, str)]
    return texts if len(texts) == len(value) else None


def json_response(body: object, status: int = 200) -> web.Response:
    """Return a REST answer."""
    return web.Response(body=encode(body), status=status, content_type="application/json")
