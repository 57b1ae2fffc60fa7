"""Missing blocks: fetched by id, from peers that lie, however long the chain."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from consensus import effects as fx
from consensus.core import Checkpoint
from consensus.errors import InvalidMessage
from consensus.messages import BlockRequest, BlockResponse, Certificate

Bench = Callable[..., Any]
Of = Callable[..., list[Any]]


def learn(b: Any, made: Any) -> list[Any]:
    """Let the core see a certificate whose block it lacks, and its fetch timer ring."""
    sender = b.others[0]
    effects = b.core.on_certificate_message(sender, Certificate(made.qc, None), b.now_ms)
    return effects + b.core.on_fetch_timer(made.block_id, b.now_ms)


def answer(b: Any, sender: int, request: BlockRequest, blocks: Any) -> list[Any]:
    return list(b.give(sender, BlockResponse(request.block_id, tuple(blocks))))


def serve(b: Any, chain: list[Any], request: BlockRequest, most: int = 64) -> list[Any]:
    """Return what an honest member answers."""
    by_id = {made.block_id: made.block for made in chain}
    blocks: list[Any] = []
    block = by_id.get(request.block_id)
    while block is not None and block.view > request.known_view and len(blocks) < most:
        blocks.append(block)
        block = by_id.get(b.context.id_of(block.justify))
    return blocks


def fetch_all(b: Any, of: Of, chain: list[Any], effects: list[Any], most: int = 64) -> list[Any]:
    """Answer every request honestly until none is left; return every effect."""
    seen = list(effects)
    rounds = 0
    while requests := of(effects, fx.SendRequest):
        effects = []
        for asked in requests:
            blocks = serve(b, chain, asked.request, most)
            effects += answer(b, asked.to[0], asked.request, blocks)
        seen += effects
        rounds += 1
        assert rounds < 1000
    return seen


@pytest.mark.parametrize(("length", "most"), [(1, 64), (5, 64), (5, 1), (200, 64), (130, 7)])
def test_a_chain_is_fetched_and_committed(bench: Bench, of: Of, length: int, most: int) -> None:
    b = bench()
    chain = b.chain(length)
    effects = fetch_all(b, of, chain, learn(b, chain[-1]), most)
    committed = [e.block_id for e in of(effects, fx.Committed)]
    assert committed == [made.block_id for made in chain[:-1]]
    assert b.core.node(chain[-1].block_id) is not None
    assert not of(b.core.on_fetch_timer(chain[-1].block_id, b.now_ms), fx.SendRequest)


def test_f_plus_one_signers_are_asked_and_others_later(bench: Bench, of: Of) -> None:
    b = bench(n=7)
    made = b.make(1)
    learn(b, made)
    asked: set[int] = set()
    for _ in range(6):
        asking = of(b.core.on_fetch_timer(made.block_id, b.now_ms), fx.SendRequest)
        (request,) = [a for a in asking if isinstance(a.request, BlockRequest)]
        assert len(request.to) == b.context.f + 1
        assert b.me not in request.to
        asked |= set(request.to)
    assert asked == set(b.quorum) - {b.me}


def test_a_late_answer_of_a_member_asked_earlier_counts(bench: Bench, of: Of) -> None:
    b = bench(n=7)
    made = b.make(1)
    (first,) = of(learn(b, made), fx.SendRequest)
    b.core.on_fetch_timer(made.block_id, b.now_ms)
    assert of(answer(b, first.to[0], first.request, [made.block]), fx.StoreBlock)


def test_an_answer_nobody_asked_for_changes_nothing(bench: Bench, of: Of) -> None:
    b = bench(n=7)
    chain = b.chain(3)
    (request,) = of(learn(b, chain[-1]), fx.SendRequest)
    before = b.seen()
    stranger = next(i for i in b.others if i not in request.to)
    assert answer(b, stranger, request.request, [chain[-1].block]) == []
    assert answer(b, request.to[0], BlockRequest(b"x" * 32, 0), [chain[-1].block]) == []
    assert answer(b, request.to[0], request.request, []) == []
    assert b.seen() == before


LIES = ["another block", "skips one", "justify", "payload", "height", "state", "old certificate"]


@pytest.mark.parametrize("lie", LIES)
def test_a_peer_that_lies_is_refused_at_once_and_another_believed(
    bench: Bench, of: Of, lie: str
) -> None:
    b = bench()
    chain = b.chain(8)
    b.advance(chain[:3])
    assert b.core.root.view == 2
    tip = chain[-1]
    (request,) = of(learn(b, tip), fx.SendRequest)
    replace = msgspec.structs.replace
    lies = {
        "another block": [b.make(8, chain[5]).block],
        "skips one": [tip.block, chain[5].block],
        "justify": [replace(tip.block, justify=chain[5].qc)],
        "payload": [replace(tip.block, payload=b.make(8, chain[0], at_ms=77).block.payload)],
        "height": [replace(tip.block, height=99)],
        "state": [replace(tip.block, state_digest=b"x" * 32)],
        # With a true header and a true but old certificate a liar could make the node halt.
        "old certificate": [replace(tip.block, justify=b.context.genesis_qc)],
    }
    before = b.seen()
    with pytest.raises(InvalidMessage):
        answer(b, request.to[0], request.request, lies[lie])
    assert b.seen() == before
    honest = serve(b, chain, request.request)
    effects = fetch_all(b, of, chain, answer(b, request.to[1], request.request, honest))
    assert of(effects, fx.Committed)[-1].block_id == chain[-2].block_id
    assert not of(effects, fx.Halt, fx.PeerFault)


def test_s2_a_certified_block_beside_the_final_one_halts_the_node(bench: Bench, of: Of) -> None:
    b = bench()
    chain = b.chain(4)
    b.advance(chain)
    fork = b.chain(4, chain[0], first_view=10)
    effects = fetch_all(b, of, [*chain, *fork], learn(b, fork[-1]))
    (halt,) = of(effects, fx.Halt)
    assert "does not extend the last final one" in halt.reason
    five = b.make(14, fork[-1])
    assert not of(b.propose(five), fx.SendVote), "and it says nothing any more"
    assert not of(b.core.on_timer(b.core.view, b.now_ms), fx.SendTimeout)


def test_a_certified_block_that_does_not_follow_halts_the_node(bench: Bench, of: Of) -> None:
    b = bench()
    one = b.make(1)
    b.rule.apply = lambda *_: (_ for _ in ()).throw(InvalidMessage("a block that cannot be"))
    (request,) = of(learn(b, one), fx.SendRequest)
    effects = answer(b, request.to[0], request.request, [one.block])
    (halt,) = of(effects, fx.Halt)
    assert "a quorum certified" in halt.reason


def test_a_proposal_waits_for_a_fetched_parent_and_is_voted_for(bench: Bench, of: Of) -> None:
    b = bench()
    chain = b.chain(4)
    effects = b.propose(chain[3])
    assert not of(effects, fx.SendVote)
    (timer,) = of(effects, fx.SetFetchTimer)
    assert timer.block_id == chain[2].block_id
    effects = b.core.on_fetch_timer(timer.block_id, b.now_ms)
    assert of(effects, fx.SetFetchTimer), "asks again until it has come"
    (vote,) = of(fetch_all(b, of, chain, effects), fx.SendVote)
    assert vote.header == chain[3].block.header


def test_a_chain_met_by_late_proposals_needs_no_further_answer(bench: Bench, of: Of) -> None:
    b = bench()
    chain = b.chain(6)
    (request,) = of(learn(b, chain[5]), fx.SendRequest)
    answer(b, request.to[0], request.request, [chain[5].block, chain[4].block, chain[3].block])
    effects = [e for made in chain[:3] for e in b.propose(made)]
    assert b.core.node(chain[5].block_id) is not None
    assert of(effects, fx.Committed)[-1].block_id == chain[4].block_id
    assert not of(b.core.on_fetch_timer(chain[5].block_id, b.now_ms), fx.SendRequest)


def test_a_long_chain_comes_in_while_views_pass(bench: Bench, of: Of) -> None:
    """One answer of 10 blocks a view, 30 views: what was fetched first is not thrown away."""
    b = bench()
    chain = b.chain(330)
    requests: list[Any] = []
    for view in range(300, 330):
        effects = b.propose(chain[view - 1])
        for timer in of(effects, fx.SetFetchTimer):
            requests += of(b.core.on_fetch_timer(timer.block_id, b.now_ms), fx.SendRequest)
        if requests:
            asked = requests.pop(0)
            blocks = serve(b, chain, asked.request, 10)
            requests += of(answer(b, asked.to[0], asked.request, blocks), fx.SendRequest)
        assert len(b.core._fetcher.all()) <= 8
    seen: list[Any] = []
    while requests:
        asked = requests.pop(0)
        following = answer(b, asked.to[0], asked.request, serve(b, chain, asked.request, 10))
        seen += following
        requests += of(following, fx.SendRequest)
    assert b.core.root.view >= 290
    assert len(of(seen, fx.SendRequest)) < 200, "the chain is not fetched once per view"


def test_requests_are_answered_from_the_tree_and_else_from_the_store(bench: Bench, of: Of) -> None:
    b = bench()
    chain = b.chain(4)
    b.advance(chain)

    def ask(made: Any, known_view: int) -> Any:
        request = BlockRequest(made.block_id, known_view)
        (effect,) = b.give(b.others[0], request)
        return effect

    response = ask(chain[3], 0).response
    assert [block.view for block in response.blocks] == [4, 3], "down to the last final one"
    assert ask(chain[3], 3).response.blocks == (chain[3].block,)
    assert ask(chain[3], 9).response.blocks == ()
    assert isinstance(ask(chain[0], 0), fx.LoadBlocks)


def test_an_answer_is_bounded_in_bytes_and_blocks(bench: Bench) -> None:
    b = bench()
    chain = [b.make(1)]
    for view in range(3, 200, 2):  # no two views in a row: nothing becomes final
        chain.append(b.make(view, chain[-1]))
        b.give(
            b.context.leader(view), b.proposal(chain[-1], b.tc(view - 1, chain[-2].qc))
        ) if view > 3 else b.advance(chain[:1]) + b.propose(chain[-1], b.tc(2, chain[0].qc))
    (effect,) = b.give(b.others[0], BlockRequest(chain[-1].block_id, 0))
    assert len(effect.response.blocks) == 64
    (effect,) = b.give(b.others[0], BlockRequest(chain[70].block_id, 0))
    assert effect.response.blocks[0] == chain[70].block


def test_a_root_from_a_checkpoint_is_built_on(bench: Bench, of: Of) -> None:
    b = bench()
    chain = b.chain(6)
    three = chain[2]
    header = three.block.header
    root = Checkpoint(
        three.block_id, 3, three.block.height, header.observed_at_ms, three.state, three.block
    )
    c = bench(root=root)
    effects = fetch_all(c, of, chain, learn(c, chain[5]))
    assert [e.block_id for e in of(effects, fx.Committed)] == [m.block_id for m in chain[3:5]]
