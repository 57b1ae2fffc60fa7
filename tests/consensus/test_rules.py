"""The rules R1-R6: what may be certified, justified, voted for and made final."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consensus import rules
from consensus.committee import bitmap_of
from consensus.errors import InvalidMessage
from consensus.messages import QC, TC, TimeoutGroup
from testnet.stub_signatures import StubSignatures, stub_context


def qc_of(bitmap: bytes, view: int = 3, n: int = 4) -> QC:
    context = stub_context(n)
    header = msgspec.structs.replace(context.genesis_qc.header, view=view)
    return QC(header, bitmap, bytes(96))


@given(st.integers(1, 128), st.sets(st.integers(0, 255)))
def test_r1_a_qc_needs_a_quorum_of_members_and_no_bit_beyond(n: int, signers: set[int]) -> None:
    context = stub_context(n)
    qc = qc_of(bitmap_of(sorted(signers)), n=n)
    good = len(signers) >= context.q and all(signer < n for signer in signers)
    if good:
        rules.check_qc(context, qc)
    else:
        with pytest.raises(InvalidMessage):
            rules.check_qc(context, qc)


@pytest.mark.parametrize("n", [4, 5, 7, 31, 128])
def test_r1_exactly_a_quorum_is_enough(n: int) -> None:
    context = stub_context(n)
    rules.check_qc(context, qc_of(bitmap_of(range(context.q)), n=n))
    with pytest.raises(InvalidMessage, match="signers"):
        rules.check_qc(context, qc_of(bitmap_of(range(context.q - 1)), n=n))


@pytest.mark.parametrize("bit", [4, 5, 100, 255])
def test_r1_a_bit_beyond_the_committee_is_refused_beside_a_full_quorum(bit: int) -> None:
    with pytest.raises(InvalidMessage, match="beyond"):
        rules.check_qc(stub_context(4), qc_of(bitmap_of([0, 1, 2, bit])))


def test_r1_view_0_is_the_genesis_only() -> None:
    context = stub_context(4)
    rules.check_qc(context, context.genesis_qc)
    for other in (
        stub_context(4, network=b"o" * 32).genesis_qc,
        qc_of(bitmap_of([0, 1, 2]), view=0),
        msgspec.structs.replace(context.genesis_qc, aggregate=b"\x01" * 96),
    ):
        with pytest.raises(InvalidMessage, match="genesis"):
            rules.check_qc(context, other)


def tc_of(view: int, groups: Mapping[int, Sequence[int]], high: int, n: int = 4) -> TC:
    context = stub_context(n)
    high_qc = context.genesis_qc if high == 0 else qc_of(bitmap_of(range(context.q)), high, n)
    made = tuple(TimeoutGroup(v, bitmap_of(members)) for v, members in groups.items())
    return TC(view, made, bytes(96), high_qc)


@pytest.mark.parametrize(
    "tc",
    [
        tc_of(5, {4: [0, 1, 2]}, 4),
        tc_of(5, {0: [3], 2: [1], 3: [0, 2]}, 3),
        tc_of(5, {0: [0, 1, 2, 3]}, 0),
        # A member repeats its timeout verbatim, so the QC beside it may be newer.
        tc_of(5, {2: [0, 1, 2]}, 4),
    ],
)
def test_r2_what_a_tc_may_be(tc: TC) -> None:
    rules.check_tc(stub_context(4), tc)


@pytest.mark.parametrize(
    ("tc", "why"),
    [
        (tc_of(0, {0: [0, 1, 2]}, 0), "view 0"),
        (tc_of(5, {4: [0, 1]}, 4), "2 signers"),
        (tc_of(5, {3: [0, 1], 4: [1, 2]}, 4), "overlapping"),
        (tc_of(5, {3: [0, 1, 2], 4: []}, 4), "empty"),
        (tc_of(5, {4: [0, 1, 4]}, 4), "beyond"),
        (tc_of(5, {4: [0, 1, 2, 255]}, 4), "beyond"),
        (tc_of(5, {4: [0, 1], 3: [2]}, 4), "ascend"),
        (tc_of(5, {5: [0, 1, 2]}, 5), "ascend"),
        (tc_of(5, {9: [0, 1, 2]}, 9), "ascend"),
        (tc_of(5, {2: [0, 1], 4: [2]}, 3), "older than one of its signers reported"),
        (tc_of(5, {1: [0, 1, 2]}, 0), "older than one of its signers reported"),
    ],
)
def test_r2_what_a_tc_may_not_be(tc: TC, why: str) -> None:
    with pytest.raises(InvalidMessage, match=why):
        rules.check_tc(stub_context(4), tc)


def test_r2_two_groups_of_one_view_are_refused() -> None:
    group = TimeoutGroup(3, bitmap_of([0, 1]))
    tc = TC(5, (group, TimeoutGroup(3, bitmap_of([2]))), bytes(96), qc_of(bitmap_of([0, 1, 2])))
    with pytest.raises(InvalidMessage, match="ascend"):
        rules.check_tc(stub_context(4), tc)


def test_r2_the_qc_of_a_tc_is_checked_too() -> None:
    tc = TC(
        5, (TimeoutGroup(3, bitmap_of([0, 1, 2])),), bytes(96), qc_of(bitmap_of([0, 1]), view=3)
    )
    with pytest.raises(InvalidMessage, match="a QC with 2"):
        rules.check_tc(stub_context(4), tc)


def test_r3_only_the_leader_proposes(bench: Callable[..., Any]) -> None:
    b = bench()
    proposal = b.proposal(b.make(1))
    for member in range(4):
        if member == b.context.leader(1):
            rules.check_proposal(b.context, member, proposal)
        else:
            with pytest.raises(InvalidMessage, match="does not lead"):
                rules.check_proposal(b.context, member, proposal)


def test_r3_a_gap_needs_the_tc_of_the_view_before(bench: Callable[..., Any]) -> None:
    b = bench()
    one = b.make(1)
    skipping = b.make(4, one)
    leader = b.context.leader(4)
    for tc in (None, b.tc(2, one.qc), b.tc(4, one.qc)):
        with pytest.raises(InvalidMessage, match="skips a view"):
            rules.check_proposal(b.context, leader, b.proposal(skipping, tc))
    rules.check_proposal(b.context, leader, b.proposal(skipping, b.tc(3, one.qc)))


def test_r3_a_proposal_extends_at_least_what_its_tc_reports(bench: Callable[..., Any]) -> None:
    b = bench()
    one = b.make(1)
    two = b.make(2, one)
    tc = b.sign.tc(3, {0: 0, 1: 1, 2: 2}, two.qc)
    leader = b.context.leader(4)
    for low in (None, one):
        with pytest.raises(InvalidMessage, match="extends less"):
            rules.check_proposal(b.context, leader, b.proposal(b.make(4, low), tc))
    rules.check_proposal(b.context, leader, b.proposal(b.make(4, two), tc))


def test_r3_a_proposal_is_newer_than_its_certificate(bench: Callable[..., Any]) -> None:
    b = bench()
    late = b.make(5)
    for view in (4, 5):
        proposal = b.proposal(b.make(view, late), b.tc(view - 1, late.qc, high=0))
        with pytest.raises(InvalidMessage, match="not newer"):
            rules.check_proposal(b.context, b.context.leader(view), proposal)


def test_r4_one_vote_a_view_never_backwards_never_when_closed(bench: Callable[..., Any]) -> None:
    b = bench()
    block = b.make(5).block
    safety = b.core.safety

    def may(current: int, **changes: object) -> bool:
        return rules.may_vote(msgspec.structs.replace(safety, **changes), current, block)

    assert may(5, last_voted_view=4)
    assert not may(5, last_voted_view=5)
    assert not may(5, last_voted_view=6)
    assert not may(4, last_voted_view=3)
    assert not may(6, last_voted_view=3)
    assert not may(5, last_voted_view=4, closed=True)


def test_r5_the_time_of_a_block_lies_around_the_own_clock() -> None:
    context = stub_context(4)
    timing = context.configuration.timing
    now_ms = 10_000_000
    lag, skew = timing.max_lag_ms, timing.max_skew_ms
    for offset, timely in (
        (-lag - 1, False),
        (-lag, True),
        (0, True),
        (skew, True),
        (skew + 1, False),
    ):
        assert rules.is_timely(context, now_ms + offset, now_ms) is timely


def test_r6_only_consecutive_views_commit(bench: Callable[..., Any]) -> None:
    b = bench()
    one = b.make(1)
    assert rules.commits_parent(b.make(2, one).block)
    assert not rules.commits_parent(b.make(3, one).block)
    assert not rules.commits_parent(b.make(2).block)


def test_the_view_of_a_certificate_is_what_its_signatures_cover() -> None:
    """A QC has no view of its own: changing it changes the id, and the aggregate fails."""
    context = stub_context(4)
    signatures = StubSignatures(context)
    header = msgspec.structs.replace(context.genesis_qc.header, view=3)
    qc = signatures.qc(header, [0, 1, 2])
    relabelled = QC(msgspec.structs.replace(header, view=9), qc.bitmap, qc.aggregate)
    assert context.id_of(relabelled) != context.id_of(qc)
    assert QC.__struct_fields__ == ("header", "bitmap", "aggregate")
