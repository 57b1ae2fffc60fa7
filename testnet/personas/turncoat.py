"""A member that is one persona after the other: all vices in one run."""

from collections.abc import Callable, Sequence
from random import Random

import trio

from consensus.messages import Message
from node.edges import Seat
from node.runtime import Network
from testnet.personas.wire import Tampering

TURN_SECONDS = 5.0


class Turncoat(Tampering):
    """Plays other personas in turn; what one of them learned all know."""

    parts: Sequence[type[Tampering]] = ()

    def __init__(
        self, seat: Seat, network: Network, random: Random, misbehaves: Callable[[], bool]
    ) -> None:
        super().__init__(seat, network, random, misbehaves)
        self._begun: float | None = None
        self._playing = 0
        self._parts = [self._part(index, kind) for index, kind in enumerate(self.parts)]

    def _part(self, index: int, kind: type[Tampering]) -> Tampering:
        part = kind(self.seat, self._network, self.random, lambda: self.turn() == index)
        part.knows, part.forger, part.deeds = self.knows, self.forger, self.deeds
        return part

    def turn(self) -> int | None:
        """Return whose turn it is; the last part goes on to the end. None before the order."""
        if not self.misbehaves():
            return None
        now = trio.current_time()
        self._begun = now if self._begun is None else self._begun
        turn = min(int((now - self._begun) / TURN_SECONDS), len(self._parts) - 1)
        if turn != self._playing:
            self.did(f"from now on {self.parts[turn].__name__}")
            self._playing = turn
        return turn

    def send(self, member: int, frame: bytes) -> bool:
        """Send what the persona whose turn it is wants to be sent."""
        turn = self.turn()
        if turn is None:
            return super().send(member, frame)
        part = self._parts[turn]
        sent = part.send(member, frame)
        self.view = max(self.view, part.view)
        for other in self._parts:
            other.view = self.view
        return sent

    async def admits(self, member: int, message: Message) -> bool:
        """Let the core see what the persona whose turn it is wants it to see."""
        turn = self.turn()
        return turn is None or await self._parts[turn].admits(member, message)


def turncoat(parts: Sequence[type[Tampering]]) -> type[Tampering]:
    """Return the persona that plays these."""
    return type("Turncoat", (Turncoat,), {"parts": tuple(parts)})
