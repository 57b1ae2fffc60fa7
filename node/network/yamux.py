"""A strict Yamux session over Noise, for connections that carry one stream for their whole life.

It speaks Yamux 1.0 (https://github.com/hashicorp/yamux/blob/master/spec.md) to any libp2p peer.
Stricter than libp2p's own: a peer that exceeds its window, announces what no Yamux peer sends, or
makes work out of nothing (tiny packets, pings) ends the session. The reader of the socket never
waits for a write, so two sessions cannot block each other.

Each switch of tasks costs as much as all else that a short frame costs, so what arrives is handed
on by the task that read it, and what is to be sent leaves at once if the kernel takes it.
"""

import os
import struct
from collections.abc import Callable
from typing import Final

import trio
from libp2p.stream_muxer.yamux.yamux import (
    DEFAULT_WINDOW_SIZE,
    FLAG_ACK,
    FLAG_FIN,
    FLAG_RST,
    FLAG_SYN,
    HEADER_SIZE,
    TYPE_DATA,
    TYPE_GO_AWAY,
    TYPE_PING,
    TYPE_WINDOW_UPDATE,
    YAMUX_HEADER_FORMAT,
)

from node.network.libp2p_repairs import PLAINTEXT_BYTES_MAX, NoisePackets
from node.network.rate import TokenBucket

WINDOW_BYTES: Final = DEFAULT_WINDOW_SIZE
_CREDIT_BYTES: Final = WINDOW_BYTES // 2
_RECEIVE_BYTES: Final = 1 << 16
_DATA_BYTES_MAX: Final = PLAINTEXT_BYTES_MAX - HEADER_SIZE
_STREAMS_MAX: Final = 4
_STREAMS_REFUSED_MAX: Final = 64
_DISCARDED_BYTES_MAX: Final = 1 << 16
_SEND_WINDOW_MAX: Final = 1 << 31
_ANSWER_BYTES_MAX: Final = 1 << 12
_HEADER: Final = struct.Struct(YAMUX_HEADER_FORMAT)


class SessionClosed(Exception):
    """The session has ended; nothing more can be read or written."""


class ProtocolViolation(Exception):
    """The peer broke Yamux or exceeded what it was granted."""


class Stream:
    """One stream of a session, with the read and write that libp2p's negotiation expects."""

    __slots__ = (
        "_changed",
        "_consumed",
        "_session",
        "buffer",
        "consumer",
        "ended",
        "receive_window",
        "send_window",
        "stream_id",
    )

    def __init__(self, session: "Session", stream_id: int) -> None:
        self._session = session
        self._changed = trio.Event()
        self._consumed = 0
        self.stream_id = stream_id
        self.buffer = bytearray()
        self.consumer: Callable[[], None] | None = None
        """Called when something has arrived: takes it, or wakes whoever is to take it."""
        self.ended = False
        self.receive_window = WINDOW_BYTES
        self.send_window = WINDOW_BYTES

    def wake(self) -> None:
        """Let whoever waits on this stream look again."""
        self._changed.set()
        self._changed = trio.Event()

    async def changed(self) -> None:
        """Wait until woken; raise `SessionClosed` when no more can come."""
        if self.ended:
            raise SessionClosed(self._session.reason)
        await self._changed.wait()

    async def read(self, n: int | None = None) -> bytes:
        """Return what has arrived, at most `n` bytes; wait if that is nothing.

        Raises `SessionClosed` when no more can come.
        """
        if not self.buffer:
            while not self.buffer:
                await self.changed()
        else:
            await trio.lowlevel.checkpoint()
        return self.take(n)

    def take(self, n: int | None = None) -> bytes:
        """Return what has arrived, at most `n` bytes; it may be nothing."""
        buffer = self.buffer
        if n is None or n >= len(buffer):
            data = bytes(buffer)
            buffer.clear()
        else:
            data = bytes(buffer[:n])
            del buffer[:n]
        self._consumed += len(data)
        if self._consumed >= _CREDIT_BYTES:
            # Exactly what was taken is granted again, in few updates.
            increment, self._consumed = self._consumed, 0
            self.receive_window += increment
            self._session.answer(TYPE_WINDOW_UPDATE, 0, self.stream_id, increment)
        return data

    async def write(self, data: bytes) -> None:
        """Write all of the data, as fast as the peer's window allows.

        A write that is cancelled leaves half a frame behind: end the session after that.
        """
        sent = 0
        while sent < len(data):
            while self.send_window == 0 and not self.ended:
                await self._changed.wait()
            if self.ended:
                raise SessionClosed(self._session.reason)
            size = min(len(data) - sent, self.send_window, _DATA_BYTES_MAX)
            self.send_window -= size
            header = _HEADER.pack(0, TYPE_DATA, 0, self.stream_id, size)
            await self._session.write(header + data[sent : sent + size])
            sent += size

    def write_now(self, data: bytes) -> bool:
        """Write all of the data without waiting; False, and nothing is done, if that cannot be."""
        size = len(data)
        if self.ended or size > self.send_window or size > _DATA_BYTES_MAX:
            return False
        if not self._session.write_now(_HEADER.pack(0, TYPE_DATA, 0, self.stream_id, size) + data):
            return False
        self.send_window -= size
        return True

    async def close(self) -> None:
        """Do nothing: a stream lives as long as its session."""


class Session:
    """Runs the Yamux of one connection; `run` it as a task and `abort` it to end it."""

    def __init__(
        self,
        socket: trio.SocketStream,
        packets: NoisePackets,
        initiator: bool,
        packet_rate: TokenBucket,
    ) -> None:
        self._socket = socket
        self._packets = packets
        self._packet_rate = packet_rate
        self._next_stream_id = 1 if initiator else 2
        self._streams: dict[int, Stream] = {}
        self._refused = 0
        self._discarded = 0
        self._write_lock = trio.Lock()
        self._tail = b""
        """What the kernel did not take of the last packet."""
        self._answers = bytearray()
        self._answers_waiting = trio.Event()
        self._body_left = 0
        self._body_stream: Stream | None = None
        self._arrived, self._arrivals = trio.open_memory_channel[Stream](_STREAMS_MAX)
        self._closed = False
        self._accepting = True
        self.reason = "open"
        self.violated = False
        self.last_heard = trio.current_time()

    @property
    def closed(self) -> bool:
        """Whether the session has ended."""
        return self._closed

    async def run(self) -> None:
        """Read until the connection ends, then abort; raises nothing but Cancelled."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._write_answers)
                await self._read()
                nursery.cancel_scope.cancel()
        except* ProtocolViolation as violations:
            self.violated = True
            self.abort(str(violations.exceptions[0]))
        except* (trio.BrokenResourceError, trio.ClosedResourceError):
            self.abort("connection lost")
        except* Exception as errors:
            self.abort(f"unreadable: {errors.exceptions[0]!r}")
        finally:
            self.abort("connection closed by the peer")

    def abort(self, reason: str) -> None:
        """End the session by closing its socket, without a farewell that a frozen peer ignores."""
        if self._closed:
            return
        self._closed = True
        self.reason = reason
        self._socket.socket.close()
        self._arrived.close()
        for stream in self._streams.values():
            stream.ended = True
            stream.wake()
        self._answers_waiting.set()

    async def open_stream(self) -> Stream:
        """Open a stream towards the peer."""
        stream = Stream(self, self._next_stream_id)
        self._next_stream_id += 2
        self._streams[stream.stream_id] = stream
        await self.write(_HEADER.pack(0, TYPE_WINDOW_UPDATE, FLAG_SYN, stream.stream_id, 0))
        return stream

    async def accept_stream(self) -> Stream:
        """Return the next stream that the peer opened; raise `SessionClosed` if none can come."""
        try:
            return await self._arrivals.receive()
        except trio.EndOfChannel:
            raise SessionClosed(self.reason) from None

    def refuse_streams(self) -> None:
        """From now on, reset every stream that the peer opens."""
        self._accepting = False

    async def write(self, plaintext: bytes) -> None:
        """Seal one Yamux frame and write it; raise `SessionClosed` if the connection is gone."""
        async with self._write_lock:
            if self._closed:
                raise SessionClosed(self.reason)
            try:
                # Sealed under the lock: packets must leave in the order of their nonces.
                packet = self._tail + (self._packets.seal(plaintext) if plaintext else b"")
                self._tail = b""
                await self._socket.send_all(packet)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                self.abort("connection lost while writing")
                raise SessionClosed(self.reason) from None
            except trio.Cancelled:
                # A nonce is used up and the packet is perhaps cut: nothing can follow it.
                self.abort("a write was cancelled")
                raise

    def write_now(self, plaintext: bytes) -> bool:
        """Seal one Yamux frame and write it without waiting; False, and nothing is done, if others
        are still being written or the connection is gone.
        """
        if self._closed or self._tail or self._write_lock.locked():
            return False
        packet = self._packets.seal(plaintext)
        try:
            sent = os.write(self._socket.socket.fileno(), packet)
        except BlockingIOError:
            sent = 0
        except OSError:
            self.abort("connection lost while writing")
            return False
        if sent < len(packet):
            self._tail = packet[sent:]
            self._answers_waiting.set()
        return True

    def answer(self, kind: int, flags: int, stream_id: int, value: int) -> None:
        """Queue a frame without data; a peer that makes us queue too many ends the session."""
        if len(self._answers) >= _ANSWER_BYTES_MAX:
            raise ProtocolViolation("asks for answers and does not read them")
        self._answers += _HEADER.pack(0, kind, flags, stream_id, value)
        self._answers_waiting.set()

    async def _write_answers(self) -> None:
        while not self._closed:
            await self._answers_waiting.wait()
            self._answers_waiting = trio.Event()
            if self._answers or self._tail:
                answers = bytes(self._answers)
                self._answers.clear()
                try:
                    await self.write(answers)
                except SessionClosed:
                    return

    async def _read(self) -> None:
        packets = self._packets
        descriptor = self._socket.socket.fileno()
        seen = 0
        while not self._closed:
            frames = self._take_frames(packets.opened)
            work = frames + packets.packets - seen
            seen = packets.packets
            now = trio.current_time()
            if not self._packet_rate.take(work, now):
                raise ProtocolViolation("sends too many packets")
            await trio.lowlevel.wait_readable(descriptor)
            if self._closed:
                return  # The number may be another connection's by now.
            try:
                data = os.read(descriptor, _RECEIVE_BYTES)
            except BlockingIOError:
                continue
            except OSError:
                self.abort("connection lost")
                return
            if not data:
                return
            self.last_heard = trio.current_time()
            packets.open(data)

    def _take_frames(self, opened: bytearray) -> int:
        """Handle every frame in `opened`, delete them from it, and return how many there were."""
        frames = 0
        position = 0
        end = len(opened)
        while True:
            if self._body_left:
                size = min(self._body_left, end - position)
                if size:
                    self._take_data(opened[position : position + size])
                    position += size
                    self._body_left -= size
                if self._body_left:
                    break
            if end - position < HEADER_SIZE:
                break
            header = _HEADER.unpack_from(opened, position)
            position += HEADER_SIZE
            frames += 1
            if not self._take_header(*header):
                position = end
                break
        if position:
            del opened[:position]
        return frames

    def _take_header(self, version: int, kind: int, flags: int, stream_id: int, value: int) -> bool:
        if version != 0:
            raise ProtocolViolation(f"speaks Yamux version {version}")
        if kind in (TYPE_DATA, TYPE_WINDOW_UPDATE):
            self._take_stream_frame(kind, flags, stream_id, value)
        elif kind == TYPE_PING:
            if flags & FLAG_SYN:
                self.answer(TYPE_PING, FLAG_ACK, 0, value)
        elif kind == TYPE_GO_AWAY:
            self.abort("the peer said goodbye")
            return False
        else:
            raise ProtocolViolation(f"sends Yamux frames of type {kind}")
        return True

    def _take_stream_frame(self, kind: int, flags: int, stream_id: int, value: int) -> None:
        if flags & FLAG_SYN:
            self._take_stream(stream_id)
        stream = self._streams.get(stream_id)
        if kind == TYPE_DATA:
            if stream is None:
                self._discarded += value
                if self._discarded > _DISCARDED_BYTES_MAX:
                    raise ProtocolViolation("sends data on streams that are not open")
            elif value > stream.receive_window:
                raise ProtocolViolation("exceeds its receive window")
            else:
                stream.receive_window -= value
            self._body_left = value
            self._body_stream = stream
        elif stream is not None and value:
            stream.send_window += value
            if stream.send_window > _SEND_WINDOW_MAX:
                raise ProtocolViolation("grants an impossible send window")
            stream.wake()
        if flags & (FLAG_FIN | FLAG_RST) and stream is not None:
            # A FIN on a frame with data comes before that data: the stream object stays readable.
            stream.ended = True
            del self._streams[stream_id]
            stream.wake()

    def _take_stream(self, stream_id: int) -> None:
        if stream_id % 2 == self._next_stream_id % 2 or stream_id == 0:
            raise ProtocolViolation("opens a stream with an id of ours")
        if stream_id in self._streams:
            raise ProtocolViolation("opens a stream twice")
        if not self._accepting or len(self._streams) >= _STREAMS_MAX:
            self._refused += 1
            if self._refused > _STREAMS_REFUSED_MAX:
                raise ProtocolViolation("keeps opening streams")
            self.answer(TYPE_WINDOW_UPDATE, FLAG_RST, stream_id, 0)
            return
        stream = Stream(self, stream_id)
        try:
            self._arrived.send_nowait(stream)
        except trio.WouldBlock:
            raise ProtocolViolation("opens streams faster than they are taken") from None
        self._streams[stream_id] = stream
        self.answer(TYPE_WINDOW_UPDATE, FLAG_ACK, stream_id, 0)

    def _take_data(self, data: bytearray) -> None:
        stream = self._body_stream
        if stream is not None:
            stream.buffer += data
            if stream.consumer is not None:
                stream.consumer()
            else:
                stream.wake()
