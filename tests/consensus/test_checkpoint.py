"""Checkpoints: what is believed of them, when they are asked for, and what they never touch."""

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consensus import effects as fx
from consensus.checkpoint import FAR_BLOCKS, check_checkpoint
from consensus.core import CHECKPOINTS_ASKED_FIRST, Checkpoint, genesis_safety
from consensus.errors import InvalidMessage
from consensus.fetch import PATIENCE_TIMEOUTS, STUCK_TIMEOUTS
from consensus.messages import (
    DESCENDANTS_MAX,
    DOCUMENT_BYTES_MAX,
    FRAME_BYTES_MAX,
    PAYLOAD_BYTES_MAX,
    STATE_BYTES_MAX,
    BlockRequest,
    BlockResponse,
    Certificate,
    CheckpointRequest,
    CheckpointResponse,
    Descendant,
    encode,
)
from testnet.simulation import Simulation
from testnet.stub_signatures import StubRule, StubSignatures

Bench = Callable[..., Any]
Of = Callable[..., list[Any]]


def shown(b: Any, of: Of, sender: int = 1, known_view: int = 0) -> CheckpointResponse | None:
    """Return what a core answers to whoever asks for a checkpoint."""
    effects = b.core.on_checkpoint_request(sender, CheckpointRequest(known_view), b.now_ms)
    responses = [effect.response for effect in of(effects, fx.SendResponse)]
    return responses[0] if responses else None


def checkpoint_of(bench: Bench, of: Of, chain: list[Any]) -> CheckpointResponse:
    """Return how a member that has a whole chain shows its last final block."""
    b = bench()
    b.advance(chain)
    response = shown(b, of)
    assert response is not None
    return response


def deciding_chain(b: Any, views: list[int]) -> list[Any]:
    """Make blocks in these views, the first of which decides the next epoch."""
    change = b.sign.change(b"next", range(b.context.q))
    build = b.rule.build
    b.rule.build = lambda view, observed: build(view, observed, change if view == 1 else None)
    chain: list[Any] = []
    for view in views:
        chain.append(b.make(view, chain[-1] if chain else None))
    b.rule.build = build
    return chain


def learn(b: Any, made: Any) -> list[Any]:
    sender = b.others[0]
    effects = b.core.on_certificate_message(sender, Certificate(made.qc, None), b.now_ms)
    return list(effects + b.core.on_fetch_timer(made.block_id, b.now_ms))


def asked(of: Of, effects: list[Any], kind: type) -> list[Any]:
    return [e for e in of(effects, fx.SendRequest) if isinstance(e.request, kind)]


def stuck(b: Any, of: Of, made: Any) -> Any:
    """Let a core look in vain for a block until it asks for a checkpoint; return that request."""
    effects = learn(b, made)
    for _ in range(STUCK_TIMEOUTS):
        assert not asked(of, effects, CheckpointRequest)
        b.now_ms += b.context.configuration.timing.base_timeout_ms
        effects = b.core.on_fetch_timer(made.block_id, b.now_ms)
    (request,) = asked(of, effects, CheckpointRequest)
    return request


# What is believed.


@cache
def genuine(deciding: bool) -> tuple[Simulation, CheckpointResponse]:
    """Return a checkpoint as a running member shows it: of a block, or of an epoch's last one."""
    simulation = Simulation(4, 3)
    simulation.run(3_000)
    if deciding:
        simulation.approve(simulation.signatures.change(b"next epoch", range(3)))
        simulation.run(3_000, lambda: all(n.disk.safety.closed for n in simulation.nodes))
    core = simulation.nodes[0].running
    (effect,) = core.on_checkpoint_request(1, CheckpointRequest(0), simulation.now_ms)
    assert isinstance(effect, fx.SendResponse)
    assert isinstance(effect.response, CheckpointResponse)
    return simulation, effect.response


def leaves(value: object, path: tuple[object, ...] = ()) -> Iterator[tuple[object, ...]]:
    """Yield where each number and each string of bytes of a message stands."""
    if isinstance(value, msgspec.Struct):
        for name in value.__struct_fields__:
            yield from leaves(getattr(value, name), (*path, name))
    elif isinstance(value, tuple):
        for index, item in enumerate(value):
            yield from leaves(item, (*path, index))
    elif value is not None:
        yield path


def changed(value: Any, path: tuple[Any, ...], how: Callable[[Any], Any]) -> Any:
    if not path:
        return how(value)
    here, rest = path[0], path[1:]
    if isinstance(value, tuple):
        return (*value[:here], changed(value[here], rest, how), *value[here + 1 :])
    return msgspec.structs.replace(value, **{here: changed(getattr(value, here), rest, how)})


def refuses(simulation: Simulation, response: CheckpointResponse) -> bool:
    """Tell whether a member that starts with nothing refuses a checkpoint."""
    context = simulation.context
    try:
        StubSignatures(context).check(1, response)
        check_checkpoint(context, StubRule(context.n), response)
    except InvalidMessage:
        return True
    return False


@pytest.mark.parametrize("deciding", [False, True])
def test_a_genuine_checkpoint_is_believed(deciding: bool) -> None:
    simulation, response = genuine(deciding)
    assert not refuses(simulation, response)
    node = check_checkpoint(simulation.context, simulation.rule, response)
    root = simulation.nodes[0].running.root
    assert (node.block_id, node.height, node.state) == (root.block_id, root.height, root.state)
    assert (node.successor is not None) == deciding


@given(st.data(), st.booleans())
def test_a_checkpoint_in_which_anything_differs_is_refused(
    data: st.DataObject, deciding: bool
) -> None:
    simulation, response = genuine(deciding)
    path = data.draw(st.sampled_from(list(leaves(response))))

    def differ(leaf: int | bytes) -> int | bytes:
        if isinstance(leaf, int):
            return data.draw(st.integers(0, 2**63 - 1).filter(lambda other: other != leaf))
        bit = data.draw(st.integers(0, 8 * len(leaf) - 1))
        flipped = bytearray(leaf)
        flipped[bit // 8] ^= 1 << bit % 8
        return bytes(flipped)

    assert refuses(simulation, changed(response, path, differ))


@given(st.data())
def test_parts_of_two_genuine_checkpoints_are_none(data: st.DataObject) -> None:
    simulation, one = genuine(False)
    _, other = genuine(True)
    names = CheckpointResponse.__struct_fields__
    mine = data.draw(st.lists(st.booleans(), min_size=len(names), max_size=len(names)))
    mixed = CheckpointResponse(
        *(getattr(one if own else other, name) for own, name in zip(mine, names, strict=True))
    )
    assert refuses(simulation, mixed) == (mixed not in (one, other))


def test_a_checkpoint_that_a_gap_follows_is_not_final(bench: Bench) -> None:
    """Its child is certified, but not in the next view: nothing is final yet."""
    b = bench()
    one = b.make(1)
    two = b.make(3, one)
    response = checkpoint_from(b, one, [two])
    b.sign.check(1, response)
    with pytest.raises(InvalidMessage, match="does not make final"):
        check_checkpoint(b.context, b.rule, response)


def test_a_certified_pair_further_up_makes_it_final(bench: Bench) -> None:
    b = bench()
    chain = [b.make(1)]
    for view in (3, 5, 6):
        chain.append(b.make(view, chain[-1]))
    response = checkpoint_from(b, chain[0], chain[1:])
    assert check_checkpoint(b.context, b.rule, response).block_id == chain[0].block_id
    for broken in (chain[2:], chain[1:3], [chain[1], chain[3]]):
        with pytest.raises(InvalidMessage):
            check_checkpoint(b.context, b.rule, checkpoint_from(b, chain[0], broken))


def checkpoint_from(b: Any, root: Any, above: list[Any]) -> CheckpointResponse:
    descendants = tuple(
        Descendant(
            made.block.header,
            made.block.state_digest,
            b.rule.digest(made.block.view, made.block.payload),
        )
        for made in above
    )
    return CheckpointResponse(root.block, root.state, descendants, above[-1].qc)


def test_a_checkpoint_beyond_the_deciding_block_is_refused(bench: Bench) -> None:
    b = bench()
    chain = deciding_chain(b, [1, 2, 3, 4])
    with pytest.raises(InvalidMessage, match="beyond the block that ended"):
        check_checkpoint(b.context, b.rule, checkpoint_from(b, chain[1], chain[2:3]))


def test_the_longest_checkpoint_fits_into_a_frame(bench: Bench) -> None:
    b = bench()
    chain = b.chain(2)
    response = checkpoint_from(b, chain[0], chain[1:])
    largest = msgspec.structs.replace(
        response,
        block=msgspec.structs.replace(response.block, payload=bytes(PAYLOAD_BYTES_MAX)),
        state=bytes(STATE_BYTES_MAX),
        descendants=response.descendants * DESCENDANTS_MAX,
    )
    assert len(encode(largest)) + 8 <= FRAME_BYTES_MAX
    assert DOCUMENT_BYTES_MAX <= PAYLOAD_BYTES_MAX


# When one is asked for.


def test_a_block_that_nobody_has_is_looked_for_by_a_checkpoint(bench: Bench, of: Of) -> None:
    b = bench(n=7)
    chain = b.chain(9)
    effects = learn(b, chain[-1])
    assert not asked(of, effects, CheckpointRequest), "blocks are asked for first"
    request = stuck(bench(n=7), of, chain[-1])
    assert len(request.to) == b.context.f + 1
    assert b.me not in request.to
    assert request.request.known_view == 0


def test_a_liar_that_alone_has_the_blocks_cannot_draw_it_out(bench: Bench, of: Of) -> None:
    """It shows one block whenever patience would end."""
    b = bench()
    chain = b.chain(100)
    by_id = {made.block_id: made.block for made in chain}
    effects = learn(b, chain[-1])
    answers = 0
    while not asked(of, effects, CheckpointRequest):
        (one,) = asked(of, effects, BlockRequest)
        b.now_ms += b.context.configuration.timing.base_timeout_ms
        block = by_id[one.request.block_id]
        effects = b.give(one.to[0], BlockResponse(one.request.block_id, (block,)))
        answers += 1
    assert STUCK_TIMEOUTS < answers <= PATIENCE_TIMEOUTS


def test_a_long_gap_is_not_filled_block_by_block(bench: Bench, of: Of) -> None:
    b = bench()
    chain = b.chain(FAR_BLOCKS + 70)
    (request,) = asked(of, learn(b, chain[-1]), BlockRequest)
    piece = tuple(made.block for made in chain[:-65:-1])
    response = BlockResponse(request.request.block_id, piece[:1])
    effects = b.give(request.to[0], response)
    assert asked(of, effects, CheckpointRequest)
    assert not asked(of, effects, BlockRequest)
    assert b.core.height_wanted == len(chain)
    tip = chain[-1].block_id
    for _ in range(CHECKPOINTS_ASKED_FIRST):
        assert not asked(of, b.core.on_fetch_timer(tip, b.now_ms), BlockRequest)
        assert asked(of, b.core.on_checkpoint_timer(b.now_ms), CheckpointRequest)
    # Nobody answers: then block by block, and a checkpoint is still asked for.
    assert asked(of, b.core.on_fetch_timer(tip, b.now_ms), BlockRequest)
    assert asked(of, b.core.on_checkpoint_timer(b.now_ms), CheckpointRequest)


def test_a_short_gap_asks_for_no_checkpoint(bench: Bench, of: Of) -> None:
    b = bench()
    chain = b.chain(200)
    effects = learn(b, chain[-1])
    by_id = {made.block_id: made.block for made in chain}
    while requests := of(effects, fx.SendRequest):
        assert not asked(of, effects, CheckpointRequest)
        (one,) = requests
        block = by_id[one.request.block_id]
        effects = b.give(one.to[0], BlockResponse(one.request.block_id, (block,)))
    assert b.core.root.height == 199


def test_members_take_turns_in_being_asked_and_a_search_ends(bench: Bench, of: Of) -> None:
    b = bench(n=7)
    chain = b.chain(4)
    first = stuck(b, of, chain[-1])
    seen = set(first.to)
    for _ in range(2):
        effects = b.core.on_checkpoint_timer(b.now_ms)
        (again,) = asked(of, effects, CheckpointRequest)
        assert len(of(effects, fx.SetCheckpointTimer)) == 1
        assert again.to != first.to
        seen |= set(again.to)
    assert seen == set(b.quorum) - {b.me}
    b.advance(chain)
    assert not b.core.on_checkpoint_timer(b.now_ms), "the blocks came: nothing is asked any more"
    assert not any(b.core.awaits_checkpoint(member) for member in range(7))


# What follows from one.


def test_a_member_goes_on_from_a_checkpoint_durably(bench: Bench, of: Of) -> None:
    b = bench()
    chain = b.chain(20)
    response = checkpoint_of(bench, of, chain)
    request = stuck(b, of, chain[10])
    before = b.core.safety
    effects = b.give(request.to[0], response)
    assert [type(effect) for effect in effects[:2]] == [fx.StoreCheckpoint, fx.Persist]
    stored, persisted = effects[:2]
    assert stored.block_id == b.core.root.block_id == chain[-2].block_id
    assert (stored.above_view, stored.above_height) == (0, 0)
    assert b.core.root.state == chain[-2].state
    safety = persisted.safety
    assert safety == msgspec.structs.replace(before, high_qc=response.qc)
    # It goes on as if it had all blocks, and shows others the way.
    following = b.make(21, chain[-1])
    b.propose(chain[-1])
    assert of(b.propose(following), fx.SendVote)
    b.core.on_certificate(following.qc, b.now_ms)
    assert b.core.root.block_id == chain[-1].block_id
    assert shown(b, of) is not None


def test_a_restart_after_a_checkpoint_goes_on_from_it(bench: Bench, of: Of) -> None:
    chain = bench().chain(20)
    response = checkpoint_of(bench, of, chain)
    node = check_checkpoint(bench().context, bench().rule, response)
    root = Checkpoint(
        node.block_id, node.view, node.height, node.observed_at_ms, node.state, node.block
    )
    safety = msgspec.structs.replace(genesis_safety(bench().context), high_qc=response.qc)
    b = bench(safety=safety, root=root)
    b.propose(chain[-1])
    assert of(b.propose(b.make(21, chain[-1])), fx.SendVote)


def test_a_member_that_restarts_can_still_show_its_last_final_block(bench: Bench, of: Of) -> None:
    b = bench()
    chain = b.chain(8)
    last = chain[5]
    root = Checkpoint(last.block_id, 6, 6, last.block.header.observed_at_ms, last.state, last.block)
    for stored, high in ((chain[6:], chain[6].qc), (chain[6:], chain[5].qc)):
        safety = msgspec.structs.replace(genesis_safety(b.context), high_qc=high)
        again = bench(safety=safety, root=root, stored=[made.block for made in stored])
        response = shown(again, of)
        assert response is not None
        assert response.qc.view == 7


def test_what_nobody_asked_for_changes_nothing(bench: Bench, of: Of) -> None:
    b = bench()
    response = checkpoint_of(bench, of, b.chain(20))
    before = b.seen()
    assert b.give(1, response) == []
    assert b.seen() == before


def test_a_wrong_checkpoint_changes_nothing_and_the_next_one_counts(bench: Bench, of: Of) -> None:
    b = bench()
    chain = b.chain(20)
    response = checkpoint_of(bench, of, chain)
    request = stuck(b, of, chain[10])
    liar, honest = request.to
    before = b.seen()
    with pytest.raises(InvalidMessage):
        b.give(liar, msgspec.structs.replace(response, state=bytes(32)))
    assert b.seen() == before
    assert of(b.give(honest, response), fx.StoreCheckpoint)


def test_the_root_moves_only_forwards(bench: Bench, of: Of) -> None:
    b = bench()
    chain = b.chain(30)
    old, new = checkpoint_of(bench, of, chain[:12]), checkpoint_of(bench, of, chain)
    request = stuck(b, of, chain[-1])
    one, other = request.to
    assert of(b.give(one, new), fx.StoreCheckpoint)
    assert b.give(other, old) == []
    assert b.core.root.view == 29


def test_an_old_checkpoint_does_not_keep_a_newer_one_out(bench: Bench, of: Of) -> None:
    b = bench()
    chain = b.chain(30)
    old, new = checkpoint_of(bench, of, chain[:4]), checkpoint_of(bench, of, chain)
    one, other = stuck(b, of, chain[-1]).to
    assert of(b.give(one, old), fx.StoreCheckpoint)
    (stored,) = of(b.give(other, new), fx.StoreCheckpoint)
    assert (stored.above_view, b.core.root.view) == (3, 29)


def test_chains_that_began_below_the_checkpoint_are_fetched_anew(bench: Bench, of: Of) -> None:
    """What was held of them ends below the root and would look like a conflict."""
    b = bench()
    chain = b.chain(40)
    (request,) = asked(of, learn(b, chain[-1]), BlockRequest)
    piece = tuple(made.block for made in chain[:9:-1])
    b.give(request.to[0], BlockResponse(request.request.block_id, piece))
    b.now_ms += STUCK_TIMEOUTS * b.context.configuration.timing.base_timeout_ms
    b.core.on_fetch_timer(chain[-1].block_id, b.now_ms)
    checkpoint = checkpoint_of(bench, of, chain[:30])
    effects = b.give(request.to[0], checkpoint)
    assert not of(effects, fx.Halt)
    assert b.core.root.view == 29
    by_id = {made.block_id: made.block for made in chain}
    while requests := asked(of, effects, BlockRequest):
        effects = []
        for one in requests:
            block = by_id[one.request.block_id]
            effects += b.give(one.to[0], BlockResponse(one.request.block_id, (block,)))
        assert not of(effects, fx.Halt)
    assert b.core.root.view == 39


def test_a_final_block_that_leaves_the_final_chain_halts(bench: Bench, of: Of) -> None:
    """More than f members lied: what they made final is as low as what was final here."""
    b = bench()
    b.advance(b.chain(6))
    fork = [b.make(8)]
    for view in (9, 10):
        fork.append(b.make(view, fork[-1]))
    response = checkpoint_from(b, fork[1], fork[2:])
    request = stuck(b, of, fork[-1])
    assert of(b.give(request.to[0], response), fx.Halt)


def test_an_answer_is_given_now_and_then_only(bench: Bench, of: Of) -> None:
    b = bench()
    b.advance(b.chain(9))
    assert shown(b, of) is not None
    assert shown(b, of) is None, "the same member, at once"
    assert shown(b, of, sender=2) is not None
    b.now_ms += b.context.configuration.timing.base_timeout_ms
    assert shown(b, of, known_view=8) is None, "it is not behind"
    assert shown(b, of, known_view=7) is not None
    b.now_ms -= 10**6
    assert shown(b, of) is not None, "a clock that was set back keeps nobody out for long"


# The end of the epoch.


def test_a_checkpoint_at_the_end_closes_the_epoch(bench: Bench, of: Of) -> None:
    """The deciding block became final further up: its own child skipped a view."""
    maker = bench()
    chain = deciding_chain(maker, [1, 3, 4])
    closed = bench()
    for made in chain:
        tc = maker.tc(2, chain[0].qc) if made.block.view == 3 else None
        closed.propose(made, tc)
    closed.core.on_certificate(chain[-1].qc, closed.now_ms)
    assert closed.core.safety.closed
    response = shown(closed, of)
    assert response is not None
    assert len(response.descendants) == 2
    b = bench()
    request = stuck(b, of, chain[-1])
    effects = b.give(request.to[0], response)
    assert [type(effect) for effect in effects[:2]] == [fx.StoreCheckpoint, fx.Persist]
    assert effects[1].safety.closed
    assert effects[1].safety.closing_qc == chain[-1].qc
    assert of(effects, fx.SendHandoverShare)
    assert b.core.root.block_id == chain[0].block_id
    assert shown(b, of) == response


def test_a_closed_member_that_lost_its_blocks_finds_the_end_again(bench: Bench, of: Of) -> None:
    chain = deciding_chain(bench(), [1, 2])
    closed = bench()
    closed.advance(chain)
    response = shown(closed, of)
    assert response is not None
    b = bench(safety=closed.core.safety)
    (request,) = asked(of, b.started, CheckpointRequest)
    effects = b.give(request.to[0], response)
    assert of(effects, fx.SendHandoverShare)
    assert b.core.safety == closed.core.safety
    assert not of(effects, fx.SendVote, fx.SendTimeout, fx.SendProposal, fx.Observe)
