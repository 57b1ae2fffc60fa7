"""A selector for asyncio in which some sockets wait a little.

What comes meanwhile costs one turn of the loop instead of many.

To wake up for each of hundreds of quotes a second costs several times what the quotes themselves
cost, and takes the interpreter from the consensus at moments of their own choosing. All but the
newest of them matter little: they are read together, some milliseconds before the next observation
is due, again every other millisecond until it is made or late, and else ten times a second. Other
sockets and timers do not wait.
"""

import selectors
import socket
import time
import weakref
from collections.abc import Mapping
from typing import Any, Final

PATIENCE_SECONDS: Final = 0.1
"""How long a socket waits at most."""

LEAD_SECONDS: Final = 0.008
"""So long before an expected moment the sockets are read."""

AGAIN_SECONDS: Final = 0.002
"""How long a socket waits at most from then on, until as long after the moment."""

BURST_SECONDS: Final = 0.004
"""Sockets wait less than they may when what has gathered would take the loop longer than this."""


class PatientSelector(selectors.BaseSelector):
    """Two epolls, the patient one of which is a file of the prompt one while its time has come."""

    def __init__(self) -> None:
        self._prompt = selectors.EpollSelector()
        self._patient = selectors.EpollSelector()
        self._marked: dict[int, weakref.ref[socket.socket]] = {}
        self._armed = False
        self._due = 0.0
        self._expected = 0.0
        self._read_at = 0.0
        self._waited = 0.0
        self._is_busy = False

    def expect(self, seconds: float) -> None:
        """Note in how many seconds news will be wanted; any thread may call."""
        self._expected = time.monotonic() + seconds - LEAD_SECONDS

    def mark(self, patient: socket.socket) -> None:
        """Let a socket wait from its next registration on."""
        self._marked = {
            fd: known
            for fd, known in self._marked.items()
            if (other := known()) is not None and other.fileno() == fd
        }
        self._marked[patient.fileno()] = weakref.ref(patient)

    def _of(self, fileobj: Any) -> selectors.EpollSelector:
        fd = fileobj if isinstance(fileobj, int) else fileobj.fileno()
        known = self._marked.get(fd)
        if known is not None:
            marked = known()
            # The number of a socket that was closed may be another file's by now.
            if marked is not None and marked.fileno() == fd:
                return self._patient
        return self._prompt

    def _holding(self, fileobj: Any) -> selectors.EpollSelector:
        try:
            self._patient.get_key(fileobj)
        except KeyError:
            return self._prompt
        return self._patient

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        """Watch a file; raise `KeyError` if it is watched."""
        return self._of(fileobj).register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        """Watch a file no more; raise `KeyError` if it is not watched."""
        return self._holding(fileobj).unregister(fileobj)

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        """Watch a file for something else; raise `KeyError` if it is not watched."""
        return self._holding(fileobj).modify(fileobj, events, data)

    def get_key(self, fileobj: Any) -> selectors.SelectorKey:
        """Return a file's registration; raise `KeyError` if it is not watched."""
        return self._holding(fileobj).get_key(fileobj)

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        """Return what is watched, by file."""
        return {**self._prompt.get_map(), **self._patient.get_map()}

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Return the files that are ready; wait for one, `timeout` seconds at most."""
        now = time.monotonic()
        deadline = None if timeout is None else now + timeout
        if self._is_busy and timeout != 0:
            self._is_busy = False
            self._shorten_wait(now)
        while True:
            wait = None if deadline is None else max(0.0, deadline - now)
            if not self._armed and self._patient.get_map():
                if self._due <= now:
                    self._prompt.register(self._patient.fileno(), selectors.EVENT_READ)
                    self._armed = True
                elif wait is None or wait > self._due - now:
                    wait = self._due - now
            ready = self._prompt.select(wait)
            now = time.monotonic()
            if self._armed:
                patient = self._patient.fileno()
                others = [one for one in ready if one[0].fd != patient]
                if len(others) < len(ready):
                    self._prompt.unregister(patient)
                    self._armed = False
                    self._waited, self._read_at = now - self._read_at, now
                    self._is_busy = True
                    self._due = now + PATIENCE_SECONDS
                    if now < self._expected < self._due:
                        self._due = self._expected
                    elif self._expected <= now < self._expected + 2 * LEAD_SECONDS:
                        self._due = now + AGAIN_SECONDS
                    return others + self._patient.select(0)
            if ready or (deadline is not None and deadline <= now):
                return ready

    def _shorten_wait(self, now: float) -> None:
        """Let sockets wait less in a flood: what one wait gathers must not take long to handle."""
        took = now - self._read_at
        if took > BURST_SECONDS:
            wait = max(AGAIN_SECONDS, self._waited * BURST_SECONDS / took)
            self._due = min(self._due, now + wait)

    def close(self) -> None:
        """Close both epolls."""
        self._patient.close()
        self._prompt.close()
