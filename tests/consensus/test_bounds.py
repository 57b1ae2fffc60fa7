"""No peer makes a member remember more than a little, or say more than a little."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consensus import effects as fx
from consensus.blocktree import BlockTree, Node
from consensus.collectors import ACCUSATIONS_MAX, TimeoutCollector, VoteCollector
from consensus.evidence import kind_of
from consensus.messages import FRAME_BYTES_MAX, Certificate, decode, encode

Bench = Callable[..., Any]
Of = Callable[..., list[Any]]


def size(core: Any) -> int:
    """Return how many things of peers a core keeps."""
    votes = sum(len(slots) for slots in core._votes._views.values())
    timeouts = sum(len(view.slots) for view in core._timeouts._views.values())
    observations = sum(len(members) for members in core._observations.values())
    views = len(core._votes._views) + len(core._timeouts._views) + len(core._observations)
    chains = sum(1 + len(want.chain) for want in core._fetcher.all())
    return votes + timeouts + observations + views + chains + len(core._waiting_qcs)


def test_messages_for_views_far_ahead_are_not_kept(bench: Bench) -> None:
    b = bench()
    sender = b.others[0]
    for view in range(1, 2000):
        made = b.make(view)
        b.give(sender, b.vote(sender, made))
        b.give(sender, b.timeout(sender, view, 0))
        b.core.on_observation(sender, b.sign.observed(sender, view, b.now_ms), b.now_ms)
    assert size(b.core) <= 3 * 3 + 9


def test_a_flood_for_one_view_keeps_one_slot_and_makes_little_evidence(
    bench: Bench, of: Of
) -> None:
    b = bench()
    sender = b.others[0]
    effects: list[Any] = []
    for i in range(500):
        made = b.make(1, at_ms=b.now_ms + i)
        effects += b.give(sender, b.vote(sender, made))
    for high in range(2):
        for _ in range(100):
            timeout = b.timeout(sender, 3, high, b.make(2).qc)
            effects += b.core.on_timeout(sender, timeout, b.now_ms)
    kinds = [kind_of(accusation.evidence) for accusation in of(effects, fx.Accusation)]
    assert kinds == ["two-votes"] * ACCUSATIONS_MAX + ["two-timeouts"] * ACCUSATIONS_MAX
    assert size(b.core) < 12


def test_missing_blocks_of_many_certificates_are_bounded(bench: Bench) -> None:
    b = bench()
    for view in range(1, 500):
        qc = b.make(view).qc
        b.core.on_certificate_message(b.others[0], Certificate(qc, None), b.now_ms)
    assert len(b.core._fetcher.all()) <= 8
    assert len(b.core._waiting_qcs) <= 64


def test_what_is_older_than_the_view_before_is_forgotten(bench: Bench) -> None:
    b = bench()
    parent = None
    for view in range(1, 200):
        made = b.make(view, parent)
        for member in b.others[:2]:
            b.core.on_observation(member, b.sign.observed(member, view, b.now_ms), b.now_ms)
            b.give(member, b.vote(member, made))
        b.give(b.others[0], b.timeout(b.others[0], view, view - 1, made.block.justify))
        b.advance([made])
        parent = made
    assert b.core.view == 200
    assert size(b.core) < 4 * 3 * 3
    assert len(b.core._tree) <= 3
    assert len(b.core._votes._certifying) <= 3


def test_a_leader_gets_one_block_a_view_into_the_tree(bench: Bench) -> None:
    b = bench()
    for i in range(50):
        b.propose(b.make(1, at_ms=b.now_ms + i))
    assert len(b.core._tree) == 2


def test_the_backlog_of_a_liar_from_the_future_is_not_waited_for(bench: Bench, of: Of) -> None:
    b = bench(leads=1)
    liar = b.others[0]
    b.core.on_vote(liar, b.vote(liar, b.make(10**9)), b.now_ms)
    assert b.core._last_heard.get(liar, 0) <= b.core.view + 2


def test_side_branches_are_pruned_and_the_new_and_the_newest_certified_are_not() -> None:
    def node(number: int, parent: int) -> Node:
        name = number.to_bytes(4, "big")
        return Node(name, parent.to_bytes(4, "big"), None, number, number, 0, None)

    tree = BlockTree(node(0, 0))
    for number in range(1, 5001):
        tree.add(node(number, number - 1 if number <= 4500 else 0))
    spine = (4500).to_bytes(4, "big")
    tree.prune([spine, (5000).to_bytes(4, "big"), b"gone"])
    assert len(tree) == 4502
    assert tree.get((5000).to_bytes(4, "big")) is not None
    assert len(list(tree.down_from(spine))) == 4501


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 2)), max_size=60))
def test_a_quorum_of_votes_is_handed_out_once_and_one_slot_per_signer(
    votes: list[tuple[int, int]],
) -> None:
    from testnet.stub_signatures import stub_context

    header = stub_context(7).genesis_qc.header
    collector = VoteCollector(5)
    first: dict[int, int] = {}
    handed: list[int] = []
    for signer, block in votes:
        collector.add(signer, header, bytes([block]), b"")
        first.setdefault(signer, block)
        shares = collector.take_quorum(header.view, bytes([block]))
        if shares is not None:
            handed.append(block)
            assert set(shares) == {s for s, b in first.items() if b == block}
            assert len(shares) >= 5
    assert len(handed) <= 1


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 2)), max_size=60))
def test_a_quorum_of_timeouts_is_handed_out_once(timeouts: list[tuple[int, int]]) -> None:
    collector = TimeoutCollector(5)
    first: dict[int, int] = {}
    handed = 0
    for signer, high in timeouts:
        collector.add(signer, 9, high, b"")
        first.setdefault(signer, high)
        shares = collector.take_quorum(9)
        if shares is not None:
            handed += 1
            assert {signer: high for signer, (high, _) in shares.items()} == first
    assert handed == (len(first) >= 5)


@settings(max_examples=200)
@given(st.binary(max_size=200))
def test_any_bytes_are_a_message_or_refused(frame: bytes) -> None:
    from consensus.errors import InvalidMessage

    try:
        message = decode(frame)
    except InvalidMessage:
        return
    assert decode(encode(message)) == message


def test_a_frame_beyond_the_limit_is_refused() -> None:
    from consensus.errors import InvalidMessage

    with pytest.raises(InvalidMessage, match="at most"):
        decode(bytes(FRAME_BYTES_MAX + 1))
    for frame in (b"", b"\x91" * 5000, b"\x91\xa4\x00\x00\x00\x80", b"\xdc\xff\xff"):
        with pytest.raises(InvalidMessage, match="undecodable"):
            decode(frame)
