"""What has arrived from all members: bounded for each, and served in turn.

A member whose part is full is not read until some of it is taken, and takes nothing from the
others: the next frame comes from whoever has waited longest for a turn.
"""

from collections import deque
from collections.abc import Iterable
from typing import Final

import trio

_STREAK_MAX: Final = 8
"""After so many frames of one member in a row all other tasks have their turn."""


class _Part:
    __slots__ = ("bytes", "frames", "room", "some", "streak")

    def __init__(self) -> None:
        self.frames: deque[bytes] = deque()
        self.bytes = 0
        self.room = trio.Event()
        self.some = trio.Event()
        self.streak = 0
        """How many frames were taken in a row without a wait."""


class Inbox:
    """Frames of every member, each member's in the order in which they came."""

    def __init__(self, members: Iterable[int], frames_max: int, bytes_max: int) -> None:
        self._parts = {member: _Part() for member in members}
        self._frames_max = frames_max
        self._bytes_max = bytes_max
        self._turns: deque[int] = deque()
        """The members with frames, each once, in the order of their turns."""
        self._waiting = trio.lowlevel.ParkingLot()

    def add(self, member: int) -> None:
        """Take frames of one more member."""
        self._parts.setdefault(member, _Part())

    def remove(self, member: int) -> None:
        """Forget a member and its frames; what still comes of it is lost."""
        if member in self._parts:
            self.clear(member)
            del self._parts[member]

    def full(self, member: int) -> bool:
        """Whether a member's part takes no more frames."""
        part = self._parts.get(member)
        if part is None:
            return False
        return len(part.frames) >= self._frames_max or part.bytes >= self._bytes_max

    async def put(self, member: int, frame: bytes) -> None:
        """Add a member's frame, once there is room in its part."""
        while not self.offer(member, frame):
            room = self._parts[member].room = trio.Event()
            await room.wait()

    def offer(self, member: int, frame: bytes) -> bool:
        """Add a member's frame; False if there is no room in its part."""
        if self.full(member):
            return False
        part = self._parts.get(member)
        if part is None:
            return True
        if not part.frames:
            self._turns.append(member)
        part.frames.append(frame)
        part.bytes += len(frame)
        part.some.set()
        if self._waiting:
            self._waiting.unpark()
        return True

    def clear(self, member: int) -> None:
        """Forget a member's frames."""
        part = self._parts[member]
        if part.frames:
            self._turns.remove(member)
        part.frames.clear()
        part.bytes = 0
        part.room.set()

    async def get_from(self, member: int) -> bytes:
        """Return the oldest of one member's frames, out of turn."""
        part = self._parts[member]
        part.streak += 1
        if part.frames and part.streak >= _STREAK_MAX:
            part.streak = 0
            await trio.lowlevel.checkpoint()
        while not part.frames:
            part.streak = 0
            part.some = trio.Event()
            await part.some.wait()
        if len(part.frames) == 1:
            self._turns.remove(member)
        return self._take(part)

    def _take(self, part: _Part) -> bytes:
        frame = part.frames.popleft()
        part.bytes -= len(frame)
        part.room.set()
        return frame

    async def get(self) -> tuple[int, bytes]:
        """Return the next member in turn and the oldest of its frames."""
        if self._turns:
            await trio.lowlevel.checkpoint()
        while not self._turns:
            await self._waiting.park()
        member = self._turns.popleft()
        part = self._parts[member]
        frame = self._take(part)
        if part.frames:
            self._turns.append(member)
        return member, frame
