"""New reports as they are certified, over WebSocket and server-sent events.

Each client has a queue of its own. One that is slow loses the oldest reports, which only shows as
a gap in the views; one that takes nothing at all is dropped.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Iterator

from aiohttp import WSMsgType, hdrs, web

from node.api.answers import ApiError
from node.api.calldata import CompleteReports
from node.api.limits import ApiLimits
from node.api.view import PublishedReport
from node.metrics import Metrics


class StreamEnded(Exception):
    """Nothing more will come: the node stops, or the client has gone."""


class Subscription:
    """One client's queue of reports."""

    def __init__(self, queue_max: int) -> None:
        self._queue: deque[PublishedReport] = deque()
        self._queue_max = queue_max
        self._wake = asyncio.Event()
        self._closed = False

    def put(self, report: PublishedReport) -> bool:
        """Queue a report; return False if the oldest had to go for it."""
        full = len(self._queue) >= self._queue_max
        if full:
            self._queue.popleft()
        self._queue.append(report)
        self._wake.set()
        return not full

    def close(self) -> None:
        """End the stream after what is queued."""
        self._closed = True
        self._wake.set()

    async def next(self, timeout_seconds: float) -> PublishedReport | None:
        """Return the next report, None after a while; raise `StreamEnded` at the end."""
        if not self._queue and not self._closed:
            self._wake.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout_seconds):
                    await self._wake.wait()
        if self._queue:
            return self._queue.popleft()
        if self._closed:
            raise StreamEnded
        return None


class ReportHub:
    """Hands each new report to every client; for the asyncio thread but for `told`, `followed`."""

    def __init__(self, complete: CompleteReports, limits: ApiLimits, metrics: Metrics) -> None:
        self._complete = complete
        self._limits = limits
        self._metrics = metrics
        self._subscriptions: dict[Subscription, str] = {}
        self._closed = False
        self._latest: PublishedReport | None = None
        self.told: PublishedReport | None = None
        """The newest report that any thread has told of; it is taken up when one is asked for."""

    @property
    def followed(self) -> bool:
        """Whether any client follows; what is told after this was False need not be published."""
        return bool(self._subscriptions)

    @property
    def latest(self) -> PublishedReport | None:
        """The newest report."""
        if self.told is not None:
            self.publish(self.told)
        return self._latest

    def publish(self, report: PublishedReport) -> None:
        """Hand on a report, unless a newer one, or the same, has been."""
        newest = self._latest
        place = (report.epoch, report.view)
        if newest is not None and place <= (newest.epoch, newest.view):
            if place == (newest.epoch, newest.view) and report.final:
                self._latest = report
            return
        self._latest = report
        for subscription, transport in self._subscriptions.items():
            if not subscription.put(report):
                self._metrics.api_stream_drops.labels(transport).inc()

    def text_of(self, report: PublishedReport) -> bytes:
        """Return what clients get of a report."""
        return self._complete.complete(report.body)

    def close(self) -> None:
        """End all streams and take no new ones."""
        self._closed = True
        for subscription in self._subscriptions:
            subscription.close()

    @contextlib.contextmanager
    def subscribed(self, transport: str) -> Iterator[Subscription]:
        """Hold a place for a client; raise `ApiError` if there is none."""
        if self._closed or len(self._subscriptions) >= self._limits.streams_max:
            raise ApiError(
                503,
                "too_many_streams",
                "no more clients can follow this node",
                "ask another node, or poll /v1/reports/latest once a second",
            )
        subscription = Subscription(self._limits.stream_queue_max)
        newest = self._latest
        # In this order: from here on new reports are published, those of before are told.
        self._subscriptions[subscription] = transport
        if self.latest is newest and newest is not None:
            subscription.put(newest)  # A newer one has just been handed to this client too.
        gauge = self._metrics.api_streams.labels(transport)
        gauge.inc()
        try:
            yield subscription
        finally:
            del self._subscriptions[subscription]
            gauge.dec()


async def serve_events(
    request: web.Request, hub: ReportHub, limits: ApiLimits
) -> web.StreamResponse:
    """Serve server-sent events: `event: report`, its view as the id, its JSON as the data."""
    with hub.subscribed("events") as subscription:
        response = web.StreamResponse(
            headers={
                hdrs.CONTENT_TYPE: "text/event-stream",
                hdrs.CACHE_CONTROL: "no-store",
                # Proxies must not collect events.
                "X-Accel-Buffering": "no",
            }
        )
        try:
            await response.prepare(request)
            while True:
                report = await subscription.next(limits.stream_ping_seconds)
                if report is None:
                    frame = b": still here\n\n"
                else:
                    name = b"id: %d-%d\nevent: report\ndata: " % (report.epoch, report.view)
                    frame = name + hub.text_of(report) + b"\n\n"
                async with asyncio.timeout(limits.stream_write_seconds_max):
                    await response.write(frame)
        except TimeoutError:
            _abort(request)
        except (ConnectionError, StreamEnded):
            pass
        return response


async def serve_websocket(
    request: web.Request, hub: ReportHub, limits: ApiLimits
) -> web.StreamResponse:
    """Serve a WebSocket whose every text message is the JSON of one report."""
    socket = web.WebSocketResponse(
        heartbeat=limits.stream_ping_seconds, max_msg_size=1024, compress=False, timeout=1.0
    )
    if not socket.can_prepare(request):
        raise ApiError(
            426, "websocket_only", "this path speaks WebSocket", "or follow /v1/events (SSE)"
        )
    with hub.subscribed("websocket") as subscription:
        await socket.prepare(request)
        listening = asyncio.create_task(_listen(socket, limits.stream_messages_max))
        # The client's end of the stream is the end of ours.
        listening.add_done_callback(lambda _task: subscription.close())
        try:
            while not socket.closed:
                report = await subscription.next(limits.stream_ping_seconds)
                if report is not None:
                    async with asyncio.timeout(limits.stream_write_seconds_max):
                        await socket.send_str(hub.text_of(report).decode())
        except TimeoutError:
            _abort(request)
        except (ConnectionError, StreamEnded):
            pass
        finally:
            listening.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await listening
        with contextlib.suppress(TimeoutError, ConnectionError):
            async with asyncio.timeout(limits.stream_write_seconds_max):
                await socket.close()
    return socket


async def _listen(socket: web.WebSocketResponse, messages_max: int) -> None:
    """Read until the client closes or talks too much; pings are answered on the way."""
    for _ in range(messages_max):
        message = await socket.receive()
        if message.type not in (WSMsgType.TEXT, WSMsgType.BINARY):
            return


def _abort(request: web.Request) -> None:
    # Closing politely would wait for a client that does not read.
    if request.transport is not None:
        request.transport.abort()
