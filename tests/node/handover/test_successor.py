"""How an epoch ended: what is believed, and what the next one takes over."""

from dataclasses import replace
from typing import Any

import msgspec
import pytest

from consensus.committee import Timing, bitmap_of
from consensus.errors import InvalidMessage
from node import epoch_file

NOW_MS = 1_800_000_000_000


def test_a_newcomer_believes_no_lie_about_how_an_epoch_ended(world: Any) -> None:
    epoch = world.epoch
    true = world.successor(epoch_file.to_document(world.next_file()))
    epoch.check(true)
    swap = msgspec.structs.replace
    other = world.successor(
        epoch_file.to_document(world.next_file(timing=Timing(round_interval_ms=700)))
    )
    state = bytearray(true.state)
    state[-1] ^= 1
    weak = swap(true.certificate, bitmap=bitmap_of((0, 1)))
    forged = swap(true.certificate, observed_at_ms=true.certificate.observed_at_ms + 1)
    for lie in (
        swap(true, state=bytes(state)),
        swap(true, state=true.state[41:]),
        swap(true, state=other.state),
        swap(true, block=other.block),
        swap(true, block=swap(true.block, height=7)),
        swap(true, block=swap(true.block, payload=other.block.payload)),
        swap(true, block=swap(true.block, state_digest=bytes(32))),
        swap(true, certificate=other.certificate),
        swap(true, certificate=weak),
        swap(true, certificate=forged),
    ):
        with pytest.raises(InvalidMessage):
            epoch.check(lie)


def test_no_handover_is_believed_that_members_could_not_have_made(world: Any) -> None:
    """A quorum of stolen keys signs into the past, or for what no payload rule lets pass."""
    document = epoch_file.to_document(world.next_file())
    true = world.successor(document)
    ended = replace(
        world.epoch.context.configuration, valid_until_ms=true.certificate.observed_at_ms - 1
    )
    late = type(world)(
        world.keys, replace(world.epoch, context=replace(world.epoch.context, configuration=ended))
    )
    file = late.next_file(valid_until_ms=NOW_MS + 10**9)
    with pytest.raises(InvalidMessage, match="valid-until"):
        late.epoch.check(late.successor(epoch_file.to_document(file)))
    skipping = epoch_file.to_document(world.next_file(epoch=2))
    lawless = replace(world.epoch)
    lawless.rule._check_change = lambda _change, _time: None  # type: ignore[method-assign]
    lie = type(world)(world.keys, lawless).successor(skipping)
    with pytest.raises(InvalidMessage, match="the next is 1"):
        world.epoch.check(lie)


def test_the_next_epoch_takes_over_time_and_state(world: Any) -> None:
    file = world.next_file()
    successor = world.successor(epoch_file.to_document(file))
    following = world.epoch.next(successor)
    context = following.context
    assert context.epoch == 1
    assert context.configuration.hash == file.configuration.hash
    assert context.deciding_id == successor.certificate.deciding_id
    assert context.genesis_time_ms == successor.block.header.observed_at_ms
    assert following.genesis.observed_at_ms == context.genesis_time_ms
    assert context.domain != world.epoch.context.domain
    # What was signed in the epoch before is worth nothing in this one, and so forth again.
    with pytest.raises(InvalidMessage):
        following.check(successor)
    for observed in world.observed(1):
        with pytest.raises(InvalidMessage):
            following.verifier.check_observed(observed)
    with pytest.raises(InvalidMessage):
        following.verifier.check_change(
            world.change(epoch_file.to_document(world.next_file(epoch=2)))
        )
