"""What all simulated exchanges share: connections, subscriptions, quoting, faults, one port."""

import asyncio
import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import ClassVar

import msgspec
from aiohttp import WSMsgType, web
from aiohttp.typedefs import Handler

from testnet.exchanges.book import Book, Profile, Schedule
from testnet.exchanges.faults import Fault, Kind, honest
from testnet.exchanges.session import Session
from testnet.market import Market

Json = dict[str, object]
Topic = tuple[str, str]

_LOG = logging.getLogger(__name__)
_MESSAGE_BYTES_MAX = 64 * 1024
_SESSIONS_MAX = 256
_HOUSEKEEPING_S = 0.25
_STEP_MS = 4
_POLICY_VIOLATION = 1008


class CloseConnection(Exception):
    """The venue ends a connection, with this close code and reason."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class Ping(bytes):
    """The payload of a WebSocket ping."""


class Venue(ABC):
    """One exchange: its books, its connections and its fault.

    A subclass says what frames look like. A *topic* is a channel and a symbol, both as the venue
    names them; a client that subscribed to it gets a frame whenever the symbol's book is updated.
    """

    profile: ClassVar[Profile]
    channels: ClassVar[tuple[str, ...]]
    ws_paths: ClassVar[tuple[str, ...]] = ("/",)
    messages_per_s_max: ClassVar[int] = 100

    def __init__(self, market: Market, updates_per_s: float) -> None:
        self.name = self.profile.venue
        self.books = {pair.symbol: Book(self.profile, pair, market) for pair in self.profile.pairs}
        self.fault = honest(self.name)
        self.sessions: set[Session] = set()
        self.connections_total = 0
        self.frames_total = 0
        self._fault_ends_s: float | None = None
        self._subscribers: dict[Topic, set[Session]] = {}
        self._schedule = Schedule(list(self.books.values()), updates_per_s, market.seed, self.name)
        for book in self.books.values():
            book.advance(self.now_ns() // 1_000_000)

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

    def upkeep(self, session: Session, now_s: float) -> Iterable[bytes | Ping]:
        """Return heartbeats that are due; raise CloseConnection when a rule was broken."""
        return ()

    def forget(self, session: Session) -> None:  # noqa: B027
        """Drop what the venue remembers of a connection that has ended."""

    def farewell(self) -> bytes | None:
        """Return the venue's notice that connections will be closed, if it has one."""
        return None

    @staticmethod
    def now_ns() -> int:
        """Return the venue's clock, Unix nanoseconds."""
        return time.time_ns()

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

    # Faults.

    def order(self, fault: Fault) -> None:
        """Put a fault in force in place of the one before."""
        self.fault = fault
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
        async def outage(request: web.Request, handler: Handler) -> web.StreamResponse:
            if self.fault.kind is Kind.DISCONNECT and request.transport is not None:
                request.transport.abort()
                return web.Response(status=503)
            return await handler(request)

        app = web.Application(middlewares=[outage])
        for path in self.ws_paths:
            app.router.add_get(path, self._serve)
        self.add_rest(app.router)
        return app

    async def run(self) -> None:
        """Quote and keep up connections until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._quote())
            tasks.create_task(self._keep_up(tasks))

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
                await session.send(message.data, WSMsgType.PONG)
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

    async def _answer(self, session: Session, frames: Iterable[bytes | Ping]) -> None:
        for frame in frames:
            await session.send(frame, WSMsgType.PING if type(frame) is Ping else WSMsgType.TEXT)

    async def _quote(self) -> None:
        while True:
            now_ms = self.now_ns() // 1_000_000
            for book in self._schedule.due(now_ms):
                if self.fault.kind in (Kind.NONE, Kind.LIE):
                    book.advance(now_ms, self.fault.factor_ppm)
                elif self.fault.kind is Kind.FREEZE and self.fault.mode == "repeat":
                    book.touch(now_ms)
                else:
                    continue
                await self._publish(book)
            wait_ms = self._schedule.next_ms() - self.now_ns() // 1_000_000
            await asyncio.sleep(max(wait_ms, _STEP_MS) / 1_000)

    async def _publish(self, book: Book) -> None:
        symbol = book.pair.symbol
        for channel in self.channels:
            sessions = self._subscribers.get((channel, symbol))
            if not sessions:
                continue
            frame = self.frame(channel, book)
            if frame is not None:
                for session in tuple(sessions):
                    await session.send(frame)

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
                    await self._answer(session, self.upkeep(session, now_s))
                except CloseConnection as closing:
                    tasks.create_task(session.close(closing.code, closing.reason))


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
