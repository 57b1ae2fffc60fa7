"""The contract and the consensus code convict the same members (A1)."""

from typing import Any

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace as replaced

from consensus.digests import timeout_digest
from consensus.evidence import (
    Evidence,
    HiddenCertificate,
    InvalidEvidence,
    SignedTimeout,
    SignedVote,
    TwoTimeouts,
    TwoVotes,
    kind_of,
    two_timeouts,
    two_votes,
    verify_evidence,
)
from consensus.messages import Header, Link, TimeoutGroup
from node.verifier import Verifier

ETHER = 10**18
SHARE_PPM = 100_000
COIN = bytes(20)
REFUSALS = {
    "AnotherLink",
    "BadSignature",
    "MalformedGroup",
    "NobodyConvicted",
    "NotInOrder",
    "TimeoutBeforeVote",
    "UnknownSigner",
    "ViewZero",
    "ViewsDiffer",
}


def grouped(reported: dict[int, int]) -> list[tuple[int, int]]:
    return [
        (high, sum(1 << i for i in reported if reported[i] == high))
        for high in sorted(set(reported.values()))
    ]


BITS = st.one_of(st.integers(1, 0b1111), st.integers(1, 0b1111), st.integers(1, 0b11111))
"""Of four members, so that some have a bit too many."""
VIEWS = st.sampled_from([4, 4, 4, 3, 5, 0])
HIGHS = st.integers(0, 4)
GROUPS = st.one_of(
    st.dictionaries(st.integers(0, 3), st.integers(0, 3), min_size=1).map(grouped),
    st.dictionaries(st.integers(0, 3), st.integers(0, 3), min_size=1).map(grouped),
    st.lists(st.tuples(HIGHS, BITS), min_size=1, max_size=3),
)
MARKS = st.integers(1, 3)
PIECES = st.one_of(
    st.tuples(st.just("votes"), VIEWS, VIEWS, BITS, BITS, MARKS, MARKS),
    st.tuples(st.just("timeouts"), VIEWS, VIEWS, GROUPS, GROUPS),
    st.tuples(
        st.just("hidden"), VIEWS, HIGHS, VIEWS, BITS, GROUPS, st.sampled_from([True, True, False])
    ),
)


def raw_vote(court: Any, view: int, parent: int, bits: int, mark: int) -> tuple[SignedVote, Link]:
    link = Link(bytes([mark]) * 32, parent, 5, bytes(32), bytes(32))
    header = Header(view, 1_700_000_000_000 + mark, bytes([mark]) * 32, link.digest)
    digest = header.id(court.committee.domain)
    signed = court.sign([(i, digest) for i in range(4) if bits >> i & 1] or [(0, digest)])
    return SignedVote(header, bits.to_bytes(32, "big"), signed), link


def raw_timeout(court: Any, view: int, base: int, groups: list[tuple[int, int]]) -> SignedTimeout:
    """Return a timeout with its groups as they come: overlapping, descending, beyond its view."""
    domain = court.committee.domain
    digests = [
        (i, timeout_digest(domain, view, base + high))
        for high, bits in groups
        for i in range(4)
        if bits >> i & 1
    ]
    made = tuple(TimeoutGroup(base + high, bits.to_bytes(32, "big")) for high, bits in groups)
    return SignedTimeout(view, made, court.sign(digests or [(0, bytes(32))]))


@pytest.fixture(scope="module")
def judges(new_court: Any) -> tuple[Any, Any, list[int]]:
    court = new_court()
    return court, Verifier(court.context, 4), [0]


@settings(max_examples=150, deadline=None)
@given(PIECES, st.sampled_from([True, True, True, False]))
def test_a1_the_contract_convicts_whom_the_consensus_code_convicts(
    judges: tuple[Any, Any, list[int]], piece: Any, ordered: bool
) -> None:
    court, verifier, count = judges
    # Views of their own for each example, so that no offence was punished before.
    count[0] += 10
    base = count[0]
    context = court.context
    match piece:
        case ("votes", view, other_view, bits, other_bits, mark, other_mark):
            # View 0 is nobody's.
            view, other_view = (base * (v > 0) + v for v in (view, other_view))
            one, _ = raw_vote(court, view, 0, bits, mark)
            other, _ = raw_vote(court, other_view, 0, other_bits, other_mark)
            evidence: Evidence = two_votes(context, one, other) if ordered else TwoVotes(one, other)
        case ("timeouts", view, other_view, groups, other_groups):
            left = raw_timeout(court, base + view, base, groups)
            again = raw_timeout(court, base + other_view, base, other_groups)
            evidence = two_timeouts(left, again) if ordered else TwoTimeouts(left, again)
        case (_, view, parent, left_view, bits, groups, true_link):
            voted, link = raw_vote(court, base + view, base + parent, bits, 1)
            if not true_link:
                link = replaced(link, height=6)
            evidence = HiddenCertificate(
                voted, link, raw_timeout(court, base + left_view, base, groups)
            )
    try:
        guilty: tuple[int, ...] = verify_evidence(context, evidence, verifier)
    except InvalidEvidence:
        guilty = ()
    event(f"{kind_of(evidence)}: {'convicts' if guilty else 'nothing'}")
    receipt = court.report(evidence)
    found = [c.key for c in court.convictions(receipt)] if receipt.succeeded else []
    assert found == [court.key(member) for member in guilty], court.error(receipt)
    if not receipt.succeeded:
        assert court.error(receipt).split("(")[0] in REFUSALS
