"""One live connection to one member: a writer, a reader, and a look at its silence."""

from collections import deque
from dataclasses import dataclass
from typing import Final

import structlog
import trio

from node.network.frames import HEARTBEAT, FrameReader, FrameTooLong, pack
from node.network.host import Connection
from node.network.inbox import Inbox
from node.network.limits import Limits
from node.network.outbox import Outbox
from node.network.rate import TokenBucket
from node.network.yamux import ProtocolViolation, SessionClosed

WATCHES_PER_HEARTBEAT: Final = 2

_log = structlog.get_logger("didyma.network")


class Misbehaved(Exception):
    """The member broke a rule of the network and is to be dropped with a penalty."""


@dataclass(slots=True)
class Traffic:
    """What passed between us and one member, over all its connections."""

    sent: int = 0
    received: int = 0
    dropped_frames: int = 0


class Link:
    """Carries frames over one connection until that ends.

    Nothing ever puts a deadline on a write: whatever goes wrong ends the whole connection. Frames
    pass without the tasks of the link in either direction; these take over where one has to wait.
    """

    def __init__(
        self,
        member: int,
        connection: Connection,
        inbox: Inbox,
        traffic: Traffic,
        limits: Limits,
        name: str,
    ) -> None:
        """Take what carries a member's frames; `name` is what logs call the member."""
        self.member = member
        self._name = name
        self.since = trio.current_time()
        self.reason = ""
        self.misbehaved = False
        self._session = connection.session
        self._stream = connection.stream
        self._inbox = inbox
        self._traffic = traffic
        self._limits = limits
        self._outbox = Outbox(limits.outbound_frames, limits.outbound_bytes)
        self._frames = FrameReader(limits.frame_bytes)
        self._frame_rate = TokenBucket(limits.frames_per_second, limits.frames_burst, self.since)
        self._byte_rate = TokenBucket(limits.bytes_per_second, limits.bytes_burst, self.since)
        self._arrived: deque[bytes] = deque()
        """Frames for which there was no room."""
        self._writing_since: float | None = None
        self._written_at = self._watched_at = self.since
        self._reading_since: float | None = None
        """Since when we wait for the member's bytes; None while its frames wait for us."""
        self._scope = trio.CancelScope()

    @property
    def last_heard(self) -> float:
        """When the member's last bytes came, on trio's clock."""
        return self._session.last_heard

    def send(self, frame: bytes) -> bool:
        """Write a frame at once, or queue it; False if the queue is full."""
        if self._is_idle() and self._stream.write_now(pack((frame,))):
            self._written_at = trio.current_time()
            self._traffic.sent += 1
            return True
        return self._outbox.put(frame)

    def _is_idle(self) -> bool:
        return not self._outbox and self._writing_since is None

    def close(self, reason: str) -> None:
        """End the link: the socket first, for a frozen peer would keep every farewell waiting."""
        self.reason = self.reason or reason
        self._session.abort(reason)
        self._scope.cancel()

    async def run(self) -> None:
        """Carry frames until the connection ends; `reason` and `misbehaved` then tell why."""
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._write)
                    await self._read()
        except* (Misbehaved, FrameTooLong, ProtocolViolation) as faults:
            self.misbehaved = True
            self.close(str(faults.exceptions[0]))
        except* SessionClosed as ends:
            self.misbehaved = self.misbehaved or self._session.violated
            self.close(str(ends.exceptions[0]))
        except* Exception as errors:
            # A fault of ours. It costs this one connection, not the node.
            self.close(f"failed: {errors.exceptions[0]!r}")
            _log.error("link failed", member=self._name, exc_info=errors)
        finally:
            self.close("cancelled")
            self._traffic.dropped_frames += len(self._outbox)

    async def _write(self) -> None:
        while True:
            await self._outbox.wait()
            count, data = self._outbox.take()
            self._writing_since = self._written_at = trio.current_time()
            await self._stream.write(data or HEARTBEAT)
            self._writing_since = None
            self._traffic.sent += count

    async def _read(self) -> None:
        """Pass on what found no room in the inbox, and wait for the end of the stream."""
        self._stream.consumer = self._take_all
        self._take_all()
        while True:
            while self._arrived:
                await self._inbox.put(self.member, self._arrived[0])
                self._arrived.popleft()
                self._traffic.received += 1
            self._reading_since = trio.current_time()
            self._take()
            if not self._arrived:
                await self._stream.changed()

    def _take_all(self) -> None:
        """Pass on what has arrived; the reader of the connection calls this."""
        if self._arrived:
            return
        try:
            self._take()
        except (Misbehaved, FrameTooLong) as fault:
            self.misbehaved = True
            self.close(str(fault))
        if self._arrived:
            self._stream.wake()

    def _take(self) -> None:
        """Pass on what has arrived as far as there is room; raise if the member must not send it.

        One chunk is taken out of the window at most while its frames wait for room.
        """
        limits = self._limits
        chunk = self._stream.take()
        if not chunk:
            return
        arrived = self._frames.feed(chunk)
        now = trio.current_time()
        if not self._frame_rate.take(len(arrived), now):
            raise Misbehaved(f"sends more than {limits.frames_per_second:.0f} frames a second")
        if not self._byte_rate.take(len(chunk), now):
            raise Misbehaved(f"sends more than {limits.bytes_per_second:.0f} bytes a second")
        for frame in arrived:
            if not frame:
                continue
            if self._arrived or not self._inbox.offer(self.member, frame):
                self._arrived.append(frame)
                self._reading_since = None
            else:
                self._traffic.received += 1

    def watch(self, now: float) -> None:
        """Send a heartbeat before one is late; end the link if the member is silent for too long
        or does not read. To be called `WATCHES_PER_HEARTBEAT` times in `heartbeat_seconds`.
        """
        pause = self._limits.heartbeat_seconds
        before, self._watched_at = self._watched_at, now
        due = now - self._written_at >= pause * (1 - 1 / WATCHES_PER_HEARTBEAT)
        if due and self._is_idle() and self._stream.write_now(HEARTBEAT):
            self._written_at = now
        elif due:
            self._outbox.wake()
        if now - before > pause:
            return  # it is we who stood still; what came meanwhile has yet to be read
        if self._reading_since is None:
            return  # it is we who do not read, and so hear nothing
        silent = now - max(self.last_heard, self._reading_since)
        if silent > self._limits.silence_seconds:
            self.close(f"silent for {silent:.1f} s")
        writing = self._writing_since
        if writing is not None and now - writing > self._limits.stall_seconds:
            self.close(f"has not read for {now - writing:.1f} s")
