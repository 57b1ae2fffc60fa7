"""Which epoch a frame belongs to, and what becomes of it."""

from collections import defaultdict
from pathlib import Path
from typing import Any

import msgspec
import structlog
import trio
import trio.testing

from consensus import messages as wire
from node import epoch_file
from node.running_epoch import encode_successor
from node.store import Store
from node.switchboard import REQUESTS_AT_ONCE, EpochNetwork, Switchboard, peer_number, sealed


class Links:
    """A mesh that keeps what is sent."""

    def __init__(self) -> None:
        self.sent: list[tuple[int, bytes]] = []
        self.drops: list[int] = []
        self._ways = defaultdict[int, Any](lambda: trio.open_memory_channel[bytes](1000))

    def send(self, member: int, frame: bytes) -> bool:
        self.sent.append((member, frame))
        return True

    async def give(self, peer: int, frame: bytes) -> None:
        await self._ways[peer][0].send(frame)

    def waiting(self, peer: int) -> int:
        count: int = self._ways[peer][1].statistics().current_buffer_used
        return count

    async def receive_from(self, member: int) -> bytes:
        frame: bytes = await self._ways[member][1].receive()
        return frame

    def drop(self, member: int, reason: str) -> None:
        self.drops.append(member)


async def test_answers_to_a_newcomer_are_of_the_epoch_they_were_asked_for(
    world: Any, tmp_path: Path
) -> None:
    """All peers are asked; who answers later must not seem to lie about the epoch after it."""
    successor = world.successor(epoch_file.to_document(world.next_file()))
    peers = [peer_number(member.ed25519_key) for member in world.epoch.members]
    with Store.create(tmp_path / "store") as store, trio.fail_after(20):
        links = Links()
        board = Switchboard(links, store, [])
        answers = board.join()
        async with trio.open_nursery() as nursery:
            await nursery.start(board.run, peers)
            for peer in peers[:2]:
                await links.give(peer, sealed(0, successor))
            got = [await answers.receive() for _ in range(2)]
            assert sorted(got, key=lambda one: peers.index(one[0])) == [
                (peer, 0, successor) for peer in peers[:2]
            ]
            store.save_successor(world.epoch.context.domain, encode_successor(successor))
            board.end(world.epoch)
            await links.give(peers[2], sealed(0, successor))
            await links.give(peers[3], sealed(1, successor))
            assert await answers.receive() == (peers[3], 1, successor)
            assert not links.drops
            nursery.cancel_scope.cancel()


async def test_frames_find_their_epoch(world: Any, tmp_path: Path) -> None:
    successor = world.successor(epoch_file.to_document(world.next_file()))
    following = world.epoch.next(successor)
    peers = [peer_number(member.ed25519_key) for member in world.epoch.members]
    request = wire.SuccessorRequest()
    with Store.create(tmp_path / "store") as store, trio.fail_after(20):
        links = Links()
        board = Switchboard(links, store, [])
        first = board.begin(world.epoch)
        async with trio.open_nursery() as nursery:
            await nursery.start(board.run, [*peers, 12345])
            await links.give(peers[2], sealed(0, b"now"))
            assert await first.receive_from(2) == b"now"
            # The epoch's own tasks take its members' frames.
            takers = [trio.CancelScope(), trio.CancelScope()]

            async def take(network: EpochNetwork, member: int, scope: trio.CancelScope) -> None:
                with scope:
                    await network.receive_from(member)
                    raise AssertionError("a frame of this epoch")

            nursery.start_soon(take, first, 1, takers[0])
            nursery.start_soon(take, first, 3, takers[1])
            # Of the next epoch a bounded number of frames wait; their sender is asked.
            for number in range(200):
                await links.give(peers[1], sealed(1, b"early %d" % number))
            await links.give(peers[1], sealed(7, b"far"))
            await links.give(12345, sealed(0, b"stranger"))
            await links.give(peers[3], b"short")
            await links.give(peers[2], sealed(0, b"again"))
            assert await first.receive_from(2) == b"again"
            while not (links.drops and board.ignored and not links.waiting(peers[1])):  # noqa: ASYNC110
                await trio.sleep(0.005)
            assert links.sent == [(peers[1], sealed(0, request))]
            assert links.drops == [peers[3]]
            store.save_successor(world.epoch.context.domain, msgspec.msgpack.encode(successor))
            for scope in takers:
                scope.cancel()
            board.end(world.epoch)
            second = board.begin(following)
            got = [await second.receive_from(1) for _ in range(64)]
            assert got[-1] == b"early 199"
            links.sent.clear()
            for member in (0, 2, 3):
                nursery.start_soon(take, second, member, trio.CancelScope())
            # Whoever is behind is told how its epoch ended, but not at any rate.
            share = wire.HandoverShare(bytes(32), bytes(32), 1, bytes(96))
            for _ in range(5):
                await links.give(peers[0], sealed(0, share))
            await links.give(peers[3], sealed(0, request))
            await links.give(peers[2], sealed(0, wire.CheckpointRequest(0)))
            while len(links.sent) < 3:  # noqa: ASYNC110
                await trio.sleep(0.005)
            assert sorted(links.sent) == sorted(
                [
                    (peers[0], sealed(0, successor.certificate)),
                    (peers[2], sealed(0, successor.certificate)),
                    (peers[3], sealed(0, successor)),
                ]
            )
            # Only who has the whole proof can go on alone: a removed member waits for that.
            assert board.informed == {peers[3]}
            nursery.cancel_scope.cancel()


async def test_requests_for_what_is_over_are_answered_at_a_bounded_rate(
    world: Any, tmp_path: Path
) -> None:
    peers = [peer_number(member.ed25519_key) for member in world.epoch.members]
    successor = world.successor(epoch_file.to_document(world.next_file()))
    with Store.create(tmp_path / "store") as store, trio.fail_after(60):
        store.save_successor(world.epoch.context.domain, encode_successor(successor))
        links = Links()
        board = Switchboard(links, store, [world.epoch])
        async with trio.open_nursery() as nursery:
            await nursery.start(board.run, peers)

            async def asks(peer: int, times: int) -> int:
                """Return how many answers a peer gets that waits for each before it asks again."""
                links.sent.clear()
                for _ in range(times):
                    before = len(links.sent), board.ignored
                    await links.give(peer, sealed(0, wire.SuccessorRequest()))
                    while (len(links.sent), board.ignored) == before:  # noqa: ASYNC110
                        await trio.sleep(0.0005)
                return len(links.sent)

            assert REQUESTS_AT_ONCE <= await asks(peers[0], 400) < 350
            assert await asks(peers[1], 1) == 1
            nursery.cancel_scope.cancel()


def test_a_peer_that_is_at_fault_is_told_by_its_name(world: Any, tmp_path: Path) -> None:
    stranger = 12345
    peers = [peer_number(member.ed25519_key) for member in world.epoch.members]
    with Store.create(tmp_path / "store") as store, structlog.testing.capture_logs() as logs:
        board = Switchboard(Links(), store, [])
        network = board.begin(world.epoch)
        for peer in (peers[2], stranger):
            assert board.sort(peer, b"short", network) is None
    assert [entry["peer"] for entry in logs] == ["node2", f"0x{stranger:064x}"]
