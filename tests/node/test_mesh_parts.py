"""The parts of the mesh: frames, queues, rates, standing, addresses and the Yamux session."""

import re
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from random import Random
from socket import AF_INET, AF_INET6, AF_UNSPEC

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from node.network import libp2p_repairs
from node.network.address import endpoint_of, listen_endpoint_of, multiaddr_of, peer_id_of
from node.network.dialer import Redial
from node.network.frames import HEARTBEAT, FrameReader, FrameTooLong, pack
from node.network.inbox import Inbox
from node.network.limits import Limits
from node.network.outbox import Outbox
from node.network.rate import TokenBucket
from node.network.standing import Standing
from node.network.yamux import WINDOW_BYTES, Session, SessionClosed

DATA, WINDOW_UPDATE, PING, GO_AWAY = range(4)
SYN, ACK, FIN, RST = 1, 2, 4, 8

# Frames and rates


@given(st.lists(st.binary(max_size=40), max_size=20), st.randoms(use_true_random=False))
def test_frames_come_out_as_they_went_in(frames: list[bytes], random: Random) -> None:
    reader = FrameReader(40)
    wire = pack(frames)
    out: list[bytes] = []
    while wire:
        size = random.randint(1, len(wire))
        out += reader.feed(wire[:size])
        wire = wire[size:]
    assert out == frames


def test_a_heartbeat_is_an_empty_frame() -> None:
    assert FrameReader(10).feed(HEARTBEAT) == [b""]


def test_a_long_frame_is_refused_at_its_length() -> None:
    reader = FrameReader(100)
    with pytest.raises(FrameTooLong, match="101 bytes"):
        reader.feed((101).to_bytes(4, "big"))


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 20)), max_size=50))
def test_a_bucket_never_gives_more_than_burst_and_rate(steps: list[tuple[int, int]]) -> None:
    bucket = TokenBucket(rate=2, burst=20, now=0)
    now = taken = 0
    for pause, amount in steps:
        now += pause
        if bucket.take(amount, now):
            taken += amount
        assert taken <= 20 + 2 * now


def test_penalties_double_and_are_forgotten() -> None:
    limits = Limits(penalty_seconds_min=5, penalty_seconds_max=15, penalty_memory_seconds=100)
    standing = Standing(limits)
    assert [standing.penalise(now) for now in (0, 10, 20, 30, 200)] == [5, 10, 15, 15, 5]
    assert standing.penalties == 5
    assert "penalty for another 4.0 s" in (standing.refusal(201) or "")
    assert standing.refusal(206) is None


def test_connecting_too_often_is_refused() -> None:
    standing = Standing(Limits(connections_per_second=1, connections_burst=2))
    assert [standing.refusal(now) is None for now in (1, 1, 1, 2, 2)] == [
        True,
        True,
        False,
        True,
        False,
    ]


def test_redial_pauses_grow_with_full_jitter_and_begin_anew() -> None:
    pauses = [Redial(0.1, 2.0, Random(seed)) for seed in range(200)]
    rounds = [[redial.pause() for redial in pauses] for _ in range(8)]
    ceilings = [0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0, 2.0]
    for drawn, ceiling in zip(rounds, ceilings, strict=True):
        assert 0.9 * ceiling < max(drawn) <= ceiling
        assert 0 <= min(drawn) < 0.1 * ceiling
    pauses[0].succeeded()
    assert pauses[0].pause() <= 0.1


# Queues


def test_an_outbox_refuses_what_does_not_fit_and_takes_in_batches() -> None:
    async def main() -> None:
        outbox = Outbox(frames_max=3, bytes_max=100)
        assert [outbox.put(bytes(40)) for _ in range(3)] == [True, True, False]
        assert outbox.put(b"x")
        assert not outbox.put(b"y")
        count, data = outbox.take()
        assert (count, len(data)) == (3, 3 * 4 + 81)
        assert outbox.take() == (0, b"")
        assert outbox.put(bytes(100))

    trio.run(main)


async def test_an_inbox_serves_members_in_turn_and_each_in_order() -> None:
    inbox = Inbox(range(3), frames_max=10, bytes_max=1_000)
    for number in range(5):
        await inbox.put(0, b"%d" % number)
    await inbox.put(1, b"a")
    await inbox.put(2, b"b")
    assert [await inbox.get() for _ in range(7)] == [
        (0, b"0"),
        (1, b"a"),
        (2, b"b"),
        (0, b"1"),
        (0, b"2"),
        (0, b"3"),
        (0, b"4"),
    ]


async def test_a_full_part_of_an_inbox_waits_for_room() -> None:
    inbox = Inbox([0], frames_max=2, bytes_max=1_000)
    async with trio.open_nursery() as nursery:

        async def fill() -> None:
            for number in range(6):
                await inbox.put(0, b"%d" % number)

        nursery.start_soon(fill)
        await trio.testing.wait_all_tasks_blocked()
        assert inbox.full(0)
        assert [(await inbox.get())[1] for _ in range(6)] == [b"%d" % n for n in range(6)]


async def test_a_cleared_part_of_an_inbox_leaves_the_others() -> None:
    inbox = Inbox(range(2), frames_max=2, bytes_max=1_000)
    for frame in (b"a", b"b"):
        await inbox.put(0, frame)
    await inbox.put(1, b"c")
    inbox.clear(0)
    inbox.clear(0)
    assert not inbox.full(0)
    assert await inbox.get() == (1, b"c")
    await inbox.put(0, b"d")
    assert await inbox.get() == (0, b"d")


# Addresses and identity


@pytest.mark.parametrize(
    ("text", "host", "family", "is_name"),
    [
        ("/ip4/192.0.2.1/tcp/9000", "192.0.2.1", AF_INET, False),
        ("/ip6/2001:db8::1/tcp/9000", "2001:db8::1", AF_INET6, False),
        ("/dns4/node.example.org/tcp/9000", "node.example.org", AF_INET, True),
        ("/dns6/node.example.org/tcp/9000", "node.example.org", AF_INET6, True),
        ("/dns/node.example.org/tcp/9000", "node.example.org", AF_UNSPEC, True),
    ],
)
def test_tcp_addresses_are_understood(text: str, host: str, family: int, is_name: bool) -> None:
    endpoint = endpoint_of(text)
    assert (endpoint.host, endpoint.port) == (host, 9000)
    assert (endpoint.family, endpoint.is_name) == (family, is_name)
    if not is_name:
        assert multiaddr_of(host, 9000) == text
        assert listen_endpoint_of(text) == endpoint


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nonsense",
        "/ip4/192.0.2.1",
        "/ip4/192.0.2.1/udp/9000",
        "/ip4/192.0.2.1/udp/9000/quic-v1",
        "/ip4/192.0.2.1/tcp/99999",
        "/ip4/192.0.2.1/tcp/9000/ws",
        "/ip4/192.0.2.1/tcp/9000/p2p/12D3KooWQYhTNQdmr3ArTeUHRYzFg94BKyTkoWBDWez9kSCVe2Xo",
    ],
)
def test_other_addresses_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"multiaddr|TCP address|peer id"):
        endpoint_of(text, peer_id_of(bytes(32)))


def test_peer_ids_are_libp2p_s_own() -> None:
    from libp2p.crypto.ed25519 import create_new_key_pair
    from libp2p.peer.id import ID

    pair = create_new_key_pair(bytes(range(32)))
    assert peer_id_of(pair.public_key.to_bytes()) == ID.from_pubkey(pair.public_key)
    with pytest.raises(ValueError, match="32 bytes"):
        peer_id_of(bytes(31))


def test_the_repairs_hold_for_one_version_only(monkeypatch: pytest.MonkeyPatch) -> None:
    libp2p_repairs.check_version()
    monkeypatch.setattr(libp2p_repairs, "REPAIRED_VERSION", "0.8.0")
    with pytest.raises(RuntimeError, match="go through the repairs again"):
        libp2p_repairs.check_version()


# The Yamux session


class Plain:
    """Packets without Noise, so that a test can write every byte of a session's peer."""

    def __init__(self) -> None:
        self.opened = bytearray()
        self.packets = 0

    def seal(self, plaintext: bytes) -> bytes:
        return plaintext

    def open(self, data: bytes) -> None:
        self.opened += data
        self.packets += 1


def frame(kind: int, flags: int, stream_id: int, value: int, body: bytes = b"") -> bytes:
    return struct.pack("!BBHII", 0, kind, flags, stream_id, value) + body


@asynccontextmanager
async def session_and_peer(
    packets_max: int = 10_000,
) -> AsyncIterator[tuple[Session, trio.SocketStream]]:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listener.socket.getsockname()[1]
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            peer = await trio.open_tcp_stream("127.0.0.1", port)
            socket = await listener.accept()
            session = Session(
                socket, Plain(), False, TokenBucket(0, packets_max, trio.current_time())
            )
            nursery.start_soon(session.run)
            yield session, peer
            session.abort("over")
            await peer.aclose()
    await listener.aclose()


async def receive(peer: trio.SocketStream, size: int) -> bytes:
    data = b""
    while len(data) < size:
        chunk = await peer.receive_some(size - len(data))
        assert chunk
        data += chunk
    return data


async def ended(session: Session) -> str:
    while not session.closed:  # noqa: ASYNC110 -- it has no event
        await trio.sleep(0.002)
    return session.reason


async def test_a_stream_carries_bytes_both_ways() -> None:
    async with session_and_peer() as (session, peer):
        await peer.send_all(frame(WINDOW_UPDATE, SYN, 1, 0) + frame(DATA, 0, 1, 5, b"price"))
        stream = await session.accept_stream()
        assert await receive(peer, 12) == frame(WINDOW_UPDATE, ACK, 1, 0)
        assert await stream.read(3) + await stream.read() == b"price"
        await stream.write(b"vote")
        assert await receive(peer, 16) == frame(DATA, 0, 1, 4, b"vote")


async def test_the_window_is_granted_again_as_it_is_read() -> None:
    async with session_and_peer() as (session, peer):
        await peer.send_all(frame(WINDOW_UPDATE, SYN, 1, 0))
        stream = await session.accept_stream()
        await receive(peer, 12)
        half = WINDOW_BYTES // 2
        await peer.send_all(2 * frame(DATA, 0, 1, half, bytes(half)))
        size = 0
        while size < WINDOW_BYTES:
            size += len(await stream.read())
        granted = 0
        while granted < half:  # what is read beyond that may wait for the next update
            kind, _, _, value = struct.unpack("!xBHII", await receive(peer, 12))
            assert kind == WINDOW_UPDATE
            granted += value
        assert granted <= WINDOW_BYTES


async def test_a_write_waits_for_the_peer_s_window() -> None:
    async with session_and_peer() as (session, peer), trio.open_nursery() as nursery:
        await peer.send_all(frame(WINDOW_UPDATE, SYN, 1, 0))
        stream = await session.accept_stream()
        await receive(peer, 12)
        nursery.start_soon(stream.write, bytes(WINDOW_BYTES + 7))
        size = 0
        while size < WINDOW_BYTES:
            _, _, _, value = struct.unpack("!xBHII", await receive(peer, 12))
            size += len(await receive(peer, value))
        assert size == WINDOW_BYTES
        await peer.send_all(frame(WINDOW_UPDATE, 0, 1, 7))
        assert await receive(peer, 19) == frame(DATA, 0, 1, 7, bytes(7))


async def test_pings_are_answered() -> None:
    async with session_and_peer() as (_, peer):
        await peer.send_all(frame(PING, SYN, 0, 77) + frame(PING, ACK, 0, 1))
        assert await receive(peer, 12) == frame(PING, ACK, 0, 77)


async def test_streams_are_reset_once_they_are_refused() -> None:
    async with session_and_peer() as (session, peer):
        session.refuse_streams()
        await peer.send_all(frame(DATA, SYN, 1, 4, b"junk"))
        assert await receive(peer, 12) == frame(WINDOW_UPDATE, RST, 1, 0)


@pytest.mark.parametrize("flag", [FIN, RST])
async def test_the_end_of_a_stream_is_told_to_its_reader(flag: int) -> None:
    async with session_and_peer() as (session, peer):
        await peer.send_all(frame(WINDOW_UPDATE, SYN, 1, 0))
        stream = await session.accept_stream()
        await peer.send_all(frame(DATA, 0, 1, 3, b"end") + frame(WINDOW_UPDATE, flag, 1, 0))
        assert await stream.read() == b"end"
        with pytest.raises(SessionClosed):
            await stream.read()
        with pytest.raises(SessionClosed):
            await stream.write(b"late")


OPEN = frame(WINDOW_UPDATE, SYN, 1, 0)


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (OPEN + frame(DATA, 0, 1, WINDOW_BYTES + 1), "exceeds its receive window"),
        (OPEN + frame(DATA, 0, 1, WINDOW_BYTES) + bytes(WINDOW_BYTES) + frame(DATA, 0, 1, 1),
         "exceeds its receive window"),
        (OPEN + OPEN, "opens a stream twice"),
        (frame(WINDOW_UPDATE, SYN, 2, 0), "an id of ours"),
        (frame(WINDOW_UPDATE, SYN, 0, 0), "an id of ours"),
        (b"".join(frame(WINDOW_UPDATE, SYN, 2 * n + 1, 0) for n in range(100)),
         "keeps opening streams"),
        (frame(DATA, 0, 9, 1 << 31), "streams that are not open"),
        (OPEN + frame(WINDOW_UPDATE, 0, 1, 1 << 31), "impossible send window"),
        (b"\1" + bytes(11), "version 1"),
        (frame(9, 0, 0, 0), "type 9"),
        (frame(PING, SYN, 0, 0) * 20_000, "does not read them|too many packets"),
        (frame(PING, ACK, 0, 0) * 20_000, "too many packets"),
        (frame(GO_AWAY, 0, 0, 0) + b"ignored", "goodbye"),
    ],
)  # fmt: skip
async def test_a_peer_that_breaks_yamux_loses_its_session(sent: bytes, reason: str) -> None:
    async with session_and_peer() as (session, peer):
        with trio.move_on_after(5):
            with suppress(trio.BrokenResourceError):  # it need not wait for the rest
                await peer.send_all(sent)
        assert re.search(reason, await ended(session))
        assert session.violated is (reason != "goodbye")


async def test_the_end_of_the_connection_ends_everything() -> None:
    async with session_and_peer() as (session, peer):
        await peer.send_all(OPEN)
        stream = await session.accept_stream()
        await peer.aclose()
        with pytest.raises(SessionClosed):
            await stream.read()
        with pytest.raises(SessionClosed):
            await session.accept_stream()
        with pytest.raises(SessionClosed):
            await session.open_stream()


async def test_a_cancelled_write_ends_the_session() -> None:
    async with session_and_peer() as (session, _):
        with trio.move_on_after(0.1) as patience:
            while True:  # nobody reads at the other end
                await session.write(bytes(60_000))
        assert patience.cancelled_caught
        assert session.reason == "a write was cancelled"
        with pytest.raises(SessionClosed):
            await session.write(b"more")


@given(st.binary(max_size=300))
def test_garbage_never_raises_anything_but_the_session_s_own(data: bytes) -> None:
    async def main() -> None:
        async with session_and_peer() as (session, peer):
            await peer.send_all(data)
            await peer.send_eof()
            await ended(session)
            assert "unreadable" not in session.reason

    trio.run(main)


async def test_a_members_frames_can_be_taken_out_of_turn_within_its_bounds() -> None:
    inbox = Inbox([1, 2], frames_max=2, bytes_max=1000)
    await inbox.put(1, b"a")
    await inbox.put(2, b"x")
    await inbox.put(1, b"b")
    assert inbox.full(1)
    assert await inbox.get_from(1) == b"a"
    assert not inbox.full(1)
    assert await inbox.get_from(1) == b"b"
    assert await inbox.get() == (2, b"x"), "whoever has nothing left has no turn"
    async with trio.open_nursery() as nursery:
        got: list[bytes] = []

        async def take() -> None:
            got.append(await inbox.get_from(2))

        nursery.start_soon(take)
        await trio.testing.wait_all_tasks_blocked()
        await inbox.put(1, b"c")
        await trio.testing.wait_all_tasks_blocked()
        assert got == []
        await inbox.put(2, b"y")
    assert got == [b"y"]
