"""Which epoch a frame belongs to, and what becomes of it.

A frame on the mesh is its epoch (eight bytes, big-endian) and a message. The present epoch's go to
its runtime, which takes its members' frames out of the mesh itself. The next one's wait, a few of
each member, until it begins: who hands over first need not say everything twice. Those of epochs
that are over are answered from the store: blocks, and how the epoch ended. All others are dropped.
Members are known to the mesh by their Ed25519 key, which does not change with an epoch as their
index does.
"""

from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Final, Protocol

import structlog
import trio

from consensus import messages as wire
from consensus.errors import InvalidMessage
from node.network.rate import PeerBuckets
from node.running_epoch import RunningEpoch, decode_successor
from node.store import Store

if TYPE_CHECKING:
    from trio_typing import TaskStatus  # libp2p brings stubs of trio that lack the name

EPOCH_BYTES: Final = 8
EARLY_FRAMES_MAX: Final = 64
EARLY_BYTES_MAX: Final = 1 << 20
"""So much of each member waits for the next epoch to begin."""

TELL_EVERY_SECONDS: Final = 0.5
"""A member that is behind is told so, or asked how an epoch ended, no more often."""

REQUESTS_A_SECOND: Final = 8.0
REQUESTS_AT_ONCE: Final = 64.0
"""Of one peer, for what is in the store of epochs that are over; what is more is ignored."""

_log = structlog.get_logger("node.switchboard")


class Links(Protocol):
    """What the switchboard needs of the mesh; peers are numbers of `peer_number`."""

    def send(self, member: int, frame: bytes) -> bool:
        """Queue a frame for a peer."""
        ...

    async def receive_from(self, member: int) -> bytes:
        """Return the next frame of a peer."""
        ...

    def drop(self, member: int, reason: str) -> None:
        """Break the link to a misbehaving peer for a while."""
        ...


def peer_number(ed25519_key: bytes) -> int:
    """Return what the mesh calls a member in every epoch."""
    return int.from_bytes(ed25519_key, "big")


def key_of(peer: int) -> bytes:
    """Return the Ed25519 key of a peer."""
    return peer.to_bytes(32, "big")


def sealed(epoch: int, message: wire.Message | bytes) -> bytes:
    """Return the frame of a message."""
    encoded = message if isinstance(message, bytes) else wire.encode(message)
    return epoch.to_bytes(EPOCH_BYTES, "big") + encoded


OnEvidence = Callable[[bytes, RunningEpoch, wire.EvidenceMessage], Awaitable[None]]
"""Takes a peer's Ed25519 key, and what it tells of an epoch."""


async def _ignore(ed25519_key: bytes, epoch: RunningEpoch, message: wire.EvidenceMessage) -> None:
    pass


class _Early:
    """Frames of one peer for an epoch that has not begun here."""

    def __init__(self) -> None:
        self.frames: deque[tuple[int, bytes]] = deque()
        self.size = 0

    def add(self, epoch: int, body: bytes) -> None:
        self.frames.append((epoch, body))
        self.size += len(body)
        while len(self.frames) > EARLY_FRAMES_MAX or self.size > EARLY_BYTES_MAX:
            self.size -= len(self.frames.popleft()[1])


class EpochNetwork:
    """One epoch's part of the mesh: `node.runtime.Network`, with members by their index."""

    def __init__(self, board: "Switchboard", epoch: RunningEpoch) -> None:
        self.epoch = epoch.context.epoch
        self.running = epoch
        self._board = board
        self._peers = [peer_number(member.ed25519_key) for member in epoch.members]
        self.indices: Mapping[int, int] = {peer: i for i, peer in enumerate(self._peers)}
        self._early: dict[int, deque[bytes]] = {}
        self.ended = trio.Event()

    def send(self, member: int, frame: bytes) -> bool:
        """Queue a frame for a member; never blocks."""
        return self._board.links.send(self._peers[member], sealed(self.epoch, frame))

    async def receive_from(self, member: int) -> bytes:
        """Return the next frame of a member in this epoch."""
        waiting = self._early.get(member)
        if waiting:
            return waiting.popleft()
        peer = self._peers[member]
        while True:
            # What is not taken stays with the mesh, within its bounds.
            body = self._board.sort(peer, await self._board.links.receive_from(peer), self)
            if body is not None:
                return body

    def keep(self, peer: int, body: bytes) -> None:
        """Take a member's frame that came before the epoch began."""
        self._early.setdefault(self.indices[peer], deque()).append(body)

    def drop(self, member: int, reason: str) -> None:
        """Break the link to a misbehaving member for a while."""
        self._board.links.drop(self._peers[member], reason)

    def ask_successor(self, member: int) -> None:
        """Ask a member how this epoch ended, unless that was done just now."""
        self._board.ask_successor(self._peers[member], self.epoch)

    def close(self) -> None:
        """End the epoch's part: what still comes for it is answered from the store."""
        self._early.clear()
        self.ended.set()


class Switchboard:
    """Routes the frames of all epochs; one task runs it."""

    def __init__(self, links: Links, store: Store, ended: Sequence[RunningEpoch]) -> None:
        self.links = links
        self._store = store
        self._ended = {epoch.context.epoch: epoch for epoch in ended}
        self._network: EpochNetwork | None = None
        self._next = len(ended)
        """The first epoch whose end is not known: the present one, or the next to begin."""
        self._early: dict[int, _Early] = {}
        self._told: dict[int, float] = {}
        self._asked: dict[int, float] = {}
        self._loading: set[int] = set()
        self._requests = PeerBuckets[int](REQUESTS_A_SECOND, REQUESTS_AT_ONCE)
        self._serving: dict[int, trio.CancelScope] = {}
        self._receiving: dict[int, trio.CancelScope] = {}
        self._nursery: trio.Nursery
        self._joining: trio.MemorySendChannel[tuple[int, int, wire.Successor]] | None = None
        self.informed: set[int] = set()
        """Peers that were given the proof of how the newest epoch that is over ended."""
        self.on_evidence: OnEvidence = _ignore
        self.ignored = 0
        """Frames of epochs that are neither present, nor next, nor known to be over."""

    def begin(self, epoch: RunningEpoch) -> EpochNetwork:
        """Make an epoch the present one."""
        self._network = network = EpochNetwork(self, epoch)
        self._next = epoch.context.epoch
        self._joining = None
        early, self._early = self._early, {}
        for peer, waiting in early.items():
            for number, body in waiting.frames:
                if number == network.epoch and peer in network.indices:
                    network.keep(peer, body)
        for peer in network.indices:
            if peer in self._receiving:
                self._receiving[peer].cancel()  # The epoch takes that peer's frames from now on.
        return network

    def end(self, epoch: RunningEpoch) -> None:
        """Note that an epoch is over, and how is in the store."""
        if self._network is not None:
            self._network.close()
        self._network = None
        self._ended[epoch.context.epoch] = epoch
        self._next = epoch.context.epoch + 1
        self.informed.clear()

    def ask_successor(self, peer: int, epoch: int) -> None:
        """Ask a peer how an epoch ended, unless that was done just now."""
        now = trio.current_time()
        if now - self._asked.get(peer, -TELL_EVERY_SECONDS) >= TELL_EVERY_SECONDS:
            self._asked[peer] = now
            self.links.send(peer, sealed(epoch, wire.SuccessorRequest()))

    def join(self) -> trio.MemoryReceiveChannel[tuple[int, int, wire.Successor]]:
        """Return where peers' answers come while no epoch runs here: peer, epoch, how it ended."""
        self._joining, answers = trio.open_memory_channel[tuple[int, int, wire.Successor]](16)
        return answers

    async def run(
        self,
        peers: Iterable[int],
        *,
        task_status: "TaskStatus[None]" = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Route the frames of some peers, and of those added later, until cancelled."""
        async with trio.open_nursery() as self._nursery:
            for peer in peers:
                self.add(peer)
            task_status.started()
            await trio.sleep_forever()

    def add(self, peer: int) -> None:
        """Route the frames of one more peer, which the mesh knows."""
        if peer not in self._serving:
            self._serving[peer] = trio.CancelScope()
            self._nursery.start_soon(self._serve, peer, self._serving[peer])

    def remove(self, peer: int) -> None:
        """Stop routing a peer's frames, and forget what waited."""
        if peer in self._serving:
            self._serving.pop(peer).cancel()
        for known in (self._early, self._told, self._asked, self._receiving):
            known.pop(peer, None)
        self._requests.forget(peer)

    def _name_of(self, peer: int) -> str:
        """Return what people call a peer: its name in the newest epoch that has it, or its key."""
        key = key_of(peer)
        epochs = [*self._ended.values(), *([self._network.running] if self._network else [])]
        for epoch in epochs[::-1]:
            for member in epoch.members:
                if member.ed25519_key == key:
                    return member.name
        return "0x" + key.hex()

    async def _serve(self, peer: int, scope: trio.CancelScope) -> None:
        with scope:
            while True:
                # A peer that was removed is unknown to the mesh.
                await trio.lowlevel.checkpoint_if_cancelled()
                network = self._network
                if network is not None and peer in network.indices:
                    await network.ended.wait()
                    continue
                with trio.CancelScope() as self._receiving[peer]:
                    frame = await self.links.receive_from(peer)
                    network = self._network  # An epoch may have begun in this very moment.
                    if network is not None and peer not in network.indices:
                        network = None
                    body = self.sort(peer, frame, network)
                    if network is not None and body is not None:
                        network.keep(peer, body)

    def sort(self, peer: int, frame: bytes, network: EpochNetwork | None) -> bytes | None:
        """Return the message in a peer's frame if it is for this epoch; else see to it."""
        try:
            if len(frame) <= EPOCH_BYTES:
                raise InvalidMessage("a frame without an epoch and a message")
            epoch, body = int.from_bytes(frame[:EPOCH_BYTES], "big"), frame[EPOCH_BYTES:]
            if network is not None and epoch == network.epoch:
                return body
            self._route(peer, epoch, body)
        except InvalidMessage as error:
            _log.warning("peer.invalid", peer=self._name_of(peer), reason=str(error))
            self.links.drop(peer, str(error))
        return None

    def _route(self, peer: int, epoch: int, body: bytes) -> None:
        network = self._network
        if network is not None and epoch == network.epoch:
            self.ignored += 1  # Of one who is no member of it.
        elif epoch in self._ended:
            self._answer(peer, self._ended[epoch], body, self._nursery)
        elif epoch == self._next and self._joining is not None:
            self._take_answer(peer, epoch, body)
        elif epoch == self._next:
            self._wait(peer, epoch, body)  # Between two epochs.
        elif epoch > self._next:
            if epoch == self._next + 1:
                self._wait(peer, epoch, body)
            self.ask_successor(peer, self._next)
        else:
            self.ignored += 1

    def _wait(self, peer: int, epoch: int, body: bytes) -> None:
        self._early.setdefault(peer, _Early()).add(epoch, body)

    # For those that are behind.

    def _answer(self, peer: int, epoch: RunningEpoch, body: bytes, nursery: trio.Nursery) -> None:
        message = wire.decode(body)
        match message:
            case wire.BlockRequest() | wire.SuccessorRequest():
                if peer in self._loading or not self._requests.take(peer, trio.current_time()):
                    self.ignored += 1
                    return
                self._loading.add(peer)
                nursery.start_soon(self._load, peer, epoch, message)
            case wire.Timeout() | wire.HandoverShare() | wire.CheckpointRequest():
                now = trio.current_time()
                if now - self._told.get(peer, -TELL_EVERY_SECONDS) >= TELL_EVERY_SECONDS:
                    self._told[peer] = now
                    nursery.start_soon(self._tell, peer, epoch)
            case wire.EvidenceMessage():
                nursery.start_soon(self._judge, peer, epoch, message)
            case _:
                self.ignored += 1

    async def _judge(self, peer: int, epoch: RunningEpoch, message: wire.EvidenceMessage) -> None:
        """Take evidence of an epoch that is over; offences do not pass with it."""
        try:
            await self.on_evidence(key_of(peer), epoch, message)
        except InvalidMessage as error:
            _log.warning("peer.invalid", peer=self._name_of(peer), reason=str(error))
            self.links.drop(peer, str(error))

    async def _load(
        self, peer: int, epoch: RunningEpoch, request: wire.BlockRequest | wire.SuccessorRequest
    ) -> None:
        """Answer from the store; one request of a peer at a time, others of its are dropped."""
        context = epoch.context
        try:
            if isinstance(request, wire.SuccessorRequest):
                stored = await trio.to_thread.run_sync(self._store.successor, context.domain)
                answer: wire.Message | None = decode_successor(stored) if stored else None
            else:
                blocks = await trio.to_thread.run_sync(
                    self._store.blocks_from,
                    context.domain,
                    request.block_id,
                    request.known_view,
                    context.id_of,
                )
                answer = wire.BlockResponse(request.block_id, blocks)
        finally:
            self._loading.discard(peer)
        if answer is not None:
            sent = self.links.send(peer, sealed(context.epoch, answer))
            if sent and isinstance(answer, wire.Successor) and context.epoch + 1 == self._next:
                self.informed.add(peer)

    async def _tell(self, peer: int, epoch: RunningEpoch) -> None:
        stored = await trio.to_thread.run_sync(self._store.successor, epoch.context.domain)
        if stored is not None:
            certificate = decode_successor(stored).certificate
            self.links.send(peer, sealed(epoch.context.epoch, certificate))

    def _take_answer(self, peer: int, epoch: int, body: bytes) -> None:
        if self._joining is not None:
            message = wire.decode(body)
            if isinstance(message, wire.Successor):
                try:
                    self._joining.send_nowait((peer, epoch, message))
                except trio.WouldBlock:
                    self.ignored += 1
