"""A leader with two voices: whichever of its blocks is certified goes into the tree."""

from collections.abc import Callable
from typing import Any

from consensus import effects as fx
from consensus.messages import BlockResponse, Certificate

Bench = Callable[..., Any]
Of = Callable[..., list[Any]]


def test_the_certified_one_of_two_blocks_of_a_view_is_fetched_and_built_on(
    bench: Bench, of: Of
) -> None:
    b = bench()
    one, other = b.make(1), b.make(1, at_ms=b.now_ms + 7)
    b.propose(one)
    sender = b.others[0]
    b.give(sender, Certificate(other.qc, None))
    (request,) = of(b.core.on_fetch_timer(other.block_id, b.now_ms), fx.SendRequest)
    effects = b.give(request.to[0], BlockResponse(other.block_id, (other.block,)))
    assert [e.block_id for e in of(effects, fx.Certified)] == [other.block_id]
    assert b.core.node(one.block_id) is not None, "it may yet be extended by what a TC allows"
    (vote,) = of(b.propose(b.make(2, other)), fx.SendVote)
    assert vote.header.view == 2
