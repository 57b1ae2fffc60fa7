"""One client's WebSocket connection to a simulated exchange."""

import asyncio

from aiohttp import WSMsgType, web

# A client this far behind (beyond what the kernel buffers for it) is dropped, as venues do. It is
# below aiohttp's high-water mark, so that a send never waits for a client that has stopped reading.
_BACKLOG_BYTES = 32 * 1024
_CLOSE_S = 1.0


class Session:
    """One connection; everything sent goes through it."""

    def __init__(self, ws: web.WebSocketResponse, request: web.Request, opened_s: float) -> None:
        self.ws = ws
        self.path = request.path
        self.opened_s = opened_s
        self.last_sent_s = opened_s
        self.last_heard_s = opened_s
        self.last_pong_s = opened_s
        self.last_ping_s = opened_s
        self.topics: set[tuple[str, str]] = set()
        self.frames_sent = 0
        self.messages_in_second = 0
        self.second = 0
        assert isinstance(request.transport, asyncio.WriteTransport)
        self._transport = request.transport

    async def send(self, frame: bytes, opcode: WSMsgType = WSMsgType.TEXT) -> None:
        """Send one frame at once, or drop a client that does not keep up."""
        if self.ws.closed or self._transport.is_closing():
            return
        if self._transport.get_write_buffer_size() > _BACKLOG_BYTES:
            self.abort()
            return
        try:
            await self.ws.send_frame(frame, opcode)
        except ConnectionError:
            self.abort()
            return
        self.frames_sent += 1
        self.last_sent_s = asyncio.get_running_loop().time()

    async def close(self, code: int, reason: str) -> None:
        """Close with a WebSocket close code, by force if the client does not answer."""
        try:
            async with asyncio.timeout(_CLOSE_S):
                await self.ws.close(code=code, message=reason.encode())
        except TimeoutError:
            pass
        finally:
            self.abort()

    def abort(self) -> None:
        """Drop the connection without a word."""
        self._transport.abort()
