"""For how long a member listens whether it runs elsewhere, and what it hears meanwhile."""

from collections import deque
from collections.abc import Callable
from typing import Final

import trio

FRAMES_MAX: Final = 64
BYTES_MAX: Final = 1 << 20
LINK_EVERY_SECONDS: Final = 0.05
"""So much of each member is kept for when the watch is over."""


class TwinWatch:
    """Is over when so many views were certified since the first that was heard of.

    Or some seconds after the first link to another member stands: before that it would hear
    nothing, and nobody would hear what it signs. A copy that runs is in some of the blocks, as long
    as it reaches the others.
    """

    def __init__(
        self, views: int, seconds: float, linked: Callable[[], bool] = lambda: True
    ) -> None:
        """`linked` tells whether a link to another member stands."""
        self.views = views
        self.seconds = seconds
        self._linked = linked
        self.enough = trio.Event()
        self._first: int | None = None
        self._last = 0
        if views == 0:
            self.enough.set()

    def certified(self, view: int) -> None:
        """Note a certified view, in any order."""
        self._first = view if self._first is None else self._first
        self._last = max(self._last, view)
        if self.heard >= self.views:
            self.enough.set()

    async def over(self) -> None:
        """Wait until it is over."""
        while not self._linked():  # noqa: ASYNC110 - the mesh tells nobody of a link
            await trio.sleep(LINK_EVERY_SECONDS)
        with trio.move_on_after(self.seconds):
            await self.enough.wait()

    @property
    def heard(self) -> int:
        """How many views were certified since the first that was heard of."""
        return 0 if self._first is None else self._last - self._first


class EarlyFrames:
    """The newest frames of one member."""

    def __init__(self) -> None:
        self._frames: deque[bytes] = deque()
        self._size = 0

    def add(self, frame: bytes) -> None:
        """Keep a frame, and forget the oldest beyond the bounds."""
        self._frames.append(frame)
        self._size += len(frame)
        while len(self._frames) > FRAMES_MAX or self._size > BYTES_MAX:
            self.take()

    def take(self) -> bytes:
        """Return the oldest frame."""
        frame = self._frames.popleft()
        self._size -= len(frame)
        return frame

    def __len__(self) -> int:
        """How many are kept."""
        return len(self._frames)
