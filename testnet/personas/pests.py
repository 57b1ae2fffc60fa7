"""Members that send what nobody asked for: broken, borrowed, far ahead, or simply too much."""

from collections.abc import Callable, Iterable
from contextlib import suppress
from random import Random

import trio

from consensus.messages import (
    TC,
    Block,
    Certificate,
    Header,
    Message,
    ObservationMessage,
    Timeout,
    Vote,
    encode,
)
from node.edges import Seat
from node.runtime import Network
from node.switchboard import peer_number, sealed
from testnet.forgeries import elsewhere, overlapping, relabelled, spoilt_frame, thin
from testnet.personas.wire import Tampering

_RARELY = 24
"""Whoever sends nonsense is dropped for a while, so it takes its time between two deeds."""

_FLOOD_BATCH = 64
_FLOOD_PAUSE_SECONDS = 0.02
_FLOOD_VIEWS = 3


class Pest(Tampering):
    """Goes on as it should, and beside that sends something now and then."""

    def instead(self, member: int, message: Message) -> Iterable[Message | bytes]:
        """Return the message, and after it perhaps something else."""
        yield message
        if self.random.randrange(_RARELY) == 0:
            yield from self.besides(member, message)

    def besides(self, member: int, message: Message) -> Iterable[Message | bytes]:
        """Return what a member is sent beside a message."""
        raise NotImplementedError

    def invented_header(self, view: int) -> Header:
        """Return the header of a block that does not exist."""
        draw = self.random.randbytes
        return Header(view, self.knows.root.observed_at_ms, draw(32), draw(32))

    def timeout(self, view: int) -> Timeout:
        """Return a timeout of any view."""
        genesis = self.context.genesis_qc
        return self.forger.timeout(Timeout(view, 0, bytes(96), genesis, None), 0)


class Garbage(Pest):
    """Sends bytes that are nearly a message, wrong types, and forged or overlapping bitmaps."""

    def besides(self, member: int, message: Message) -> Iterable[Message | bytes]:
        """Return one piece of garbage."""
        random = self.random
        frame = encode(message)
        known = [qc for qc in self.knows.certificates(self.view + 1) if qc.view]
        kind = random.randrange(9)
        self.did(f"garbage of kind {kind}")
        if kind == 0:
            yield spoilt_frame(random, message)
        elif kind == 1:
            yield frame[: random.randrange(1, len(frame))]
        elif kind == 2:
            yield random.randbytes(random.randrange(1, 2_000))
        elif kind == 3:
            yield b"\x92\xa4vote" + b"\x91" * random.randrange(1, 5_000)
        elif kind == 4:
            yield frame + frame
        elif kind == 5:
            yield Vote(self.invented_header(self.view + 1), bytes(96))
        elif kind == 6 and known:
            yield Certificate(thin(random, self.context, self.forger, known[-1]), None)
        elif kind == 7 and known:
            yield Certificate(relabelled(known[-1], known[-1].view + 1), None)
        else:
            yield Certificate(self.context.genesis_qc, self._false_tc())

    def _false_tc(self) -> TC:
        """Return a TC in which members are counted twice, or that nobody signed."""
        weakest = self.knows.weakest_tc(self.view - 1)
        if weakest is not None:
            return overlapping(self.random, self.context, self.forger, weakest)
        reported = dict.fromkeys(range(self.context.n), 0)
        return self.forger.tc(max(1, self.view - 1), reported, self.context.genesis_qc)


class Replayer(Pest):
    """Says in its own name what others said, and what was signed in another network or epoch."""

    def besides(self, member: int, message: Message) -> Iterable[Message | bytes]:
        """Return a replay; under another epoch's number it goes below the epoch's network."""
        random = self.random
        kind = random.randrange(3)
        if kind == 0 and self.knows.recent:
            self.did("another's message")
            yield random.choice(self.knows.recent)
        elif kind == 1:
            self.did("a message under another epoch's number")
            epoch = random.choice((self.context.epoch + 1, self.context.epoch + 2, 2**64 - 1))
            peer = peer_number(self.seat.epoch.members[member].ed25519_key)
            self.seat.links.send(peer, sealed(epoch, message))
        else:
            self.did("a message of another network")
            yield self._of_elsewhere()

    def _of_elsewhere(self) -> Message:
        other = elsewhere(self.random, self.context)
        sign = self.forger.elsewhere(other)
        view = self.view + self.random.randrange(2)
        header = self.invented_header(view)
        genesis = self.context.genesis_qc
        timeout = Timeout(view, 0, sign.timeout(view, 0), genesis, None)
        vote = Vote(header, sign.vote(header.id(other.domain)))
        foreign = Certificate(other.genesis_qc, None)
        return self.random.choice((vote, timeout, foreign))


class Future(Pest):
    """Speaks of views far ahead."""

    def besides(self, member: int, message: Message) -> Iterable[Message | bytes]:
        """Return something of a view that will come late, or never."""
        view = self.random.choice((self.view + self.random.randint(3, 99), 2**62, 2**63 - 1))
        self.did("a view far ahead")
        header = self.invented_header(view)
        kind = self.random.randrange(4)
        if kind == 0:
            yield self.forger.vote(header)
        elif kind == 1:
            yield self.timeout(view)
        elif kind == 2 and isinstance(message, ObservationMessage):
            yield ObservationMessage(self.forger.observed(view, message.observed.body))
        else:
            block = Block(header, 1, bytes(32), b"\x90", self.context.genesis_qc)
            yield self.forger.proposal(block, None)


class Flood(Pest):
    """Sends everybody votes, timeouts and observations of its own without end.

    All are well signed, and just so few a second that nobody closes the link for it.
    """

    def __init__(
        self, seat: Seat, network: Network, random: Random, misbehaves: Callable[[], bool]
    ) -> None:
        super().__init__(seat, network, random, misbehaves)
        self._flooding = False
        self._flood_view = -1
        self._frames: list[bytes] = []

    def instead(self, member: int, message: Message) -> Iterable[Message | bytes]:
        """Return the message, and begin to flood with the first."""
        if not self._flooding:
            self._flooding = True
            trio.lowlevel.spawn_system_task(self._flood)
        return (message,)

    async def _flood(self) -> None:
        with suppress(trio.Cancelled):
            while self.misbehaves():
                frames = self.frames()
                for member in self.others:
                    for number in range(_FLOOD_BATCH):
                        self.put(member, frames[number % len(frames)])
                self.did("a batch of a flood")
                await trio.sleep(_FLOOD_PAUSE_SECONDS)

    def frames(self) -> list[bytes]:
        """Return what is repeated in this view: it is signed once, for that costs."""
        view = self.view
        if view != self._flood_view:
            self._flood_view = view
            ahead = range(max(view, 1), view + _FLOOD_VIEWS)
            votes = [self.forger.vote(self.invented_header(one)) for one in ahead]
            timeouts = [self.timeout(one) for one in ahead]
            own = self.knows.observed.get(view - 1, {})
            bodies = [observed.body for observed in own.values()][:1]
            observed = [ObservationMessage(self.forger.observed(view, body)) for body in bodies]
            messages: list[Message] = [*votes, *timeouts, *observed]
            self._frames = [encode(message) for message in messages]
        return self._frames
