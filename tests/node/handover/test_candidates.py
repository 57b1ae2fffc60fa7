"""What members propose as the next epoch, and approve of."""

import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from consensus import messages as wire
from consensus.committee import Timing, bitmap_of
from node import epoch_file
from node.candidates import (
    CHANGE_BYTES,
    OBSERVED_BYTES,
    TURNS_MAX,
    TURNS_SECONDS,
    Candidates,
)
from node.errors import CheckFailed, NetworkFileError
from node.keys.key_set import generate_keys
from node.registration import register
from node.store import Store

NOW_MS = 1_800_000_000_000


def test_candidates_become_a_change_with_a_quorum(world: Any, tmp_path: Path) -> None:
    document = epoch_file.to_document(world.next_file())
    rival = epoch_file.to_document(world.next_file(timing=Timing(grace_ms=70)))
    with Store.create(tmp_path / "store") as store:

        def fresh() -> Candidates:
            return Candidates(world.epoch, 0, store, world.bls(0).sign)

        candidates = fresh()
        digest = candidates.digest(document)

        def approval(member: int, what: bytes = document) -> wire.Candidate:
            return wire.Candidate(what, world.bls(member).sign(candidates.digest(what)))

        with pytest.raises(CheckFailed, match="nobody"):
            candidates.approve(bytes(32), NOW_MS)
        view = candidates.propose(document, NOW_MS)
        candidates.approve(view.configuration_hash, NOW_MS)
        candidates.take(1, approval(1))
        candidates.take(2, approval(2, rival))
        assert candidates.change() is None
        # A member's newest approval counts, and none twice.
        candidates.take(2, approval(2))
        change = candidates.change()
        assert change is not None
        world.epoch.verifier.check_change(change)
        assert change.bitmap == bitmap_of((0, 1, 2))
        # The own approval outlives the process.
        assert fresh().own() == wire.Candidate(document, world.bls(0).sign(digest))
        with pytest.raises(CheckFailed, match="another"):
            candidates.propose(rival, NOW_MS)
        # To approve once more changes nothing.
        own = candidates.own()
        candidates.approve(view.configuration_hash, NOW_MS)
        assert candidates.own() == own
        # New documents of one member are looked at every few seconds only.
        late = epoch_file.to_document(world.next_file(timing=Timing(grace_ms=71)))
        later = epoch_file.to_document(world.next_file(timing=Timing(grace_ms=72)))
        assert candidates.admits(3, wire.Candidate(late, None), 100.0)
        assert not candidates.admits(3, wire.Candidate(later, None), 101.0)
        assert candidates.admits(3, wire.Candidate(later, None), 106.0)
        assert not candidates.admits(1, approval(1), 200.0)
        # Nor may a member that changes its mind over and over make the others verify each time.
        turns = [approval(1, rival if turn % 2 else document) for turn in range(100)]
        taken = 0
        for turn, candidate in enumerate(turns):
            if candidates.admits(1, candidate, 300 + turn / 100):
                candidates.take(1, candidate)
                taken += 1
        assert taken <= TURNS_MAX
        assert candidates.admits(1, approval(1, late), 300 + TURNS_SECONDS + 1)


def test_what_no_member_stands_for(world: Any, tmp_path: Path) -> None:
    """Each refusal says what is wrong with it."""
    file = world.next_file()
    renamed = replace(file, members=(replace(file.members[0], name="other"), *file.members[1:]))
    swapped = replace(
        file,
        members=(
            replace(file.members[0], name=file.members[1].name),
            replace(file.members[1], name=file.members[0].name),
            *file.members[2:],
        ),
    )
    stranger = replace(register("new", generate_keys()), registration=None)
    unsigned = replace(file, members=(*file.members, stranger))
    with Store.create(tmp_path / "store") as store:
        candidates = Candidates(world.epoch, 0, store, world.bls(0).sign)
        for wrong, now_ms, reason in (
            (renamed, NOW_MS, "'node0' 'other'.*keeps its name"),
            (swapped, NOW_MS, "keeps its name"),
            (unsigned, NOW_MS, "'new': it has not signed"),
            (file, file.valid_until_ms, "ended 0 s ago"),
            (replace(file, epoch=2), NOW_MS, "of epoch 2, the next is 1"),
            (replace(file, network=b"o" * 32), NOW_MS, "another network"),
        ):
            with pytest.raises(NetworkFileError, match=reason):
                candidates.propose(epoch_file.to_document(wrong), now_ms)
            assert candidates.own() is None
        # What a peer proposes is shown, and not approved of either.
        candidates.take(1, wire.Candidate(epoch_file.to_document(swapped), None))
        with pytest.raises(NetworkFileError, match="keeps its name"):
            candidates.approve(swapped.configuration.hash, NOW_MS)
        assert candidates.change() is None


def test_a_change_that_fits_into_no_block_is_refused_when_it_is_proposed(
    world: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = epoch_file.to_document(world.next_file())
    observed = max(len(msgspec.msgpack.encode(one)) for one in world.observed(1))
    room = 3 * observed + len(document)
    with Store.create(tmp_path / "store") as store:
        candidates = Candidates(world.epoch, 0, store, world.bls(0).sign)
        monkeypatch.setattr("node.candidates.PAYLOAD_BYTES_MAX", room)
        with pytest.raises(NetworkFileError, match="remove members or feeds"):
            candidates.propose(document, NOW_MS)
        monkeypatch.setattr("node.candidates.PAYLOAD_BYTES_MAX", room + 2000)
        candidates.propose(document, NOW_MS)
    # What is let through fits in fact.
    payload = world.epoch.rule.build(1, world.observed(1), world.change(document))
    around = 3 * (observed + OBSERVED_BYTES) + len(document) + CHANGE_BYTES
    assert len(payload) <= around


def test_members_agree_on_which_of_two_equal_documents_is_meant(world: Any, tmp_path: Path) -> None:
    """One configuration, packed in two ways: whoever hears of which first, all take the same."""
    content = epoch_file.encode(world.next_file())
    documents = [zlib.compress(content, level) for level in (1, 9)]
    chosen = set()
    for number, order in enumerate((documents, documents[::-1])):
        with Store.create(tmp_path / str(number)) as store:
            candidates = Candidates(world.epoch, 0, store, world.bls(0).sign)
            for member, document in enumerate(order, start=1):
                candidates.take(member, wire.Candidate(document, None))
            (view,) = candidates.views()
            chosen.add(view.document)
    assert len(chosen) == 1
