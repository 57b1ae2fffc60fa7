"""The end of an epoch as one member sees it: what it says, in which order, and never again."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from consensus import effects as fx
from consensus import rules
from consensus.committee import EpochContext
from consensus.core import Checkpoint, Core, genesis_checkpoint
from consensus.errors import InvalidMessage
from consensus.handover import Terms, check_certificate, terms_of
from consensus.messages import HandoverShare, Proposal
from testnet.simulation import handle
from testnet.stub_signatures import GENESIS_STATE

Bench = Callable[..., Any]
Of = Callable[..., list[Any]]

SIGNING = (fx.SendVote, fx.SendTimeout, fx.SendProposal, fx.Observe)


def deciding_chain(b: Any, length: int) -> list[Any]:
    """Make a chain whose first block decides the next epoch."""
    b.change = b.sign.change(b"next", range(b.context.q))
    build = b.rule.build
    b.rule.build = lambda view, observed: build(view, observed, b.change if view == 1 else None)
    chain: list[Any] = b.chain(length)
    b.rule.build = build
    return chain


def share_of(b: Any, member: int, terms: Terms) -> HandoverShare:
    return HandoverShare(
        terms.configuration_hash,
        terms.deciding_id,
        terms.observed_at_ms,
        b.sign.share(member, terms.digest),
    )


def terms_in(b: Any, made: Any) -> Terms:
    return terms_of(
        b.context,
        b.change.configuration_hash,
        made.block_id,
        made.block.header.observed_at_ms,
    )


def test_the_epoch_is_closed_durably_before_its_end_is_signed(bench: Bench, of: Of) -> None:
    b = bench()
    chain = deciding_chain(b, 2)
    effects = b.advance(chain)
    (committed,) = of(effects, fx.Committed)
    assert committed.block_id == chain[0].block_id
    assert committed.successor == b.change.configuration_hash
    closing = next(
        i for i, e in enumerate(effects) if isinstance(e, fx.Persist) and e.safety.closed
    )
    signing = next(i for i, e in enumerate(effects) if isinstance(e, fx.SendHandoverShare))
    assert effects.index(committed) < closing < signing
    assert effects[closing].safety.closing_qc == chain[1].qc
    assert effects[signing].terms == terms_in(b, chain[0])
    assert not of(effects[closing:], *SIGNING)


def test_after_the_end_nothing_is_signed_whatever_comes(bench: Bench, of: Of) -> None:
    b = bench()
    chain = deciding_chain(b, 6)
    b.advance(chain[:2])
    seen = b.core.safety
    out = b.advance(chain[2:]) + b.observe(3)
    for view in range(1, 8):
        out += b.core.on_timer(view, b.now_ms) + b.core.on_grace(view, b.now_ms)
        for other in b.others:
            out += b.give(other, b.timeout(other, view, 0))
    assert not of(out, *SIGNING, fx.Committed, fx.Persist)
    assert b.core.safety == seen
    # Whoever still times out gets what made the deciding block final, and our share repeats.
    assert {e.certificate.qc for e in of(out, fx.SendClosingQC)} == {chain[1].qc}
    assert of(out, fx.SendHandoverShare)


def test_a_later_commit_ends_the_epoch_at_the_block_that_decided(bench: Bench, of: Of) -> None:
    b = bench()
    chain = deciding_chain(b, 4)
    for made in chain[:3]:
        b.core.on_proposal(
            b.context.leader(made.block.view), proposal_without_qc(b, made), b.now_ms
        )
    out = b.advance(chain[3:])
    committed = of(out, fx.Committed)
    assert [e.block_id for e in committed] in ([chain[0].block_id], [])
    assert b.core.root.block_id == chain[0].block_id
    assert b.core.safety.closed


def test_of_many_blocks_that_become_final_at_once_the_one_that_decided_is_the_last(
    bench: Bench, of: Of
) -> None:
    b = bench()
    chain = deciding_chain(b, 5)
    safety = msgspec.structs.replace(b.core.safety, high_qc=chain[4].qc)
    late = Core(b.context, b.me, b.rule, safety, genesis_checkpoint(b.context, GENESIS_STATE))
    out = late.start([made.block for made in chain], b.now_ms)
    (committed,) = of(out, fx.Committed)
    assert committed.block_id == late.root.block_id == chain[0].block_id
    assert late.safety.closed


def test_a_handover_certificate_needs_a_quorum_of_members(bench: Bench) -> None:
    b = bench()
    terms = terms_in(b, deciding_chain(b, 2)[0])
    check_certificate(b.context, b.sign.handover_certificate(terms, [0, 1, 3]))
    for signers in ([0, 1], [], [0, 1, 4], [0, 1, 2, 200]):
        with pytest.raises(InvalidMessage, match=r"members, 3 needed|beyond the committee"):
            check_certificate(b.context, b.sign.handover_certificate(terms, signers))


def proposal_without_qc(b: Any, made: Any) -> Proposal:
    proposal: Proposal = b.proposal(made)
    return proposal


def test_shares_that_come_early_count_and_bad_ones_do_not(bench: Bench, of: Of) -> None:
    b = bench()
    chain = deciding_chain(b, 2)
    terms = terms_in(b, chain[0])
    first, second, third = b.others
    wrong = replace(terms, observed_at_ms=1)
    out = b.core.on_handover_share(first, share_of(b, first, terms), b.now_ms)
    out += b.core.on_handover_share(second, share_of(b, second, wrong), b.now_ms)
    # One slot for each member: a second share changes nothing.
    out += b.core.on_handover_share(second, share_of(b, second, terms), b.now_ms)
    assert not out
    b.advance(chain)
    own = b.core.on_handover_share(b.me, share_of(b, b.me, terms), b.now_ms)
    assert not of(own, fx.CertifyHandover)
    (certify,) = b.core.on_handover_share(third, share_of(b, third, terms), b.now_ms)
    assert set(certify.shares) == {first, b.me, third}
    assert b.core.on_bad_handover_shares([third], b.now_ms) == []
    certificate = b.sign.handover_certificate(terms, [first, second, b.me])
    (over,) = b.core.on_handover_certificate(certificate, b.now_ms)
    assert over == fx.HandedOver(terms, certificate)
    assert b.core.on_handover_certificate(certificate, b.now_ms) == []
    (told,) = b.core.on_handover_share(second, share_of(b, second, terms), b.now_ms)
    assert told == fx.SendHandoverCertificate(certificate, second)


def test_a_certificate_means_nothing_to_whoever_has_not_closed(bench: Bench) -> None:
    b = bench()
    chain = deciding_chain(b, 2)
    certificate = b.sign.handover_certificate(terms_in(b, chain[0]), b.quorum)
    before = b.seen()
    assert handle(b.core, b.others[0], certificate, b.now_ms) == []
    assert b.seen() == before


def test_a_quorum_for_another_successor_halts(bench: Bench, of: Of) -> None:
    b = bench()
    chain = deciding_chain(b, 2)
    b.advance(chain)
    other = replace(terms_in(b, chain[0]), configuration_hash=b"x" * 32)
    certificate = b.sign.handover_certificate(other, b.quorum)
    assert of(b.core.on_handover_certificate(certificate, b.now_ms), fx.Halt)


def test_a_restart_goes_on_where_the_crash_was(bench: Bench, of: Of) -> None:
    b = bench()
    chain = deciding_chain(b, 3)
    b.advance(chain[:2])
    closed = b.core.safety
    root = Checkpoint(
        chain[0].block_id,
        1,
        1,
        chain[0].block.header.observed_at_ms,
        chain[0].state,
        chain[0].block,
        b.change.configuration_hash,
    )
    above = [chain[1].block]
    again = Core(b.context, b.me, b.rule, closed, root)
    out = again.start(above, b.now_ms)
    assert of(out, fx.SendHandoverShare)
    assert not of(out, *SIGNING, fx.Persist)
    # The commit was durable and the close was not: nothing was signed yet, the next QC closes.
    opened = msgspec.structs.replace(closed, closed=False, closing_qc=None)
    opened = msgspec.structs.replace(opened, high_qc=chain[0].qc)
    half = Core(b.context, b.me, b.rule, opened, root)
    assert not of(half.start(above, b.now_ms), fx.SendHandoverShare)
    out = half.on_certificate(chain[1].qc, b.now_ms)
    assert half.safety.closed
    assert of(out, fx.SendHandoverShare)
    assert not of(out, fx.Committed)


def test_a_leader_proposes_a_change_once_and_goes_on_without_a_bad_one(
    bench: Bench, of: Of
) -> None:
    b = bench(leads=1)
    change = b.sign.change(b"next", range(3))
    b.core.on_change(change)
    effects = b.observe(1) + b.core.on_grace(1, b.now_ms)
    (sent,) = of(effects, fx.SendProposal)
    node = b.core.node(sent.block_id)
    assert node is not None
    assert node.successor == change.configuration_hash
    c = bench(leads=1)
    c.core.on_change(c.sign.change(b"no configuration", range(3)))
    effects = c.observe(1) + c.core.on_grace(1, c.now_ms)
    (sent,) = of(effects, fx.SendProposal)
    node = c.core.node(sent.block_id)
    assert node is not None
    assert node.successor is None


def test_nobody_votes_for_a_time_beyond_the_configurations_validity(bench: Bench) -> None:
    context: EpochContext = bench().context
    now_ms = 5_000_000
    ends = replace(context, configuration=replace(context.configuration, valid_until_ms=now_ms))
    assert rules.is_timely(ends, now_ms, now_ms)
    assert not rules.is_timely(ends, now_ms + 1, now_ms)
    assert rules.is_timely(context, now_ms + 1, now_ms)
