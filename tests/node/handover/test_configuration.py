"""The next configuration: as a file and as a document, and what it must keep."""

import zlib
from dataclasses import replace
from typing import Any

import pytest

from aggregation.table import FeedTable
from consensus.committee import Timing
from feeds.catalogue import load_catalogue
from node import epoch_file
from node.errors import NetworkFileError
from node.handover_control import differences
from node.keys.key_set import generate_keys
from node.registration import register
from node.running_epoch import check_joined

TABLE = load_catalogue(None)


def test_a_configuration_survives_file_and_document(world: Any) -> None:
    file = world.next_file()
    assert epoch_file.decode(epoch_file.encode(file)) == file
    document = epoch_file.to_document(file)
    assert epoch_file.from_document(document) == file
    file.check_proofs()
    for damaged in (document[:-1], document + b"x", zlib.compress(b"{}"), b"", b"junk"):
        with pytest.raises(NetworkFileError):
            epoch_file.from_document(damaged)
    with pytest.raises(NetworkFileError, match="too long"):
        epoch_file.from_document(zlib.compress(b" " * (1 << 23)))
    changed = epoch_file.encode(file).replace(
        b'"round_interval_ms": 500', b'"round_interval_ms": 501'
    )
    with pytest.raises(NetworkFileError, match="hash"):
        epoch_file.decode(changed)


def test_what_a_next_configuration_may_not_do(world: Any) -> None:
    epoch = world.epoch
    world.next_file().check_follows(epoch.context, epoch.table)
    last = TABLE.feeds[-1]
    other_decimals = FeedTable((*TABLE.feeds[:-1], replace(last, decimals=last.decimals - 1)))
    for wrong in (
        {"network": b"o" * 32},
        {"epoch": 2},
        {"epoch": 3},
        {"valid_until_ms": epoch.valid_until_ms},
        {"table": FeedTable(TABLE.feeds[:-1])},
        {"table": other_decimals},
    ):
        with pytest.raises(NetworkFileError):
            world.next_file(**wrong).check_follows(epoch.context, epoch.table)
    stranger = register("new", generate_keys())
    unproven = world.next_file(members=(*world.next_file().members, stranger))
    with pytest.raises(NetworkFileError, match="network"):
        unproven.check_proofs()


def test_an_operator_sees_all_that_a_change_would_change(world: Any) -> None:
    file = world.next_file()
    assert differences(world.epoch, file) == {
        "added": [],
        "removed": [],
        "changed": [],
        "timing_changed": {"round_interval_ms": 500},
        "feeds_added": [],
        "feeds_changed": [],
    }
    first = TABLE.feeds[0]
    table = FeedTable((replace(first, minimum_sources=first.minimum_sources - 1), *TABLE.feeds[1:]))
    stranger = register("new", generate_keys())
    moved = replace(file.members[1], operator=b"o" * 20)
    seen = differences(
        world.epoch,
        replace(file, table=table, members=(moved, *file.members[2:], stranger)),
    )
    assert seen["feeds_changed"] == [first.pair]
    assert (seen["added"], seen["removed"], seen["changed"]) == (["new"], ["node0"], ["node1"])


def test_a_newcomer_takes_no_other_configuration_than_its_operator_was_given(
    world: Any,
) -> None:
    given = world.next_file()
    other = world.next_file(timing=Timing(grace_ms=70))
    following = world.epoch.next(world.successor(epoch_file.to_document(given)))
    check_joined(given, [world.epoch, following])
    check_joined(replace(other, epoch=2), [world.epoch, following])
    with pytest.raises(NetworkFileError, match=given.configuration.hash.hex()):
        check_joined(other, [world.epoch, following])
