"""What waits to be written to one member: bounded, and taken in batches."""

from collections import deque
from typing import Final

import trio

from node.network.frames import pack

_BATCH_BYTES: Final = 1 << 16


class Outbox:
    """Frames for one link, first in, first out. Full means refused: nothing ever waits to send."""

    __slots__ = ("_bytes", "_bytes_max", "_filled", "_frames", "_frames_max")

    def __init__(self, frames_max: int, bytes_max: int) -> None:
        self._frames: deque[bytes] = deque()
        self._frames_max = frames_max
        self._bytes = 0
        self._bytes_max = bytes_max
        self._filled = trio.Event()

    def __len__(self) -> int:
        return len(self._frames)

    def put(self, frame: bytes) -> bool:
        """Queue a frame; False if there is no room for it."""
        if len(self._frames) >= self._frames_max or self._bytes + len(frame) > self._bytes_max:
            return False
        self._frames.append(frame)
        self._bytes += len(frame)
        self._filled.set()
        return True

    async def wait(self) -> None:
        """Wait until there is something to take, or until woken."""
        if not self._frames:
            self._filled = trio.Event()
            await self._filled.wait()

    def wake(self) -> None:
        """Wake whoever waits, though there may be nothing to take."""
        self._filled.set()

    def take(self) -> tuple[int, bytes]:
        """Take what is queued, about one batch of it: the number of frames, and their wire form."""
        frames: list[bytes] = []
        size = 0
        while self._frames and size < _BATCH_BYTES:
            frame = self._frames.popleft()
            size += len(frame)
            frames.append(frame)
        self._bytes -= size
        return len(frames), pack(frames)
