"""Members that mean well: slow, with a wrong clock, or dying at every other step."""

import os
import signal
import time
from collections import deque
from collections.abc import Callable
from random import Random
from typing import Any, cast

import structlog
import trio

from consensus.messages import decode
from node.edges import Seat
from node.runtime import Events, Network
from testnet.personas.wire import Tampering

SLOW_SECONDS = (0.3, 1.5)
"""Between these lies the delay of everything that a slow member sends."""

CLOCK_OFF_MS = 2_500
"""More than a block's time may differ from a member's clock, in either direction."""

_LIFE_SECONDS = (2.0, 9.0)
_PATIENCE_SECONDS = 2.0

_log = structlog.get_logger("testnet.persona")


class Slow(Tampering):
    """Delays everything it sends, to each member in order."""

    def __init__(
        self, seat: Seat, network: Network, random: Random, misbehaves: Callable[[], bool]
    ) -> None:
        super().__init__(seat, network, random, misbehaves)
        self._waiting: deque[tuple[float, int, bytes]] = deque()
        self._came = trio.Event()
        self._pumping = False
        self._last_due = 0.0

    def send(self, member: int, frame: bytes) -> bool:
        """Send a frame later."""
        if not self.misbehaves():
            return super().send(member, frame)
        if not self._pumping:
            self._pumping = True
            trio.lowlevel.spawn_system_task(self._pump)
        self.did("delay")
        due = trio.current_time() + self.random.uniform(*SLOW_SECONDS)
        self._last_due = max(due, self._last_due)
        self._waiting.append((self._last_due, member, frame))
        self._came.set()
        return True

    async def _pump(self) -> None:
        while True:
            while self._waiting:
                due, member, frame = self._waiting[0]
                await trio.sleep_until(due)
                self._waiting.popleft()
                self._network.send(member, frame)
            self._came = trio.Event()
            await self._came.wait()


def set_clock_wrong(seed: str, misbehaves: Callable[[], bool]) -> None:
    """Make this machine's wall clock wrong: everything in this process that asks gets that time."""
    off_ns = Random(seed).choice((-1, 1)) * CLOCK_OFF_MS * 1_000_000
    right_ns, right = time.time_ns, time.time

    def time_ns() -> int:
        return right_ns() + (off_ns if misbehaves() else 0)

    def time_s() -> float:
        return right() + (off_ns / 1e9 if misbehaves() else 0.0)

    vars(time).update(time_ns=time_ns, time=time_s)


class Doom:
    """The moment and the step at which this process kills itself."""

    def __init__(self, random: Random, misbehaves: Callable[[], bool]) -> None:
        self._random = random
        self._misbehaves = misbehaves
        self._due: float | None = None
        # Each step is as likely as any other, though some come many times as often.
        self._step = ""
        self._left = 0

    def at(self, step: str) -> None:
        """Perhaps die here; nothing runs after that, no handler, no buffer is flushed."""
        if not self._misbehaves():
            return
        now = time.monotonic()
        if self._due is None:
            self._due = now + self._random.uniform(*_LIFE_SECONDS)
            self._step, self._left = self._random.choice(STEPS), self._random.randrange(4)
        overdue = now > self._due + _PATIENCE_SECONDS  # That step does not come, or too seldom.
        if now < self._due or (step != self._step and not overdue):
            return
        if self._left and not overdue:
            self._left -= 1
            return
        _log.warning("persona.dies", step=step)
        os.kill(os.getpid(), signal.SIGKILL)


STEPS = (
    "receive",
    "send Vote",
    "send Proposal",
    "send Timeout",
    "send ObservationMessage",
    "persisted",
    "entered_view",
    "observed",
    "certified",
    "committed",
)
"""Where a crasher dies: between a message and the core, between two destinations of one message,
and at what the runtime reports, such as between a commit on disk and its entry in the journal."""


class DoomedNetwork:
    """`node.runtime.Network` of a process that may die before any frame goes out or comes in."""

    def __init__(self, network: Network, doom: Doom) -> None:
        self._network = network
        self._doom = doom

    def send(self, member: int, frame: bytes) -> bool:
        """Send a frame, if there is still time."""
        self._doom.at(f"send {type(decode(frame)).__name__}")
        return self._network.send(member, frame)

    async def receive_from(self, member: int) -> bytes:
        """Return a member's next frame, if there is still time."""
        frame = await self._network.receive_from(member)
        self._doom.at("receive")
        return frame

    def drop(self, member: int, reason: str) -> None:
        """Break the link to a misbehaving member for a while."""
        self._network.drop(member, reason)

    def ask_successor(self, member: int) -> None:
        """Ask a member how this epoch ended."""
        self._network.ask_successor(member)


class DoomedEvents:
    """`node.runtime.Events` of a process that may die at any of them, before or after."""

    def __init__(self, events: Events, doom: Doom, random: Random) -> None:
        self._events = events
        self._doom = doom
        self._random = random

    def __getattr__(self, name: str) -> Any:
        """Return an event that may be the last."""
        told = getattr(self._events, name)

        def tell(*arguments: object, **named: object) -> None:
            if self._random.randrange(2):
                self._doom.at(name)
            told(*arguments, **named)
            self._doom.at(name)

        return tell


def doomed(events: Events, doom: Doom, random: Random) -> Events:
    """Return events at which a process may die."""
    return cast(Events, DoomedEvents(events, doom, random))
