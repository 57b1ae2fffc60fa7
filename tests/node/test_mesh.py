"""The mesh over real loopback sockets, all members in one process."""

import hashlib
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace
from random import Random
from socket import IPPROTO_TCP, TCP_NODELAY

import pytest
import structlog
import trio
from libp2p.security.exceptions import HandshakeFailure
from nacl.signing import SigningKey

from node.network.address import PeerAddress, endpoint_of, peer_id_of
from node.network.host import Connection, Host
from node.network.limits import Limits
from node.network.link import Link
from node.network.mesh import Mesh, PeerStatus
from node.network.yamux import SessionClosed

LIMITS = Limits(
    heartbeat_seconds=0.1,
    silence_seconds=1.0,
    redial_seconds_min=0.01,
    redial_seconds_max=0.05,
    penalty_seconds_min=0.3,
    connections_per_second=1_000,
    connections_burst=1_000,
)
LOOPBACK = "/ip4/127.0.0.1/tcp/0"


def seed_of(member: int) -> bytes:
    return hashlib.sha256(b"member %d" % member).digest()


def key_of(member: int) -> bytes:
    return bytes(SigningKey(seed_of(member)).verify_key)


def mesh_of(
    me: int,
    addresses: dict[int, str],
    members: Iterable[int],
    listen: str = LOOPBACK,
    limits: Limits = LIMITS,
) -> Mesh:
    peers = {
        member: PeerAddress(key_of(member), addresses.get(member, LOOPBACK))
        for member in members
        if member != me
    }
    return Mesh(
        identity_seed=seed_of(me),
        me=me,
        peers=peers,
        listen=listen,
        limits=limits,
        random=Random(me),
    )


@asynccontextmanager
async def committee(count: int, limits: Limits = LIMITS) -> AsyncIterator[list[Mesh]]:
    """Run `count` connected meshes; the highest index first, for the lower ones dial it."""
    meshes: list[Mesh] = []
    addresses: dict[int, str] = {}
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            for member in reversed(range(count)):
                mesh = mesh_of(member, addresses, range(count), limits=limits)
                await nursery.start(mesh.run)
                addresses[member] = mesh.listen_address
                meshes.insert(0, mesh)
            for mesh in meshes:
                await all_connected(mesh)
            yield meshes
            nursery.cancel_scope.cancel()


@asynccontextmanager
async def lone(me: int = 1, limits: Limits = LIMITS) -> AsyncIterator[Mesh]:
    """Run the mesh of one member of a committee of two; the other is up to the test."""
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            mesh = mesh_of(me, {}, range(2), limits=limits)
            await nursery.start(mesh.run)
            yield mesh
            nursery.cancel_scope.cancel()


@asynccontextmanager
async def dial(mesh: Mesh, seed: bytes, expected: int = 1) -> AsyncIterator[Connection]:
    """Connect to a mesh by hand, as whoever has this identity seed."""
    endpoint = endpoint_of(mesh.listen_address)
    socket = await endpoint.connect()
    try:
        async with trio.open_nursery() as nursery:
            host = Host(seed, {}, LIMITS)
            yield await host.upgrade(socket, nursery, peer_id_of(key_of(expected)))
            nursery.cancel_scope.cancel()
    finally:
        socket.socket.close()


def status_of(mesh: Mesh, member: int) -> PeerStatus:
    return next(status for status in mesh.status() if status.member == member)


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 -- what is waited for has no event
        await trio.sleep(0.005)


async def all_connected(mesh: Mesh) -> None:
    await until(lambda: all(status.connected for status in mesh.status()))


async def connected(mesh: Mesh, member: int, is_connected: bool = True) -> None:
    await until(lambda: status_of(mesh, member).connected is is_connected)


async def closed(connection: Connection) -> None:
    with pytest.raises(SessionClosed):  # noqa: PT012 -- heartbeats may come first
        while True:
            await connection.stream.read()


async def test_every_member_reaches_every_other_in_order() -> None:
    count, frames = 4, 200
    async with committee(count) as meshes:
        received: list[dict[int, list[bytes]]] = [{} for _ in meshes]

        async def receive(member: int) -> None:
            for _ in range((count - 1) * frames):
                sender, frame = await meshes[member].receive()
                received[member].setdefault(sender, []).append(frame)

        async with trio.open_nursery() as nursery:
            for member in range(count):
                nursery.start_soon(receive, member)
            for number in range(frames):
                for mesh in meshes:
                    mesh.broadcast(b"frame %d" % number * (number + 1))
                await trio.lowlevel.checkpoint()
        wanted = [b"frame %d" % number * (number + 1) for number in range(frames)]
        for member in range(count):
            assert received[member] == {
                sender: wanted for sender in range(count) if sender != member
            }


async def test_the_longest_frame_arrives_whole() -> None:
    async with committee(2) as (first, second):
        frame = Random(7).randbytes(LIMITS.frame_bytes)
        assert first.send(1, frame)
        assert await second.receive() == (0, frame)
        with pytest.raises(ValueError, match="1 to 1048576 bytes"):
            first.send(1, frame + b"!")
        with pytest.raises(ValueError, match="1 to 1048576 bytes"):
            first.send(1, b"")


async def test_status_tells_what_passed() -> None:
    async with committee(2) as (first, second):
        for _ in range(3):
            first.broadcast(b"vote")
        for _ in range(3):
            await second.receive()
        status = status_of(second, 0)
        assert (status.connected, status.received, status.penalties) == (True, 3, 0)
        assert status.since is not None
        assert status.last_heard is not None
        await until(lambda: status_of(first, 1).sent == 3)


async def test_an_address_may_be_a_name() -> None:
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            second = mesh_of(1, {}, range(2))
            await nursery.start(second.run)
            port = endpoint_of(second.listen_address).port
            name = f"/dns4/localhost/tcp/{port}/p2p/{peer_id_of(key_of(1))}"
            first = mesh_of(0, {1: name}, range(2))
            await nursery.start(first.run)
            await all_connected(first)
            nursery.cancel_scope.cancel()


async def test_writes_leave_at_once() -> None:
    async with lone() as mesh, dial(mesh, seed_of(0)) as connection:
        await connected(mesh, 0)
        link = mesh._peers[0].link
        assert link is not None
        for session in (connection.session, link._session):
            assert session._socket.socket.getsockopt(IPPROTO_TCP, TCP_NODELAY)


# Strangers


async def test_a_stranger_is_refused_before_muxing() -> None:
    async with lone() as mesh:
        with pytest.raises(ExceptionGroup):
            async with dial(mesh, seed_of(99)):
                pass
        await until(lambda: mesh.refused > 0)
        assert not status_of(mesh, 0).connected


async def test_the_higher_index_may_not_dial() -> None:
    async with lone(me=0) as mesh:
        with pytest.raises(ExceptionGroup):
            async with dial(mesh, seed_of(1), expected=0):
                pass


async def test_a_member_that_is_not_the_one_dialed_is_not_taken_for_it() -> None:
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            impostor = mesh_of(2, {}, range(3))
            await nursery.start(impostor.run)
            mesh = mesh_of(0, {1: impostor.listen_address, 2: LOOPBACK}, range(2))
            await nursery.start(mesh.run)
            await until(lambda: "PeerIDMismatch" in status_of(mesh, 1).last_error)
            assert not status_of(mesh, 1).connected
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize("protocol", [b"/plaintext/2.0.0", b"/tls/1.0.0", b"/secio/1.0.0"])
async def test_nothing_but_noise_is_spoken(protocol: bytes) -> None:
    def message(text: bytes) -> bytes:
        return bytes([len(text) + 1]) + text + b"\n"

    async with lone() as mesh:
        stream = await endpoint_of(mesh.listen_address).connect()
        await stream.send_all(message(b"/multistream/1.0.0") + message(protocol))
        answer = message(b"/multistream/1.0.0") + message(b"na")
        got = b""
        while len(got) < len(answer):
            got += await stream.receive_some()
        assert got == answer
        await stream.aclose()


async def test_what_a_stranger_announces_is_not_read_into_memory() -> None:
    async with lone() as mesh:
        stream = await endpoint_of(mesh.listen_address).connect()
        await stream.send_all(b"\xff\xff\xff\xff\xff\xff\x7f" + bytes(1 << 16))
        with pytest.raises((trio.BrokenResourceError, EOFError)):  # noqa: PT012
            while True:
                if not await stream.receive_some():
                    raise EOFError
        assert mesh.refused == 1
        await stream.aclose()


async def test_a_silent_stranger_is_closed_in_time() -> None:
    async with lone(limits=replace(LIMITS, handshake_seconds=0.2)) as mesh:
        stream = await endpoint_of(mesh.listen_address).connect()
        while await stream.receive_some():
            pass
        assert mesh.refused == 1
        await stream.aclose()


async def test_silent_strangers_do_not_keep_members_out() -> None:
    async with lone(limits=replace(LIMITS, handshakes_pending=4, handshake_seconds=30)) as mesh:
        strangers = [await endpoint_of(mesh.listen_address).connect() for _ in range(12)]
        async with dial(mesh, seed_of(0)):
            await connected(mesh, 0)
        assert len(mesh._handshakes) <= 4
        for stranger in strangers:
            await stranger.aclose()


async def test_hundreds_of_strangers_do_not_wear_the_host_out() -> None:
    async with lone() as mesh:
        endpoint = endpoint_of(mesh.listen_address)
        host = Host(seed_of(99), {}, LIMITS)
        member_tasks = trio.lowlevel.current_statistics().tasks_living
        for number in range(300):
            socket = await endpoint.connect()
            if number % 10 == 0:
                with pytest.raises(ExceptionGroup):
                    async with trio.open_nursery() as nursery:
                        await host.upgrade(socket, nursery, peer_id_of(key_of(1)))
            socket.socket.close()
        await until(lambda: mesh.refused == 300)
        assert not mesh._handshakes
        assert trio.lowlevel.current_statistics().tasks_living <= member_tasks + 1
        async with dial(mesh, seed_of(0)):
            await connected(mesh, 0)


# Members that misbehave


async def test_a_frame_that_is_too_long_drops_its_sender() -> None:
    async with lone() as mesh, dial(mesh, seed_of(0)) as connection:
        await connection.stream.write((LIMITS.frame_bytes + 1).to_bytes(4, "big"))
        await closed(connection)
        status = status_of(mesh, 0)
        assert status.penalties == 1
        assert "frame of 1048577 bytes" in status.last_error


async def test_too_many_frames_drop_their_sender() -> None:
    limits = replace(LIMITS, frames_per_second=10, frames_burst=50)
    async with lone(limits=limits) as mesh, dial(mesh, seed_of(0)) as connection:
        await connection.stream.write(b"\0\0\0\1x" * 51)
        await closed(connection)
        assert "frames a second" in status_of(mesh, 0).last_error


async def test_too_many_bytes_drop_their_sender() -> None:
    limits = replace(LIMITS, bytes_per_second=10, bytes_burst=50_000)
    async with lone(limits=limits) as mesh, dial(mesh, seed_of(0)) as connection:
        await connection.stream.write((60_000).to_bytes(4, "big") + bytes(60_000))
        await closed(connection)
        assert "bytes a second" in status_of(mesh, 0).last_error


async def test_a_flood_waits_at_its_sender_and_does_not_starve_others() -> None:
    async with committee(3) as meshes:
        flooded = meshes[2]
        for _ in range(2_000):
            meshes[0].send(2, bytes(10_000))
        await until(lambda: flooded._inbox.full(0))
        meshes[1].send(2, b"vote")
        await until(lambda: len(flooded._inbox._parts[1].frames) == 1)
        part = flooded._inbox._parts[0]
        assert part.bytes <= LIMITS.inbound_bytes + 10_000
        assert [(await flooded.receive())[0] for _ in range(3)].count(1) == 1
        assert status_of(meshes[0], 2).dropped_frames > 0
        await trio.sleep(2 * LIMITS.silence_seconds)
        assert status_of(flooded, 0).connected, "it is we who do not read; that is not silence"


async def test_a_member_whose_frames_waited_for_us_was_not_silent() -> None:
    limits = replace(LIMITS, inbound_frames=1, heartbeat_seconds=0.05)
    async with lone(limits=limits) as mesh, dial(mesh, seed_of(0)) as connection:
        await connected(mesh, 0)
        frames = 20
        await connection.stream.write(((1_000).to_bytes(4, "big") + bytes(1_000)) * frames)
        await until(lambda: mesh._inbox.full(0))
        await trio.sleep(1.5 * limits.silence_seconds)
        for _ in range(frames):
            await mesh.receive()
        await trio.sleep(4 * limits.heartbeat_seconds)
        assert status_of(mesh, 0).connected, status_of(mesh, 0).last_error


async def test_the_last_error_is_of_its_cause_and_gone_after_a_connection() -> None:
    listener = (await trio.open_tcp_listeners(0, host="127.0.0.1"))[0]
    port = listener.socket.getsockname()[1]
    await listener.aclose()
    address = f"/ip4/127.0.0.1/tcp/{port}"
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            first = mesh_of(0, {1: address}, range(2))
            await nursery.start(first.run)
            await until(lambda: status_of(first, 1).last_error != "")
            assert status_of(first, 1).last_error.startswith("ConnectionRefusedError: ")
            assert "Connection refused" in status_of(first, 1).last_error
            second = mesh_of(1, {}, range(2), listen=address)
            await nursery.start(second.run)
            await connected(first, 1)
            assert status_of(first, 1).last_error == ""
            nursery.cancel_scope.cancel()


async def test_a_penalty_keeps_the_member_away_and_then_lets_it_back() -> None:
    async with committee(2) as (first, second):
        second.drop(0, "equivocated")
        await connected(first, 1, False)
        assert status_of(second, 0).penalties == 1
        assert status_of(second, 0).last_error == "equivocated"
        assert not second.send(0, b"late")
        assert status_of(second, 0).dropped_frames == 1
        await all_connected(first)
        await all_connected(second)
        first.drop(1, "sent an invalid message")
        until = first._peers[1].standing.penalty_until
        await connected(second, 0, False)
        await all_connected(second)
        assert trio.current_time() >= until


async def test_many_faults_found_at_once_are_one_penalty_and_logs_name_the_member() -> None:
    async with committee(2) as (_, second):
        second._peers[0].name = "alice"
        with structlog.testing.capture_logs() as logs:
            for _ in range(4):
                second.drop(0, "a vote whose share does not verify")
            await connected(second, 0, False)
        assert status_of(second, 0).penalties == 1
        dropped = [entry["member"] for entry in logs if entry["event"] == "member dropped"]
        assert dropped == ["alice"]
        await all_connected(second)
        second.drop(0, "another, after the penalty")
        assert status_of(second, 0).penalties == 2


async def test_a_member_that_keeps_connecting_is_refused() -> None:
    limits = replace(LIMITS, connections_per_second=0.001, connections_burst=2)
    async with lone(limits=limits) as mesh:
        for _ in range(2):
            async with dial(mesh, seed_of(0)):
                await connected(mesh, 0)
        with pytest.raises(ExceptionGroup):
            async with dial(mesh, seed_of(0)):
                pass


async def test_a_member_that_never_reads_is_left() -> None:
    limits = replace(LIMITS, stall_seconds=0.5, outbound_frames=20_000)
    async with lone(limits=limits) as mesh, dial(mesh, seed_of(0)) as connection:
        await connected(mesh, 0)
        with trio.move_on_after(20) as patience:
            while status_of(mesh, 0).connected:
                mesh.send(0, bytes(100_000))
                await connection.stream.write(bytes(4))  # it does live
                await trio.sleep(0.02)
        assert not patience.cancelled_caught
        assert "has not read" in status_of(mesh, 0).last_error
        assert status_of(mesh, 0).penalties == 0


async def test_a_silent_member_is_left() -> None:
    async with lone() as mesh, dial(mesh, seed_of(0)) as connection:
        await connected(mesh, 0)
        await closed(connection)
        assert "silent for" in status_of(mesh, 0).last_error


# Our own faults, and life's


async def test_an_exception_in_a_link_costs_only_that_link(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def fail(self: Link) -> None:
        raise KeyError("a fault of ours")

    async with committee(2) as (first, second):
        with monkeypatch.context() as patch:
            patch.setattr(Link, "_read", fail)
            second._peers[0].link.close("begin anew")
            await until(lambda: "a fault of ours" in status_of(second, 0).last_error)
        # The other end may not know yet that its last link is broken: such a frame is lost.
        frame = None
        while frame is None:
            first.send(1, b"still here")
            with trio.move_on_after(0.1):
                frame = await second.receive()
        assert frame == (0, b"still here")


async def test_the_newest_connection_of_a_member_wins() -> None:
    async with lone() as mesh:
        async with dial(mesh, seed_of(0)) as old:
            await connected(mesh, 0)
            async with dial(mesh, seed_of(0)) as new:
                await closed(old)
                await new.stream.write(b"\0\0\0\3new")
                assert await mesh.receive() == (0, b"new")
                assert status_of(mesh, 0).connected


async def test_cancellation_closes_everything_though_nobody_reads() -> None:
    with trio.fail_after(20):
        async with lone() as mesh, dial(mesh, seed_of(0)):
            await connected(mesh, 0)
            while mesh.send(0, bytes(200_000)):
                await trio.lowlevel.checkpoint()
            await trio.sleep(0.05)


async def test_a_member_is_dialed_until_it_is_there_and_again_when_it_returns() -> None:
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
            port = listeners[0].socket.getsockname()[1]
            await listeners[0].aclose()
            address = f"/ip4/127.0.0.1/tcp/{port}"
            first = mesh_of(0, {1: address}, range(2))
            await nursery.start(first.run)
            await until(lambda: status_of(first, 1).last_error != "")
            assert not first.send(1, b"nobody there")
            for _ in range(3):
                async with trio.open_nursery() as life:
                    second = mesh_of(1, {}, range(2), listen=address)
                    await life.start(second.run)
                    await all_connected(first)
                    assert first.send(1, b"back")
                    assert await second.receive() == (0, b"back")
                    life.cancel_scope.cancel()
                await connected(first, 1, False)
            nursery.cancel_scope.cancel()


async def test_a_member_that_moved_is_dialed_at_its_new_address() -> None:
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            dialer = mesh_of(0, {1: "/ip4/127.0.0.1/tcp/1"}, (0, 1))
            await nursery.start(dialer.run)
            await until(lambda: status_of(dialer, 1).last_error != "")
            moved = mesh_of(1, {}, (0, 1))
            await nursery.start(moved.run)
            dialer.readdress(1, PeerAddress(key_of(1), moved.listen_address))
            await connected(dialer, 1)
            # A link that stands is left alone.
            since = status_of(dialer, 1).since
            dialer.readdress(1, PeerAddress(key_of(1), "/ip4/127.0.0.1/tcp/1"))
            await trio.sleep(0.3)
            assert status_of(dialer, 1).since == since
            nursery.cancel_scope.cancel()


async def test_a_member_gets_its_first_address_while_the_mesh_runs() -> None:
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            other = mesh_of(1, {}, (0, 1))
            await nursery.start(other.run)
            dialer = Mesh(
                identity_seed=seed_of(0),
                me=0,
                peers={1: PeerAddress(key_of(1), None)},
                listen=LOOPBACK,
                limits=LIMITS,
                random=Random(0),
            )
            await nursery.start(dialer.run)
            dialer.readdress(1, PeerAddress(key_of(1), other.listen_address))
            await connected(dialer, 1)
            # Who is the one that is dialed never dials, whatever address the dialer has.
            other.readdress(0, PeerAddress(key_of(0), "/ip4/127.0.0.1/tcp/1"))
            assert status_of(other, 0).connected
            nursery.cancel_scope.cancel()


async def test_a_port_is_never_shared() -> None:
    async with lone() as mesh:
        other = mesh_of(1, {}, range(2), listen=mesh.listen_address)
        with pytest.raises(OSError, match="in use"):
            await other.run()
    with pytest.raises(RuntimeError, match="does not run"):
        _ = mesh.listen_address


def test_a_mesh_checks_its_configuration() -> None:
    with pytest.raises(ValueError, match="name an IP address"):
        mesh_of(0, {}, range(1), listen="/dns4/localhost/tcp/1")
    with pytest.raises(ValueError, match="is not a multiaddr"):
        mesh_of(0, {1: "localhost:1"}, range(2))
    with pytest.raises(ValueError, match="same Ed25519 key"):
        Mesh(
            identity_seed=seed_of(0),
            me=0,
            peers={1: PeerAddress(key_of(1), LOOPBACK), 2: PeerAddress(key_of(1), LOOPBACK)},
            listen=LOOPBACK,
        )


def test_refusals_are_handshake_failures_to_libp2p() -> None:
    from node.network.gate import Refused

    assert issubclass(Refused, HandshakeFailure)
