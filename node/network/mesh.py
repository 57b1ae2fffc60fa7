"""The mesh: one link to every other member of the committee, kept up by the lower index."""

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random, SystemRandom
from typing import TYPE_CHECKING, Final

import structlog
import trio
from libp2p.peer.id import ID

from node.network.address import (
    Endpoint,
    PeerAddress,
    endpoint_of,
    listen_endpoint_of,
    multiaddr_of,
    peer_id_of,
)
from node.network.dialer import Redial
from node.network.host import Host
from node.network.inbox import Inbox
from node.network.limits import Limits
from node.network.link import WATCHES_PER_HEARTBEAT, Link, Traffic
from node.network.standing import Standing

if TYPE_CHECKING:
    from trio_typing import TaskStatus  # libp2p brings stubs of trio that lack the name

_LISTEN_BACKLOG: Final = 128
_log = structlog.get_logger("didyma.network")


@dataclass(frozen=True, slots=True)
class PeerStatus:
    """How things stand with one member; times are of `trio.current_time()`."""

    member: int
    connected: bool
    since: float | None
    last_heard: float | None
    sent: int
    received: int
    dropped_frames: int
    penalties: int
    last_error: str
    """Why it is not connected, or was dropped last; empty since it connected."""


class _Peer:
    """All that outlives a member's connections."""

    __slots__ = (
        "dialing",
        "endpoint",
        "last_error",
        "last_heard",
        "link",
        "member",
        "name",
        "peer_id",
        "standing",
        "traffic",
    )

    def __init__(self, member: int, address: PeerAddress, dialed: bool, limits: Limits) -> None:
        self.member = member
        self.name = address.name or str(member)
        self.peer_id = peer_id_of(address.ed25519_key)
        self.endpoint: Endpoint | None = None
        """Where to dial it, or None if it is the one that dials, or nobody knows where."""
        if dialed and address.multiaddr is not None:
            self.endpoint = endpoint_of(address.multiaddr, self.peer_id)
        self.link: Link | None = None
        self.dialing = trio.CancelScope()
        self.traffic = Traffic()
        self.standing = Standing(limits)
        self.last_heard: float | None = None
        self.last_error = ""


class Mesh:
    """Sends frames to members and receives theirs, over whatever connections stand at the time.

    Nothing is promised about a frame that was sent: it may be lost with its connection. What
    arrives comes from the member it is said to come from, whole, in order, and once.
    """

    def __init__(
        self,
        *,
        identity_seed: bytes,
        me: int,
        peers: Mapping[int, PeerAddress],
        listen: str,
        limits: Limits | None = None,
        random: Random | None = None,
    ) -> None:
        """Prepare the mesh of member `me`; `identity_seed` is its Ed25519 seed of 32 bytes.

        `peers` are the other members (an entry for `me` is ignored). `random` spreads the redials.
        """
        self._limits = limits or Limits()
        self._random = random or SystemRandom()
        self._identity_seed = identity_seed
        self._me = me
        self._listen = listen_endpoint_of(listen)
        self._peers = {
            member: _Peer(member, address, member > me, self._limits)
            for member, address in sorted(peers.items())
            if member != me
        }
        if len({peer.peer_id for peer in self._peers.values()}) != len(self._peers):
            raise ValueError("two members have the same Ed25519 key")
        self._inbox = Inbox(self._peers, self._limits.inbound_frames, self._limits.inbound_bytes)
        self._listen_address: str | None = None
        self._by_id: dict[ID, _Peer] = {}
        self._admitted: dict[ID, Standing] = {}
        self._running: tuple[Host, trio.Nursery] | None = None
        self._handshakes: dict[trio.SocketStream, trio.CancelScope] = {}
        self.refused = 0
        """How many inbound connections ended before they were a member's link."""

    @property
    def me(self) -> int:
        """What this member is called in the mesh."""
        return self._me

    @property
    def listen_address(self) -> str:
        """The multiaddr we listen at, with the real port; only while the mesh runs."""
        if self._listen_address is None:
            raise RuntimeError("the mesh does not run")
        return self._listen_address

    async def run(self, *, task_status: "TaskStatus[None]" = trio.TASK_STATUS_IGNORED) -> None:
        """Listen, dial and carry frames until cancelled; started once it listens.

        Raises OSError if the port cannot be had.
        """
        # The lower index dials; whoever dials against that is refused like a stranger.
        host = Host(self._identity_seed, self._admitted, self._limits)
        listeners = await trio.open_tcp_listeners(
            self._listen.port, host=self._listen.host, backlog=_LISTEN_BACKLOG
        )
        try:
            ip, port = listeners[0].socket.getsockname()[:2]
            self._listen_address = multiaddr_of(ip, port)
            async with trio.open_nursery() as nursery:
                self._running = host, nursery
                for peer in self._peers.values():
                    self._begin(peer)
                nursery.start_soon(self._watch)

                async def accept(socket: trio.SocketStream) -> None:
                    await self._accept(host, socket)

                task_status.started()
                await trio.serve_listeners(accept, listeners)
        finally:
            self._running = None
            self._listen_address = None
            for listener in listeners:
                listener.socket.close()

    def add(self, member: int, address: PeerAddress) -> None:
        """Keep a link to one more member from now on; nothing changes for one that is known."""
        if member in self._peers or member == self._me:
            return
        peer = _Peer(member, address, member > self._me, self._limits)
        if any(other.peer_id == peer.peer_id for other in self._peers.values()):
            raise ValueError("two members have the same Ed25519 key")
        self._peers[member] = peer
        self._inbox.add(member)
        self._begin(peer)

    def readdress(self, member: int, address: PeerAddress) -> None:
        """Dial a member at another address from now on; a link that stands is left alone."""
        peer = self._peers.get(member)
        if peer is None or address.multiaddr is None or not member > self._me:
            return
        known, peer.endpoint = peer.endpoint, endpoint_of(address.multiaddr, peer.peer_id)
        if known is None:
            # It was let in, since nobody knew where to dial it.
            self._by_id.pop(peer.peer_id, None)
            self._admitted.pop(peer.peer_id, None)
            self._begin(peer)

    def remove(self, member: int) -> None:
        """Close a member's link and let it in no more."""
        peer = self._peers.pop(member, None)
        if peer is None:
            return
        self._by_id.pop(peer.peer_id, None)
        self._admitted.pop(peer.peer_id, None)
        if peer.link is not None:
            peer.link.close("no longer a member")
        peer.dialing.cancel()
        self._inbox.remove(member)

    def _begin(self, peer: _Peer) -> None:
        if self._running is None:
            return
        host, nursery = self._running
        if peer.endpoint is None:
            self._by_id[peer.peer_id] = peer
            self._admitted[peer.peer_id] = peer.standing
        else:
            nursery.start_soon(self._keep_dialed, host, peer)

    def send(self, member: int, frame: bytes) -> bool:
        """Queue a frame for a member, without waiting; False if it is not connected or too slow."""
        if not 0 < len(frame) <= self._limits.frame_bytes:
            raise ValueError(
                f"a frame has 1 to {self._limits.frame_bytes} bytes, this one {len(frame)}"
            )
        peer = self._peers.get(member)
        if peer is None:
            return False
        if peer.link is not None and peer.link.send(frame):
            return True
        peer.traffic.dropped_frames += 1
        return False

    def broadcast(self, frame: bytes) -> None:
        """Queue a frame for every other member."""
        for member in self._peers:
            self.send(member, frame)

    async def receive(self) -> tuple[int, bytes]:
        """Return the next frame and the member it came from, the members taking turns."""
        return await self._inbox.get()

    async def receive_from(self, member: int) -> bytes:
        """Return the next frame of one member.

        While nobody takes its frames the member is not read any further than its bounds.
        """
        return await self._inbox.get_from(member)

    def drop(self, member: int, reason: str) -> None:
        """Close a misbehaving member's link and keep it away until its penalty is over.

        What it sent and nobody has received yet is forgotten. What it sent before it was dropped
        brings no second penalty: many faults may be found at once.
        """
        peer = self._peers.get(member)
        if peer is None:
            return
        now = trio.current_time()
        if now >= peer.standing.penalty_until:
            peer.last_error = reason
            seconds = peer.standing.penalise(now)
            _log.warning("member dropped", member=peer.name, reason=reason, penalty_seconds=seconds)
        if peer.link is not None:
            peer.link.close(reason)
        if member in self._peers:
            self._inbox.clear(member)

    def status(self) -> list[PeerStatus]:
        """Return how things stand with every other member, in the order of their indices."""
        return [
            PeerStatus(
                member=member,
                connected=peer.link is not None,
                since=peer.link.since if peer.link else None,
                last_heard=peer.link.last_heard if peer.link else peer.last_heard,
                sent=peer.traffic.sent,
                received=peer.traffic.received,
                dropped_frames=peer.traffic.dropped_frames,
                penalties=peer.standing.penalties,
                last_error=peer.last_error,
            )
            for member, peer in self._peers.items()
        ]

    async def _watch(self) -> None:
        """Watch all links at once: dozens of tasks that wake up for it would cost more than it."""
        while True:
            await trio.sleep(self._limits.heartbeat_seconds / WATCHES_PER_HEARTBEAT)
            now = trio.current_time()
            for peer in tuple(self._peers.values()):
                if peer.link is not None:
                    peer.link.watch(now)

    async def _keep_dialed(self, host: Host, peer: _Peer) -> None:
        limits = self._limits
        redial = Redial(limits.redial_seconds_min, limits.redial_seconds_max, self._random)
        with peer.dialing:
            while True:
                await trio.sleep_until(max(peer.standing.penalty_until, trio.current_time()))
                begun = trio.current_time()
                assert peer.endpoint is not None
                await self._dial(host, peer, peer.endpoint)
                if trio.current_time() - begun > limits.handshake_seconds + limits.silence_seconds:
                    redial.succeeded()  # it was a link; a handshake does not take that long
                await trio.sleep(redial.pause())

    async def _dial(self, host: Host, peer: _Peer, endpoint: Endpoint) -> None:
        handshake = trio.CancelScope()
        socket = None
        try:
            with handshake:
                handshake.deadline = trio.current_time() + self._limits.handshake_seconds
                socket = await endpoint.connect()
                await self._carry(host, socket, handshake, peer)
            if handshake.cancelled_caught:
                peer.last_error = "no handshake in time"
        except* Exception as errors:
            peer.last_error = _described(errors)
        finally:
            if socket is not None:
                socket.socket.close()

    async def _accept(self, host: Host, socket: trio.SocketStream) -> None:
        """Serve one inbound connection; whatever happens in it stays in it."""
        if len(self._handshakes) >= self._limits.handshakes_pending:
            # Strangers may hold every place: the newcomer gets the place of the slowest.
            oldest = next(iter(self._handshakes))
            self._handshakes.pop(oldest).cancel()
        handshake = self._handshakes[socket] = trio.CancelScope()
        try:
            with handshake:
                handshake.deadline = trio.current_time() + self._limits.handshake_seconds
                await self._carry(host, socket, handshake, None)
            if handshake.cancelled_caught:
                self.refused += 1
        except* Exception as errors:
            self.refused += 1
            _log.debug("inbound connection refused", reason=_described(errors))
        finally:
            self._handshakes.pop(socket, None)
            socket.socket.close()

    async def _carry(
        self,
        host: Host,
        socket: trio.SocketStream,
        handshake: trio.CancelScope,
        dialed: _Peer | None,
    ) -> None:
        """Authenticate the connection and run its link; the newest link of a member wins."""
        async with trio.open_nursery() as nursery:
            try:
                connection = await host.upgrade(
                    socket, nursery, dialed.peer_id if dialed is not None else None
                )
                handshake.deadline = float("inf")
                self._handshakes.pop(socket, None)
                peer = dialed or self._by_id[connection.peer_id]
                link = Link(
                    peer.member, connection, self._inbox, peer.traffic, self._limits, peer.name
                )
                await self._serve(peer, link)
            finally:
                nursery.cancel_scope.cancel()

    async def _serve(self, peer: _Peer, link: Link) -> None:
        if peer.link is not None:
            peer.link.close("replaced by a newer connection")
        peer.link = link
        peer.last_error = ""
        _log.info("member connected", member=peer.name)
        try:
            await link.run()
        finally:
            if peer.link is link:
                peer.link = None
                peer.last_error = link.reason
            peer.last_heard = link.last_heard
            if link.misbehaved:
                self.drop(peer.member, link.reason)
            _log.info("member disconnected", member=peer.name, reason=link.reason)


def _described(error: BaseException) -> str:
    """Return one line about an error: about its deepest cause, for libp2p wraps what it knows."""
    while True:
        if isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        elif error.__cause__ is not None and str(error.__cause__):
            error = error.__cause__
        else:
            break
    return f"{type(error).__name__}: {error}"[:200]
