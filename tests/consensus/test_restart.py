"""What a member must never forget: any safety state it ever persisted is enough to go on from."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from consensus import effects as fx
from consensus.safety import SafetyState

Bench = Callable[..., Any]
Of = Callable[..., list[Any]]


def test_a_vote_is_repeated_and_no_other_given(bench: Bench, of: Of) -> None:
    b = bench()
    one, other = b.make(1), b.make(1, at_ms=b.now_ms + 3)
    (persist,) = of(b.propose(one), fx.Persist)
    c = bench(safety=SafetyState.decode(persist.safety.encode()))
    (vote,) = of(c.started, fx.SendVote)
    assert vote.header == one.block.header
    assert not of(c.propose(other), fx.SendVote)
    assert not of(c.propose(one), fx.SendVote)


def test_after_its_timeout_a_member_repeats_the_timeout_and_not_the_vote(
    bench: Bench, of: Of
) -> None:
    b = bench()
    one = b.make(1)
    b.propose(one)
    (persist,) = of(b.core.on_timer(1, b.now_ms), fx.Persist)
    c = bench(safety=persist.safety)
    assert not of(c.started, fx.SendVote)
    c.core.on_certificate_message(c.others[0], message(c.context.genesis_qc), c.now_ms)
    (timeout,) = of(c.core.on_timer(1, c.now_ms), fx.SendTimeout)
    assert (timeout.view, timeout.high_qc_view) == (1, 0)


def message(qc: Any, tc: Any = None) -> Any:
    from consensus.messages import Certificate

    return Certificate(qc, tc)


def test_the_view_comes_from_the_tc_as_well_as_from_the_qc(bench: Bench) -> None:
    b = bench()
    five = b.make(5)
    qc, tc = five.qc, b.tc(8, five.qc)
    for high_qc, high_tc, view in ((qc, None, 6), (qc, tc, 9), (qc, b.tc(3), 6)):
        safety = msgspec.structs.replace(b.core.safety, high_qc=high_qc, high_tc=high_tc)
        c = bench(safety=safety)
        assert c.core.view == view
        assert c.core.high_qc == qc


def test_a_high_qc_is_durable_with_the_vote_that_extends_it(bench: Bench, of: Of) -> None:
    b = bench()
    one, two = b.chain(2)
    b.propose(one)
    (persist,) = of(b.propose(two), fx.Persist)
    assert persist.safety.high_qc == one.qc
    c = bench(safety=persist.safety)
    c.core.on_timer(2, c.now_ms)
    assert c.core.safety.last_timeout == (2, 1)


def test_stored_blocks_are_taken_up_and_strangers_among_them_ignored(bench: Bench, of: Of) -> None:
    b = bench()
    chain = b.chain(3)
    effects = b.advance(chain)
    stored = [e.block for e in of(effects, fx.StoreBlock)]
    (*_, persist) = of(effects, fx.Persist)
    stranger = b.make(7, b.make(6)).block
    damaged = msgspec.structs.replace(chain[2].block, height=9)
    c = bench(safety=persist.safety, stored=[*stored, stranger, damaged])
    assert c.core.node(chain[2].block_id) is not None
    assert c.core.view == 3
    assert [e.block_id for e in of(c.started, fx.Committed)] == [chain[0].block_id]


def test_a_leader_never_proposes_twice_in_a_view(bench: Bench, of: Of) -> None:
    b = bench(leads=1)
    (persist,) = of(b.observe(1), fx.Persist)
    c = bench(leads=1, safety=persist.safety)
    c.now_ms += 5
    assert not of(c.observe(1), fx.SendProposal)


def test_a_safety_state_of_another_domain_is_refused(bench: Bench) -> None:
    b = bench()
    with pytest.raises(ValueError, match="another network or epoch"):
        bench(safety=msgspec.structs.replace(b.core.safety, domain=b"x" * 32))


def test_a_damaged_safety_state_is_refused(bench: Bench) -> None:
    stored = bench().core.safety.encode()
    for damaged in (b"", stored[:-1], stored + b"\x00", b"\x80"):
        with pytest.raises(ValueError, match="damaged"):
            SafetyState.decode(damaged)
    assert SafetyState.decode(stored).encode() == stored
