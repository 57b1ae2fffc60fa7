"""One life of one WebSocket: subscribe, read, ping, and end at the first sign of trouble."""

import asyncio
from collections import deque
from typing import NoReturn

import aiohttp

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
from feeds.intake import Intake, Stream
from feeds.source import SourceState
from feeds.supervision import Supervision

_NS_PER_S = 1_000_000_000
_SILENT_WITHOUT_REST = 10
_AHEAD_POLLS_MAX = 3
_MAINTENANCE_WAIT_S = 5.0


class ConnectionLost(Exception):
    """A connection ended; the text says why, `wait_s` how long the exchange wants to be left."""

    def __init__(self, reason: str, wait_s: float = 0) -> None:
        super().__init__(reason)
        self.wait_s = wait_s


class Link:
    """One open WebSocket of one venue, with the sources that its stream carries.

    `renewal` and `delivers` are set when it should be replaced though it still lives, and when it
    has taken everything over from its predecessor.
    """

    def __init__(
        self,
        socket: "aiohttp.ClientWebSocketResponse[bool]",
        ping_every_s: float | None,
        intake: Intake,
        stream: Stream,
        supervision: Supervision,
    ) -> None:
        venue = intake.venue
        self._venue = venue
        self._socket = socket
        self._reader = venue.reader()
        self._intake = intake
        self._stream = stream
        self._sources = stream.sources
        self._traffic = intake.traffic
        self.renewal: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.delivers = asyncio.Event()
        self._ping_every_s = ping_every_s or (venue.ping.every_s if venue.ping else 0)
        self._replies: list[str] = []
        self._greeted = asyncio.Event()
        if not venue.greets:
            self._greeted.set()
        self._limits = supervision.limits
        self._monotonic_ns = supervision.monotonic_ns
        self._unix_ms = supervision.unix_ms
        self._opened_ns = self._last_frame_ns = self._last_price_ns = self._monotonic_ns()
        self._rotate_after_s = (
            venue.rotate_after_s and venue.rotate_after_s * supervision.rng.uniform(0.9, 1)
        )
        self._subscriptions = venue.subscribe(list(stream.sources))
        self._awaited = {
            key: symbols
            for subscription in self._subscriptions
            for key, symbols in subscription.acknowledgements.items()
        }
        self._some_acknowledged = False
        self._complaint = ""
        self._refused: dict[str, str] = {}
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
            error = (others or group).exceptions[0]
            if isinstance(error, ConnectionLost) and not self._online:
                error.wait_s = max(error.wait_s, _MAINTENANCE_WAIT_S)
            raise error from None
        raise AssertionError("a link ends by losing its connection")

    @property
    def has_delivered(self) -> bool:
        """Whether it took over any source."""
        return bool(self._stream.taken_over)

    def stand_alone(self) -> None:
        """Deliver without a predecessor from now on."""
        self._stream.overlaps = False
        for symbol, reason in self._refused.items():
            self._sources[symbol].standing = (SourceState.REFUSED, reason)

    async def _subscribe(self) -> None:
        """Send the requests when the exchange is ready for them."""
        await self._greeted.wait()
        if self._venue.subscribe_after_s:
            await asyncio.sleep(self._venue.subscribe_after_s)
        for number, subscription in enumerate(self._subscriptions):
            if number and self._venue.request_pause_s:
                await asyncio.sleep(self._venue.request_pause_s)
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
                self._renew(reason)
            case Undecodable(reason):
                self._fault(f"not understood: {reason}", self._monotonic_ns())
            case Alive(exchange_time_ms):
                if exchange_time_ms is not None:
                    now_ns = self._monotonic_ns()
                    self._intake.clock.note(exchange_time_ms, self._unix_ms(), now_ns)

    def _on_price(self, price: Price) -> None:
        now_ns = self._monotonic_ns()
        if self._online:
            try:
                self._intake.take(price, self._stream, now_ns)
            except ValueError as error:
                self._fault(str(error), now_ns)
                return
            self._last_price_ns = now_ns
            if self._stream.overlaps and self._stream.replaces_all:
                self.delivers.set()
        if self._awaited:
            # No acknowledgement is worth more than a price itself.
            for key in [k for k, covered in self._awaited.items() if price.symbol in covered]:
                del self._awaited[key]
                self._some_acknowledged = True

    def _on_refused(self, key: str | None, reason: str) -> None:
        self._complaint = f"; the exchange said: {reason}"
        if key is None or key not in self._awaited:
            self._fault(f"the exchange complains: {reason}", self._monotonic_ns())
            return
        self._give_up(key, f"subscription refused: {reason}")

    def _give_up(self, key: str, reason: str) -> None:
        for symbol in self._awaited.pop(key):
            self._refused[symbol] = reason
            if not self._stream.overlaps:
                self._sources[symbol].standing = (SourceState.REFUSED, reason)
        self._refused_ns = self._monotonic_ns()
        if len(self._refused) == len(self._sources):
            raise ConnectionLost(reason)

    def _on_trading(self, online: bool, reason: str) -> None:
        if online == self._online:
            return
        self._online = online
        self._last_price_ns = self._monotonic_ns()
        for source in self._sources.values():
            if source.symbol in self._refused:
                continue
            if online:
                source.standing = (SourceState.SUBSCRIBING, reason)
            else:
                self._intake.halt(source, reason)

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
            self._check_sources(now_ns)
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
            self._renew("renewed before the exchange's limit on a connection's age")
        retry_s = self._limits.retry_refused_s
        if self._refused_ns is not None and _passed(self._refused_ns, retry_s, now_ns):
            self._renew("renewed to try refused subscriptions again")

    def _check_sources(self, now_ns: int) -> None:
        """Renew a connection that leaves out a pair of which it has brought prices."""
        silent_s = self._venue.liveness.price_s
        if self._venue.rest is None:
            silent_s *= _SILENT_WITHOUT_REST
        for source in self._sources.values():
            if source.standing[0] is not SourceState.LIVE or source.heard_ns is None:
                continue
            since_ns = max(source.heard_ns, self._opened_ns)
            if not _passed(since_ns, silent_s, now_ns):
                continue
            if self._venue.rest is None:
                self._renew(f"renewed: no price of {source.symbol} for {silent_s:g} s")
            elif source.ahead_polls >= _AHEAD_POLLS_MAX:
                self._renew(f"renewed: REST has newer prices of {source.symbol}")

    def _renew(self, reason: str) -> None:
        if not self.renewal.done():
            self.renewal.set_result(reason)


def _passed(since_ns: int, duration_s: float, now_ns: int) -> bool:
    return now_ns - since_ns > duration_s * _NS_PER_S
