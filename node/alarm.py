"""One thing that is due at one moment: set anew at no cost, and done by one task."""

from collections.abc import Awaitable, Callable
from math import inf
from typing import Generic, TypeVar

import trio

_What = TypeVar("_What")


class Alarm(Generic[_What]):
    """What is due next, if anything; setting it replaces what was set before.

    To start a task and a cancel scope for each of the timers of a view would cost more than what
    they are there for, since nearly all are set anew before they are due.
    """

    def __init__(self) -> None:
        self._due: tuple[_What, float] | None = None
        self._doze = trio.CancelScope()

    def set(self, what: _What, seconds: float) -> None:
        """Do something so many seconds from now, in place of what was to be done before."""
        due = trio.current_time() + seconds
        self._due = what, due
        # What is due later than before lets the doze end once in vain.
        self._doze.deadline = min(self._doze.deadline, due)

    async def run(self, do: Callable[[_What], Awaitable[None]]) -> None:
        """Do what is due when it is due, until cancelled."""
        while True:
            moment = inf
            if self._due is not None:
                what, moment = self._due
                if moment <= trio.current_time():
                    self._due = None
                    await do(what)
                    continue
            with trio.CancelScope(deadline=moment) as self._doze:
                await trio.sleep_forever()
