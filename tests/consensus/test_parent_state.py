"""A block carries on the state of the block it extends, whatever is final by then."""

from collections.abc import Callable
from typing import Any

import pytest

from consensus import effects as fx

Bench = Callable[..., Any]
Of = Callable[..., list[Any]]


def leader_with_a_parent_that_is_not_final(bench: Bench) -> tuple[Any, list[Any]]:
    b = bench(leads=4)
    chain = b.chain(3)
    b.advance(chain)
    assert b.core.root.block_id == chain[1].block_id
    return b, chain


def test_a_leader_builds_on_the_state_of_the_parent(bench: Bench, of: Of) -> None:
    b, chain = leader_with_a_parent_that_is_not_final(bench)
    (proposal,) = of(b.observe(4), fx.SendProposal)
    block = proposal.block
    assert block.justify == chain[2].qc
    outcome = b.rule.apply(chain[2].state, chain[2].block.header.observed_at_ms, 4, block.payload)
    assert block.state_digest == outcome.state_digest
    assert block.header.feed_root == outcome.feed_root


@pytest.mark.parametrize("final", [True, False])
def test_members_judge_by_the_state_of_the_parent_whatever_is_final(
    bench: Bench, of: Of, final: bool
) -> None:
    """Two members saw different certificates; both vote for the same block."""
    b = bench(leads=4)
    one, two, three = b.chain(3)
    for made in (one, two, three):
        b.propose(made)
    if final:
        b.core.on_certificate(three.qc, b.now_ms)
    assert (b.core.root.block_id == two.block_id) is final
    other = b.make(5, three)
    (vote,) = of(b.propose(other, b.tc(4, three.qc)), fx.SendVote)
    assert vote.header == other.block.header
