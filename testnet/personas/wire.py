"""A member's network that tampers with what passes: the base of most personas."""

from collections.abc import Callable, Iterable, Sequence
from random import Random

import structlog

from consensus.errors import InvalidMessage
from consensus.messages import (
    BlockResponse,
    Message,
    ObservationMessage,
    Proposal,
    Timeout,
    Vote,
    decode,
    encode,
)
from node.edges import Seat
from node.runtime import Network
from testnet.byzantine_knowledge import Knowledge
from testnet.personas.signing import Forger

VIEWS_KEPT = 48
VIEWS_AHEAD_MAX = 8
"""What others say of views further ahead is not worth knowing."""

_DEEDS_TOLD_MAX = 4

_log = structlog.get_logger("testnet.persona")


class Tampering:
    """`node.runtime.Network` between a core and the others' links.

    The core goes on as usual. A subclass says what is sent in the place of each message
    (`instead`), and what the core gets to see (`admits`). Until `misbehaves` says so, all passes.
    """

    def __init__(
        self, seat: Seat, network: Network, random: Random, misbehaves: Callable[[], bool]
    ) -> None:
        self.seat = seat
        self.context = seat.epoch.context
        self.me = seat.me
        self.random = random
        self.others = [m for m in range(self.context.n) if m != self.me]
        self.forger = Forger(seat)
        self.knows = Knowledge(
            self.context, self.forger, seat.epoch.rule, frozenset({self.me}), seat.root
        )
        self.misbehaves = misbehaves
        self.view = seat.root.view
        """The newest view that this member spoke of."""
        self.deeds: dict[str, int] = {}
        self._network = network
        self._decoded: tuple[bytes, Message] | None = None
        self._forgotten = 0

    # What subclasses say.

    def instead(self, member: int, message: Message) -> Iterable[Message | bytes]:
        """Return what a member is sent in the place of a message; bytes go out as they are."""
        return (message,)

    async def admits(self, member: int, message: Message) -> bool:
        """Tell whether the own core gets to see a message of a member."""
        return True

    def did(self, deed: str) -> None:
        """Note a deed; the first ones of each kind are logged."""
        self.deeds[deed] = count = self.deeds.get(deed, 0) + 1
        if count <= _DEEDS_TOLD_MAX:
            _log.warning("persona.deed", deed=deed, view=self.view)

    # node.runtime.Network

    def send(self, member: int, frame: bytes) -> bool:
        """Send a member what the persona wants it to get."""
        # A message for many comes once for each of them.
        if self._decoded is None or self._decoded[0] is not frame:
            self._decoded = frame, decode(frame)
            self._note_view(self._decoded[1])
        if not self.misbehaves():
            return self._network.send(member, frame)
        message = self._decoded[1]
        for changed in self.instead(member, message):
            self.put(member, frame if changed is message else changed)
        return True

    def put(self, member: int, message: Message | bytes) -> bool:
        """Send a member something of one's own."""
        frame = message if isinstance(message, bytes) else encode(message)
        return self._network.send(member, frame)

    async def receive_from(self, member: int) -> bytes:
        """Return the next frame of a member that the core gets to see."""
        while True:
            frame = await self._network.receive_from(member)
            try:
                message = decode(frame)
            except InvalidMessage:
                return frame
            self._learn(member, message)
            if not self.misbehaves() or await self.admits(member, message):
                return frame

    def drop(self, member: int, reason: str) -> None:
        """Break the link to a misbehaving member for a while."""
        self._network.drop(member, reason)

    def ask_successor(self, member: int) -> None:
        """Ask a member how this epoch ended."""
        self._network.ask_successor(member)

    # What it knows.

    def _note_view(self, message: Message) -> None:
        self.view = max(self.view, view_of(message) or 0)
        if isinstance(message, Proposal):
            self.knows.learn_block(message.block)
        if self.view >= self._forgotten + VIEWS_KEPT:
            self._forgotten = self.view
            self.knows.forget_below(self.view - VIEWS_KEPT)
            self.forger.forget_below(self.view - VIEWS_KEPT)

    def _learn(self, sender: int, message: Message) -> None:
        if isinstance(message, BlockResponse):
            for block in reversed(message.blocks):
                self.knows.learn_block(block)
            return
        view = view_of(message)
        if view is None or not 0 < view <= self.view + VIEWS_AHEAD_MAX:
            return
        if isinstance(message, Proposal) and self.context.leader(view) != sender:
            return
        self.forger.note(sender, message)
        self.knows.learn(sender, message)

    # What most of them need.

    def third(self, member: int) -> int:
        """Divide the others into three parts, anew in each view."""
        return (self.others.index(member) + self.view) % 3

    def some(self, count: int, salt: str = "") -> Sequence[int]:
        """Pick so many others, the same ones throughout a view."""
        return Random(f"{salt} {self.me} {self.view}").sample(self.others, count)


def view_of(message: Message) -> int | None:
    """Return the view that a message is of, if it is of one."""
    match message:
        case ObservationMessage(observed=observed):
            return observed.view
        case Proposal(block=block):
            return block.view
        case Vote(header=header):
            return header.view
        case Timeout(view=view):
            return view
        case _:
            return None
