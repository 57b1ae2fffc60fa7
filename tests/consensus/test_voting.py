"""Proposals, votes, timeouts and commits at one core."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from consensus import effects as fx
from consensus.errors import InvalidMessage, InvalidPayload

Bench = Callable[..., Any]
Of = Callable[..., list[Any]]


def test_a_good_proposal_gets_one_vote_persisted_first(bench: Bench, of: Of) -> None:
    b = bench()
    made = b.make(1)
    effects = b.propose(made)
    persist, vote = of(effects, fx.Persist, fx.SendVote)
    assert isinstance(persist, fx.Persist)
    assert persist.safety.last_vote == made.block.header == vote.header
    assert persist.safety.last_voted_view == 1
    assert vote.to == (0, 1, 2, 3)
    assert not of(b.propose(made), fx.Persist, fx.SendVote), "not again"


def test_s4_two_proposals_of_one_view_get_one_vote(bench: Bench, of: Of) -> None:
    b = bench()
    one, two = b.make(1), b.make(1, at_ms=b.now_ms + 7)
    assert one.block_id != two.block_id
    assert of(b.propose(one), fx.SendVote)
    effects = b.propose(two)
    assert not of(effects, fx.SendVote, fx.Persist)
    (accusation,) = of(effects, fx.Accusation)
    evidence = accusation.evidence
    assert accusation.members == (b.context.leader(1),)
    assert {evidence.first.header, evidence.second.header} == {one.block.header, two.block.header}


def test_no_vote_after_the_timeout_of_a_view(bench: Bench, of: Of) -> None:
    b = bench()
    persist, timeout = of(b.core.on_timer(1, b.now_ms), fx.Persist, fx.SendTimeout)
    assert persist.safety.last_timeout == (1, 0) == (timeout.view, timeout.high_qc_view)
    assert persist.safety.last_voted_view == 1
    assert not of(b.propose(b.make(1)), fx.SendVote)


def test_no_vote_for_a_view_that_was_left_or_not_reached(bench: Bench, of: Of) -> None:
    b = bench()
    chain = b.chain(3)
    b.core.on_certificate_message(1, certificate(chain[1].qc), b.now_ms)
    assert b.core.view == 3
    for made in chain[:2]:
        assert not of(b.propose(made), fx.SendVote)
    assert of(b.propose(chain[2]), fx.SendVote)


def certificate(qc: Any, tc: Any = None) -> Any:
    from consensus.messages import Certificate

    return Certificate(qc, tc)


def test_the_tc_path(bench: Bench, of: Of) -> None:
    b = bench()
    one = b.make(1)
    b.advance([one])
    assert b.core.view == 2
    tc = b.tc(2, one.qc)
    three = b.make(3, one)
    effects = b.propose(three, tc)
    assert b.core.view == 3
    assert of(effects, fx.EnteredView)[0].by_timeout
    assert of(effects, fx.SendVote)
    (persist,) = of(effects, fx.Persist)
    assert persist.safety.high_tc == tc
    assert not of(b.core.on_certificate(three.qc, b.now_ms), fx.Committed), "views have a gap"


def test_two_consecutive_views_commit_and_a_gap_does_not(bench: Bench, of: Of) -> None:
    b = bench()
    one, two = b.chain(2)
    four = b.make(4, two)
    five = b.make(5, four)
    assert not of(b.advance([one]), fx.Committed)
    assert [e.block_id for e in of(b.advance([two]), fx.Committed)] == [one.block_id]
    b.propose(four, b.tc(3, two.qc))
    assert not of(b.core.on_certificate(four.qc, b.now_ms), fx.Committed)
    committed = of(b.advance([five]), fx.Committed)
    assert [e.block_id for e in committed] == [two.block_id, four.block_id], "oldest first"
    assert b.core.root.block_id == four.block_id


@pytest.mark.parametrize("what", ["height", "root", "state", "link", "time", "payload"])
def test_a_block_that_does_not_follow_is_refused(bench: Bench, what: str) -> None:
    b = bench()
    block = b.make(1).block
    header = block.header
    replace = msgspec.structs.replace
    wrong = {
        "height": lambda: replace(block, height=2),
        "root": lambda: replace(block, header=replace(header, feed_root=b"x" * 32)),
        "state": lambda: replace(block, state_digest=b"x" * 32),
        "link": lambda: replace(block, header=replace(header, link=b"x" * 32)),
        "time": lambda: replace(
            block, header=replace(header, observed_at_ms=header.observed_at_ms + 1)
        ),
        "payload": lambda: replace(block, payload=b"\x90"),
    }[what]()
    if what in ("height", "state"):  # else it would be the link that is wrong
        digest = b.rule.digest(1, wrong.payload)
        link = wrong.link_with(b.context.genesis_id, digest)
        wrong = replace(wrong, header=replace(header, link=link))
    block_id = wrong.header.id(b.context.domain)
    leader = b.context.leader(1)
    made = type(b.make(1))(wrong, block_id, b"", b.context.genesis_qc)
    before = b.seen()
    with pytest.raises((InvalidMessage, InvalidPayload)):
        b.core.on_proposal(leader, b.proposal(made), b.now_ms)
    assert b.seen() == before


@pytest.mark.parametrize(("offset_ms", "votes"), [(-1999, 1), (-2001, 0), (500, 1), (501, 0)])
def test_an_untimely_block_is_kept_but_not_voted_for(
    bench: Bench, of: Of, offset_ms: int, votes: int
) -> None:
    b = bench()
    made = b.make(1)
    b.now_ms = made.block.header.observed_at_ms - offset_ms
    effects = b.propose(made)
    assert len(of(effects, fx.SendVote)) == votes
    assert of(effects, fx.StoreBlock)


def test_a_vote_waits_for_the_parent_that_comes_late_as_a_proposal(bench: Bench, of: Of) -> None:
    """The next leader's proposal overtook this one's: both come, in the wrong order."""
    b = bench()
    one, two = b.chain(2)
    assert not of(b.propose(two), fx.SendVote)
    effects = b.propose(one)
    (vote,) = of(effects, fx.SendVote)
    assert vote.header == two.block.header


def test_a_leader_proposes_once_its_parent_comes_late(bench: Bench, of: Of) -> None:
    b = bench(leads=2)
    one = b.make(1)
    b.core.on_certificate_message(b.others[0], certificate(one.qc), b.now_ms)
    assert not of(b.observe(2), fx.SendProposal), "the parent is missing"
    (proposal,) = of(b.propose(one), fx.SendProposal)
    assert proposal.block.justify == one.qc


def test_votes_may_come_before_the_proposal(bench: Bench, of: Of) -> None:
    b = bench()
    made = b.make(1)
    effects = [e for i in b.others for e in b.give(i, b.vote(i, made))]
    (certify,) = of(effects, fx.CertifyVotes)
    assert set(certify.shares) == set(b.others)
    effects = b.core.on_certificate(made.qc, b.now_ms)
    assert b.core.view == 2
    assert not of(effects, fx.Certified)
    (certified,) = of(b.propose(made), fx.Certified)
    assert certified.qc == made.qc


def test_bad_shares_are_struck_out_and_the_others_certify(bench: Bench, of: Of) -> None:
    b = bench(n=5)
    made = b.make(1)
    effects = [e for i in range(5) for e in b.core.on_vote(i, b.vote(i, made), b.now_ms)]
    assert len(of(effects, fx.CertifyVotes)) == 1
    header = made.block.header
    (again,) = of(b.core.on_bad_shares(header, [0], b.now_ms), fx.CertifyVotes)
    assert set(again.shares) == {1, 2, 3, 4}
    assert not b.core.on_bad_shares(header, [1], b.now_ms), "three are no quorum of five"
    assert not b.core.on_vote(0, b.vote(0, made), b.now_ms), "no second try in a view"


def test_a_leader_proposes_once_a_view(bench: Bench, of: Of) -> None:
    b = bench(leads=1)
    effects = b.observe(1)
    persist, proposal = of(effects, fx.Persist, fx.SendProposal)
    assert persist.safety.last_proposed_view == persist.safety.last_voted_view == 1
    assert persist.safety.last_vote == proposal.block.header
    b.now_ms += 9
    assert not of(b.observe(1), fx.SendProposal)
    assert not of(b.core.on_grace(1, b.now_ms), fx.SendProposal)


def test_a_leader_waits_its_grace_for_members_heard_of_late(bench: Bench, of: Of) -> None:
    b = bench(leads=1)
    effects = b.observe(1, range(3))
    assert of(effects, fx.SetGraceTimer)
    assert not of(effects, fx.SendProposal)
    assert of(b.core.on_grace(1, b.now_ms), fx.SendProposal)


def test_one_malformed_observation_neither_stops_a_leader_nor_gets_in(bench: Bench, of: Of) -> None:
    b = bench(leads=1)
    bad = msgspec.structs.replace(b.sign.observed(b.others[0], 1, b.now_ms), body=b"short")
    before = b.seen()
    with pytest.raises(InvalidPayload):
        b.core.on_observation(b.others[0], bad, b.now_ms)
    assert b.seen() == before
    b.observe(1, [b.me, *b.others[1:]])
    (proposal,) = of(b.core.on_grace(1, b.now_ms), fx.SendProposal)
    assert b.context.leader(1) == b.me
    assert proposal.block.height == 1


def test_f_plus_one_timeouts_are_joined_and_a_quorum_makes_a_tc(bench: Bench, of: Of) -> None:
    b = bench()
    one, two, three = b.others
    assert not of(b.give(one, b.timeout(one, 1, 0)), fx.SendTimeout)
    (own,) = of(b.give(two, b.timeout(two, 1, 0)), fx.SendTimeout)
    assert (own.view, own.high_qc_view) == (1, 0)
    effects = b.give(three, b.timeout(three, 1, 0))
    (certify,) = of(effects, fx.CertifyTimeouts)
    assert set(certify.shares) == {one, two, three}
    effects = b.core.on_timeout_certificate(b.tc(1), b.now_ms)
    assert b.core.view == 2
    (sent,) = of(effects, fx.SendCertificate)
    assert sent.certificate.tc.view == 1
    (observe,) = of(effects, fx.Observe)
    assert (observe.view, observe.not_before_ms) == (2, b.now_ms), "afresh after a TC"


def test_a_timeout_is_repeated_verbatim_with_newer_certificates_beside_it(
    bench: Bench, of: Of
) -> None:
    b = bench()
    b.core.on_certificate_message(b.others[0], certificate(b.context.genesis_qc, b.tc(3)), b.now_ms)
    (first,) = of(b.core.on_timer(4, b.now_ms), fx.SendTimeout)
    assert (first.view, first.high_qc_view, first.qc) == (4, 0, b.context.genesis_qc)
    late = b.make(2)
    b.core.on_certificate_message(b.others[0], certificate(late.qc), b.now_ms)
    assert (b.core.view, b.core.high_qc) == (4, late.qc)
    effects = b.core.on_timer(4, b.now_ms)
    (persist,) = of(effects, fx.Persist)
    (second,) = of(effects, fx.SendTimeout)
    assert (second.view, second.high_qc_view, second.qc) == (4, 0, late.qc)
    assert persist.safety.last_timeout == (4, 0)
    assert of(effects, fx.SetTimer)


def test_a_stale_timer_does_nothing(bench: Bench) -> None:
    b = bench()
    b.advance([b.make(1)])
    assert b.core.on_timer(1, b.now_ms) == []


def test_certificates_beside_a_timeout_are_taken_over_whatever_its_view(
    bench: Bench, of: Of
) -> None:
    """Else a member that was away could never come back (window before certificates)."""
    b = bench()
    far = b.make(900)
    sender = b.others[0]
    b.give(sender, b.timeout(sender, 1000, 900, far.qc, b.tc(999, far.qc)))
    assert b.core.view == 1000
    assert b.core.high_qc == far.qc
    b.give(b.others[1], b.timeout(b.others[1], 1000, 900, far.qc))
    assert of(b.core.on_timer(1000, b.now_ms), fx.SendTimeout)[0].high_qc_view == 900


@pytest.mark.parametrize(
    ("view", "high", "why"), [(5, 5, "of its own view"), (5, 3, "without the certificate")]
)
def test_a_timeout_that_contradicts_itself_is_refused(
    bench: Bench, view: int, high: int, why: str
) -> None:
    b = bench()
    before = b.seen()
    with pytest.raises(InvalidMessage, match=why):
        b.core.on_timeout(b.others[0], b.timeout(b.others[0], view, high), b.now_ms)
    assert b.seen() == before


def test_a_late_qc_lets_the_leader_propose_without_its_tc(bench: Bench, of: Of) -> None:
    b = bench(leads=2)
    one = b.make(1)
    b.propose(one)
    b.core.on_certificate_message(b.others[0], certificate(b.context.genesis_qc, b.tc(1)), 0)
    assert b.core.view == 2
    b.core.on_certificate(one.qc, b.now_ms)
    (proposal,) = of(b.observe(2), fx.SendProposal)
    assert proposal.tc is None
    assert proposal.block.justify == one.qc


@pytest.mark.parametrize("n", [11, 13])
def test_votes_of_a_large_committee_go_to_the_collectors(bench: Bench, of: Of, n: int) -> None:
    b = bench(n=n)
    made = b.make(1)
    (vote,) = of(b.propose(made), fx.SendVote)
    assert set(vote.to) == {b.context.leader(1), b.context.leader(2)}
    c = bench(n=n, leads=1)
    made = c.make(1)
    c.propose(made)
    (sent,) = of(c.core.on_certificate(made.qc, c.now_ms), fx.SendCertificate)
    assert sent.certificate.qc == made.qc


def test_a_closed_member_signs_nothing(bench: Bench, of: Of) -> None:
    b = bench()
    closed = msgspec.structs.replace(b.core.safety, closed=True)
    made = b.make(1)
    c = bench(safety=msgspec.structs.replace(closed, last_vote=made.block.header))
    signing = (fx.SendVote, fx.SendTimeout, fx.SendProposal, fx.Observe)
    effects = c.started + c.propose(c.make(1)) + c.core.on_timer(1, c.now_ms)
    assert not of(effects, *signing)
    d = bench(leads=1, safety=closed)
    assert not of(d.observe(1), *signing)
