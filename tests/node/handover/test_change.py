"""The block that decides: which changes the payload rule takes, and who has approved of them."""

from dataclasses import replace
from typing import Any

import msgspec
import pytest

from consensus.committee import bitmap_of
from consensus.errors import InvalidMessage, InvalidPayload
from node import epoch_file
from node.epoch_state import DecidedState, agreed_in
from node.keys.key_set import generate_keys
from node.payload import NO_ROOT
from node.registration import register

NOW_MS = 1_800_000_000_000


def test_the_deciding_block_has_prices_and_those_after_it_have_none(world: Any) -> None:
    rule, genesis = world.epoch.rule, world.epoch.genesis
    change = world.change(epoch_file.to_document(world.next_file()))
    without = rule.apply(genesis, NOW_MS, 1, rule.build(1, world.observed(1)))
    deciding = rule.apply(genesis, NOW_MS, 1, rule.build(1, world.observed(1), change))
    assert without.successor is None
    assert deciding.successor == change.configuration_hash
    assert deciding.feed_root == without.feed_root != NO_ROOT
    assert deciding.state_digest != without.state_digest
    assert deciding.payload_digest != without.payload_digest
    assert agreed_in(deciding.state) == without.state
    after = rule.apply(deciding.state, deciding.observed_at_ms, 2, rule.build(2, world.observed(2)))
    assert after.feed_root == NO_ROOT
    assert after.successor == change.configuration_hash
    assert isinstance(after.state, DecidedState)
    assert after.state.deciding_view == 1
    again = rule.build(2, world.observed(2), change)
    with pytest.raises(InvalidPayload, match="decided"):
        rule.apply(deciding.state, deciding.observed_at_ms, 2, again)


def test_the_rule_refuses_every_other_change(world: Any) -> None:
    rule, genesis = world.epoch.rule, world.epoch.genesis
    good = world.change(epoch_file.to_document(world.next_file()))
    later = epoch_file.to_document(world.next_file(epoch=2))
    too_old = epoch_file.to_document(world.next_file(valid_until_ms=5))
    swap = msgspec.structs.replace
    for wrong in (
        swap(good, bitmap=bitmap_of((0, 1))),
        swap(good, bitmap=bitmap_of((0, 1, 4))),
        swap(good, configuration_hash=bytes(32)),
        swap(good, document=b"junk"),
        world.change(later),
        world.change(too_old),
    ):
        with pytest.raises(InvalidPayload):
            rule.apply(genesis, NOW_MS, 1, rule.build(1, world.observed(1), wrong))


def test_the_digest_of_a_payload_covers_the_whole_change(world: Any) -> None:
    rule = world.epoch.rule
    good = world.change(epoch_file.to_document(world.next_file()))
    swap = msgspec.structs.replace
    variants = [
        good,
        swap(good, configuration_hash=bytes(32)),
        swap(good, document=b"junk"),
        swap(good, bitmap=bitmap_of((0, 1, 3))),
        swap(good, aggregate=bytes(96)),
    ]
    digests = {rule.digest(1, rule.build(1, world.observed(1), change)) for change in variants}
    assert len(digests) == len(variants)


def test_only_a_quorum_of_this_very_epoch_approves(world: Any) -> None:
    verifier = world.epoch.verifier
    document = epoch_file.to_document(world.next_file())
    verifier.check_change(world.change(document))
    other = replace(world.epoch.context, network=b"o" * 32)
    later = replace(world.epoch.context, epoch=1)
    renamed = epoch_file.to_document(
        world.next_file(
            members=tuple(replace(m, name="x" + m.name) for m in world.next_file().members)
        )
    )
    swap = msgspec.structs.replace
    good = world.change(document)
    for wrong in (
        world.change(document, context=other),
        world.change(document, context=later),
        world.change(document, approvers=(0, 1)),
        swap(good, bitmap=bitmap_of((0, 1, 3))),
        # Names are in no configuration's hash; approvals cover them all the same.
        swap(good, document=renamed),
    ):
        with pytest.raises(InvalidMessage):
            verifier.check_change(wrong)
    unsigned = epoch_file.to_document(
        world.next_file(members=(*world.next_file().members, register("new", generate_keys())))
    )
    with pytest.raises(InvalidMessage, match="not valid"):
        verifier.check_change(world.change(unsigned))
