"""One client's WebSocket connection to a simulated exchange."""

import asyncio

from aiohttp import WSMsgType, web

# A client this far behind (beyond what the kernel buffers for it) is dropped, as venues do. It is
# below aiohttp's high-water mark, so that a send never waits for a client that has stopped reading.
_BACKLOG_BYTES = 32 * 1024
_CLOSE_S = 1.0
_SEND_S = 1.0


class Ping(bytes):
    """The payload of a WebSocket ping."""


class Binary(bytes):
    """The payload of a binary frame."""


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

    async def send(self, frame: bytes) -> None:
        """Send one frame at once, of text unless its type says other, or drop a slow client."""
        if self.ws.closed or self._transport.is_closing():
            return
        if self._transport.get_write_buffer_size() > _BACKLOG_BYTES:
            self.abort()
            return
        try:
            # Only a frame that is larger than what the kernel buffers ever waits.
            async with asyncio.timeout(_SEND_S):
                await self.ws.send_frame(frame, _OPCODES.get(type(frame), WSMsgType.TEXT))
        except (ConnectionError, TimeoutError):
            self.abort()
            return
        self.frames_sent += 1
        self.last_sent_s = asyncio.get_running_loop().time()

    async def pong(self, payload: bytes) -> None:
        """Answer a WebSocket ping."""
        if not self.ws.closed and not self._transport.is_closing():
            try:
                await self.ws.send_frame(payload, WSMsgType.PONG)
            except ConnectionError:
                self.abort()

    def cut(self, frame: bytes) -> None:
        """Send the first half of one frame, and end the connection there."""
        if self._transport.is_closing():
            return
        # A final text or binary frame of up to 2^64 bytes: RFC 6455, 5.2.
        opcode = 0x82 if isinstance(frame, Binary) else 0x81
        self._transport.write(bytes((opcode, 127)) + len(frame).to_bytes(8, "big"))
        self._transport.write(frame[: len(frame) // 2])
        self._transport.close()

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


_OPCODES = {Ping: WSMsgType.PING, Binary: WSMsgType.BINARY}
