"""One life of one WebSocket: subscribe, read, ping, and end at the first sign of trouble."""

import asyncio
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NoReturn

import aiohttp

from aggregation.quote import QUOTE_SCALE, RawQuote
from feeds.frames import (
    Acknowledged,
    Alive,
    Decoded,
    Gap,
    Greeting,
    Price,
    Reconnect,
    Refused,
    Reply,
    Trading,
    Undecodable,
    told,
)
from feeds.source import Sink, Source, SourceState
from feeds.supervision import Supervision
from feeds.venue import Venue

_NS_PER_S = 1_000_000_000


class ConnectionLost(Exception):
    """A connection ended; the text says why, `wait_s` how long the exchange wants to be left."""

    def __init__(self, reason: str, wait_s: float = 0) -> None:
        super().__init__(reason)
        self.wait_s = wait_s


@dataclass(slots=True)
class Traffic:
    """What one venue's connections counted since the start."""

    frames: int = 0
    faults: int = 0
    reconnects: int = 0


class Link:
    """One open WebSocket of one venue, with the sources it carries by symbol."""

    def __init__(
        self,
        venue: Venue,
        socket: "aiohttp.ClientWebSocketResponse[bool]",
        ping_every_s: float | None,
        sources: Mapping[str, Source],
        sink: Sink,
        traffic: Traffic,
        supervision: Supervision,
    ) -> None:
        self._venue = venue
        self._socket = socket
        self._reader = venue.reader()
        self._last_is_fresh = venue.last_is_fresh
        self._ping_every_s = ping_every_s or (venue.ping.every_s if venue.ping else 0)
        self._replies: list[str] = []
        self._greeted = asyncio.Event()
        if not venue.greets:
            self._greeted.set()
        self._sources = sources
        self._sink = sink
        self._traffic = traffic
        self._limits = supervision.limits
        self._monotonic_ns = supervision.monotonic_ns
        self._unix_ms = supervision.unix_ms
        self._opened_ns = self._last_frame_ns = self._last_price_ns = self._monotonic_ns()
        self._rotate_after_s = (
            venue.rotate_after_s and venue.rotate_after_s * supervision.rng.uniform(0.9, 1)
        )
        self._subscriptions = venue.subscribe(list(sources))
        self._awaited = {
            key: symbols
            for subscription in self._subscriptions
            for key, symbols in subscription.acknowledgements.items()
        }
        self._some_acknowledged = False
        self._complaint = ""
        self._refused_ns: int | None = None
        self._online = True
        self._pings = 0
        self._last_ping_ns = self._opened_ns
        self._fault_times_ns: deque[int] = deque(maxlen=self._limits.faults_max + 1)

    async def run(self) -> NoReturn:
        """Keep the connection until it is lost; always ends in ConnectionLost."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._keep())
                tasks.create_task(self._subscribe())
                while True:
                    await self._receive()
        except ExceptionGroup as group:
            # A fault of ours outranks the loss that it may have caused.
            others = group.split(ConnectionLost)[1]
            raise (others or group).exceptions[0] from None
        raise AssertionError("a link ends by losing its connection")

    async def _subscribe(self) -> None:
        """Send the requests when the exchange is ready for them."""
        await self._greeted.wait()
        if self._venue.subscribe_after_s:
            await asyncio.sleep(self._venue.subscribe_after_s)
        for subscription in self._subscriptions:
            await self._send(subscription.text)

    async def _send(self, text: str) -> None:
        try:
            async with asyncio.timeout(self._limits.send_s):
                await self._socket.send_str(text)
        except TimeoutError:
            raise ConnectionLost("the exchange does not take what we send") from None
        except (aiohttp.ClientError, OSError) as error:
            raise ConnectionLost(f"cannot send: {told(error)}") from None

    async def _receive(self) -> None:
        message = await self._socket.receive()
        match message.type:
            case aiohttp.WSMsgType.TEXT | aiohttp.WSMsgType.BINARY:
                self._on_frame(message.data)
                while self._replies:
                    await self._send(self._replies.pop(0))
            case aiohttp.WSMsgType.PING:
                # Answered here and not by aiohttp, so that it counts as a sign of life.
                await self._pong(message.data)
            case aiohttp.WSMsgType.PONG:
                pass
            case aiohttp.WSMsgType.ERROR:
                raise ConnectionLost(f"broken stream: {told(message.data)}")
            case _:
                said = f": {told(message.extra)}" if message.extra else ""
                raise ConnectionLost(
                    f"closed by the exchange (code {self._socket.close_code}){said}"
                )
        self._last_frame_ns = self._monotonic_ns()

    async def _pong(self, payload: bytes) -> None:
        try:
            async with asyncio.timeout(self._limits.send_s):
                await self._socket.pong(payload)
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise ConnectionLost(f"cannot answer a ping: {told(error)}") from None

    def _on_frame(self, frame: str | bytes) -> None:
        self._traffic.frames += 1
        for decoded in self._reader.decode(frame):
            self._on_decoded(decoded)

    def _on_decoded(self, decoded: Decoded) -> None:
        match decoded:
            case Price():
                self._on_price(decoded)
            case Acknowledged(key):
                self._some_acknowledged |= self._awaited.pop(key, None) is not None
            case Refused(key, reason):
                self._on_refused(key, reason)
            case Trading(online, reason):
                self._on_trading(online, reason)
            case Reply(text):
                self._replies.append(text)
            case Greeting():
                self._greeted.set()
            case Gap(reason):
                self._fault(reason, self._monotonic_ns())
            case Reconnect(reason):
                raise ConnectionLost(reason)
            case Undecodable(reason):
                self._fault(f"not understood: {reason}", self._monotonic_ns())
            case Alive():
                pass

    def _on_price(self, price: Price) -> None:
        now_ns = self._monotonic_ns()
        source = self._sources.get(price.symbol)
        if source is None:
            self._fault(f"a price of {told(price.symbol)}, which nobody asked for", now_ns)
            return
        if source.is_older(price):
            self._fault(f"a price of {price.symbol} out of order", now_ns)
            return
        if price.exchange_time_ms is not None:
            ahead_ms = price.exchange_time_ms - self._unix_ms()
            if ahead_ms > self._limits.future_max_ms:
                advice = "check this machine's clock if other exchanges say so too"
                self._fault(f"a price stamped {ahead_ms} ms in the future: {advice}", now_ns)
                return
        if self._awaited:
            # No acknowledgement is worth more than a price itself.
            for key in [k for k, covered in self._awaited.items() if price.symbol in covered]:
                del self._awaited[key]
                self._some_acknowledged = True
        if not self._online or source.is_repeated(price):
            return
        self._last_price_ns = now_ns
        source.take(price, now_ns)
        self._sink(
            RawQuote(
                venue=self._venue.name,
                base=source.base,
                quote=source.quote,
                bid=price.bid,
                ask=price.ask,
                last=price.last if self._last_is_fresh else None,
                scale=QUOTE_SCALE,
                exchange_time_ms=price.exchange_time_ms,
                sequence=price.sequence,
                received_ns=now_ns,
            )
        )

    def _on_refused(self, key: str | None, reason: str) -> None:
        self._complaint = f"; the exchange said: {reason}"
        if key is None or key not in self._awaited:
            self._fault(f"the exchange complains: {reason}", self._monotonic_ns())
            return
        self._give_up(key, f"subscription refused: {reason}")

    def _give_up(self, key: str, reason: str) -> None:
        for symbol in self._awaited.pop(key):
            self._sources[symbol].standing = (SourceState.REFUSED, reason)
        self._refused_ns = self._monotonic_ns()
        if all(s.standing[0] is SourceState.REFUSED for s in self._sources.values()):
            raise ConnectionLost(reason)

    def _on_trading(self, online: bool, reason: str) -> None:
        if online == self._online:
            return
        self._online = online
        self._last_price_ns = self._monotonic_ns()
        standing = SourceState.SUBSCRIBING if online else SourceState.HALTED
        for source in self._sources.values():
            if source.standing[0] is not SourceState.REFUSED:
                source.standing = (standing, reason)

    def _fault(self, reason: str, now_ns: int) -> None:
        self._traffic.faults += 1
        times_ns = self._fault_times_ns
        times_ns.append(now_ns)
        window_ns = self._limits.faults_window_s * _NS_PER_S
        if len(times_ns) == times_ns.maxlen and now_ns - times_ns[0] <= window_ns:
            raise ConnectionLost(
                f"{len(times_ns)} faulty frames within {self._limits.faults_window_s:g} s, "
                f"the last: {reason}"
            )

    async def _keep(self) -> None:
        """Watch the clocks and send the pings."""
        while True:
            # At round times, so that all connections wake the loop once.
            every_ns = round(self._limits.check_every_s * _NS_PER_S)
            await asyncio.sleep((every_ns - self._monotonic_ns() % every_ns) / _NS_PER_S)
            now_ns = self._monotonic_ns()
            self._check_liveness(now_ns)
            self._check_acknowledgements(now_ns)
            self._check_age(now_ns)
            ping = self._venue.ping
            if ping is not None and _passed(self._last_ping_ns, self._ping_every_s, now_ns):
                self._pings += 1
                self._last_ping_ns = now_ns
                await self._send(ping.text(self._pings))

    def _check_liveness(self, now_ns: int) -> None:
        liveness = self._venue.liveness
        if _passed(self._last_frame_ns, liveness.any_frame_s, now_ns):
            raise ConnectionLost(f"no frame for {liveness.any_frame_s:g} s")
        if self._online and _passed(self._last_price_ns, liveness.price_s, now_ns):
            raise ConnectionLost(f"frames, but no price of any pair for {liveness.price_s:g} s")

    def _check_acknowledgements(self, now_ns: int) -> None:
        if not self._awaited or not _passed(self._opened_ns, self._limits.acknowledge_s, now_ns):
            return
        within = f"within {self._limits.acknowledge_s:g} s{self._complaint}"
        if not self._some_acknowledged:
            raise ConnectionLost(f"no subscription was acknowledged {within}")
        for key in list(self._awaited):
            self._give_up(key, f"subscription not acknowledged {within}")

    def _check_age(self, now_ns: int) -> None:
        if self._rotate_after_s and _passed(self._opened_ns, self._rotate_after_s, now_ns):
            raise ConnectionLost("renewed before the exchange's limit on a connection's age")
        retry_s = self._limits.retry_refused_s
        if self._refused_ns is not None and _passed(self._refused_ns, retry_s, now_ns):
            raise ConnectionLost("renewed to try refused subscriptions again")


def _passed(since_ns: int, duration_s: float, now_ns: int) -> bool:
    return now_ns - since_ns > duration_s * _NS_PER_S
