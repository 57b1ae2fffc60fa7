"""The gate of a listener: how many connections there are, and what becomes of those that stall."""

import asyncio
import logging
from typing import Any

from aiohttp import hdrs, web

from node.api.answers import ApiError, Handler, error_response
from node.api.limits import ApiLimits, is_loopback
from node.metrics import Metrics

# Whatever a client sends that is no HTTP would otherwise be logged with a traceback.
_silent = logging.getLogger("didyma.http")
_silent.setLevel(logging.CRITICAL + 1)


class Gate:
    """Makes the protocol of each new connection; bounds how many there are.

    When all places are taken, the newcomer gets that of the connection which has been waited for
    the longest: one that has sent no whole request, or none since its last answer. Connections
    that are being answered keep theirs.
    """

    def __init__(self, listener: str, limits: ApiLimits, metrics: Metrics) -> None:
        self._limits = limits
        self._refused = metrics.api_refused.labels(listener)
        self._server: web.Server | None = None
        self._transports: dict[web.RequestHandler, asyncio.Transport] = {}
        """The connections; those that were begun or answered last come last."""
        self._answering: set[web.RequestHandler] = set()

    def open(self, server: web.Server) -> None:
        """Admit connections to this server from now on."""
        self._server = server

    def __call__(self) -> asyncio.Protocol:
        """Return the protocol of a connection that nothing is known of."""
        return _Admission(self)

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Tell the gate which connections are being answered."""
        connection = request.protocol
        self._answering.add(connection)
        try:
            return await handler(request)
        finally:
            self._answering.discard(connection)
            if (transport := self._transports.pop(connection, None)) is not None:
                self._transports[connection] = transport

    def admit(self, transport: asyncio.Transport) -> None:
        """Hand a new connection to aiohttp, in another's place if need be, or cut it off."""
        if self._server is None or not self._make_place(transport):
            self._refused.inc()
            transport.abort()
            return
        connection = _Connection(self._server, self._limits)
        self._transports[connection] = transport
        transport.set_protocol(connection)
        connection.connection_made(transport)

    def _make_place(self, newcomer: asyncio.Transport) -> bool:
        for connection, transport in list(self._transports.items()):
            if transport.is_closing():
                del self._transports[connection]
        address = _host_of(newcomer)
        if not is_loopback(address):
            same = [one for one in self._transports.items() if _host_of(one[1]) == address]
            if len(same) >= self._limits.connections_per_address_max:
                return self._displace(same)
        if len(self._transports) >= self._limits.connections_max:
            return self._displace(list(self._transports.items()))
        return True

    def _displace(self, candidates: list[tuple[web.RequestHandler, asyncio.Transport]]) -> bool:
        """Close the oldest connection that owes a request; False if there is none."""
        for connection, transport in candidates:
            if connection not in self._answering and transport.get_write_buffer_size() == 0:
                del self._transports[connection]
                self._refused.inc()
                transport.abort()
                return True
        return False


class _Connection(web.RequestHandler):
    """aiohttp's protocol within our limits; what is no HTTP gets an answer of ours."""

    __slots__ = ()

    def __init__(self, server: web.Server, limits: ApiLimits) -> None:
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            access_log=_silent,
            logger=_silent,
            keepalive_timeout=limits.idle_seconds_max,
            max_line_size=limits.line_bytes_max,
            max_field_size=limits.field_bytes_max,
            max_headers=limits.headers_max,
            lingering_time=0.0,
        )

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Return what is answered where no handler of ours was reached."""
        if request.writer.output_size > 0:
            raise ConnectionError("an answer has begun already")
        if status < 500:
            error = ApiError(
                status, "malformed_request", "this is no request that can be read", "see GET /v1"
            )
        else:
            error = ApiError(status, "internal", "the request failed", "report it to the operator")
        response = error_response(error)
        response.headers[hdrs.SERVER] = "didyma"
        response.force_close()
        return response


class _Admission(asyncio.Protocol):
    """Holds a connection until its peer is known, which is before anything is read."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._gate.admit(transport)


def _host_of(transport: asyncio.Transport) -> str:
    peer: Any = transport.get_extra_info("peername")
    return str(peer[0]) if peer else ""
