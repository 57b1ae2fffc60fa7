"""The store: what is acknowledged survives, and what is wrong is said."""

import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consensus.messages import QC, Block, Header
from consensus.safety import SafetyState
from node.store import (
    ArchiveReader,
    ForeignStore,
    Gap,
    NewMemberRefused,
    Retention,
    SafetyMissing,
    SafetyRegression,
    Store,
    StoreDamaged,
    StoredEvidence,
    StoredReport,
    StoreExists,
    StoreFailed,
    StoreLocked,
    StoreMissing,
    StoreTooNew,
    safety_for_start,
)
from node.store.regression import refuse_regression
from node.store.store import EVIDENCE_PER_MEMBER_MAX

D = b"D" * 32
OTHER = b"E" * 32
ZERO = bytes(32)
GENESIS = QC(Header(0, 1, ZERO, b"g" * 32), ZERO, bytes(96))
KEY = b"k" * 48


def qc(view: int) -> QC:
    return GENESIS if view == 0 else QC(Header(view, view, ZERO, ZERO), ZERO, bytes(96))


def block_id(view: int) -> bytes:
    return view.to_bytes(32, "big")


def id_of(certificate: QC) -> bytes:
    return block_id(certificate.view)


def block(view: int, parent: int | None = None, size: int = 10) -> Block:
    parent = view - 1 if parent is None else parent
    return Block(Header(view, view, ZERO, ZERO), view, ZERO, bytes(size), qc(parent))


def safety(view: int = 0, domain: bytes = D) -> SafetyState:
    vote = Header(view, view, ZERO, ZERO) if view else None
    return SafetyState(
        domain=domain,
        last_voted_view=view,
        last_vote=vote,
        last_timeout=None,
        last_proposed_view=0,
        high_qc=GENESIS,
        high_tc=None,
    )


def changed(state: SafetyState, **changes: object) -> SafetyState:
    return msgspec.structs.replace(state, **changes)


def report(view: int, *, at_ms: int | None = None, epoch: int = 0) -> StoredReport:
    return StoredReport(
        epoch, view, block_id(view), at_ms or 1000 * view, False, b'{"v":%d}' % view
    )


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "data"


def test_what_was_saved_is_there_again(directory: Path) -> None:
    with Store.create(directory) as store:
        instance = store.instance
        assert store.load_safety(D) is None
        store.save_block(D, block_id(1), block(1))
        store.save_safety(safety(1))
        store.save_safety(safety(2, OTHER))
        store.commit_block(D, block_id(1), 1, 1, b"state")
        store.save_block(D, block_id(2), block(2))
    with Store.open(directory) as store:
        assert store.instance == instance
        assert store.load_safety(D) == safety(1)
        assert store.load_safety(OTHER) == safety(2, OTHER)
        head = store.head(D)
        assert head is not None
        assert (head.block_id, head.block, head.height, head.state) == (
            block_id(1),
            block(1),
            1,
            b"state",
        )
        assert store.uncommitted(D) == [(block_id(2), block(2))]
        assert store.head(OTHER) is None
        assert store.load_block(OTHER, block_id(1)) is None


def test_the_safety_file_is_synced_at_every_commit(directory: Path) -> None:
    with Store.create(directory) as store:
        rows = store._database.rows
        assert rows("PRAGMA synchronous") == [(2,)]
        assert rows("PRAGMA journal_mode") == [("wal",)]
        assert rows("PRAGMA locking_mode") == [("exclusive",)]
    for name in ("safety.db", "archive.db", "lock"):
        assert (directory / name).stat().st_mode & 0o077 == 0


def test_nothing_is_overwritten(directory: Path) -> None:
    Store.create(directory).close()
    with pytest.raises(StoreExists, match="nothing is overwritten"):
        Store.create(directory)
    Store.open(directory).close()


def test_a_missing_store_is_not_made_by_the_way(directory: Path) -> None:
    with pytest.raises(StoreMissing, match="didyma init"):
        Store.open(directory)
    assert not directory.exists()


def test_an_unfinished_creation_can_be_finished(directory: Path) -> None:
    directory.mkdir()
    (directory / "safety.db").touch()
    with pytest.raises(StoreMissing, match="never finished"):
        Store.open(directory)
    Store.create(directory).close()


def test_an_emptied_store_is_damaged_not_new(directory: Path) -> None:
    with Store.create(directory) as store:
        store.save_safety(safety(5))
    (directory / "journal").mkdir()
    for file in directory.glob("safety.db*"):
        file.unlink()
    (directory / "safety.db").touch()
    with pytest.raises(StoreDamaged, match="has run with it"):
        Store.open(directory)


def test_a_store_of_another_member_is_refused(directory: Path) -> None:
    with Store.create(directory) as store:
        store.record_own_key(KEY)
        safety_for_start(store, D, GENESIS, KEY)
        with pytest.raises(ForeignStore, match="another member signed"):
            safety_for_start(store, D, GENESIS, b"x" * 48, new_member=True)


def test_a_second_process_is_kept_out_and_told_who_is_in(directory: Path) -> None:
    script = "import sys; from node.store import *; from pathlib import Path\n" + textwrap.dedent(
        """
        try:
            Store.open(Path(sys.argv[1]))
        except StoreLocked as error:
            print(error)
            sys.exit(3)
        """
    )
    with Store.create(directory):
        second = subprocess.run(
            [sys.executable, "-c", script, str(directory)], capture_output=True, text=True
        )
        assert second.returncode == 3, second.stderr
        assert f"process {os.getpid()} already uses" in second.stdout
        with pytest.raises(StoreLocked):
            Store.open(directory)
    Store.open(directory).close()


# Start of a member.


def test_no_start_without_the_safety_state(directory: Path) -> None:
    with Store.create(directory) as store:
        with pytest.raises(SafetyMissing, match="find its data directory"):
            safety_for_start(store, D, GENESIS, KEY)
        assert store.load_safety(D) is None


def test_a_key_made_with_the_store_may_begin_in_any_epoch(directory: Path) -> None:
    with Store.create(directory) as store:
        store.record_own_key(KEY)
    with Store.open(directory) as store:
        fresh = safety_for_start(store, D, GENESIS, KEY, known_bls_keys=[KEY])
        assert fresh == safety(0)
        store.save_safety(safety(5))
        assert safety_for_start(store, D, GENESIS, KEY) == safety(5)
        assert safety_for_start(store, OTHER, GENESIS, KEY).domain == OTHER
        with pytest.raises(SafetyMissing):
            safety_for_start(store, b"F" * 32, GENESIS, b"x" * 48)


def test_new_member_is_only_for_keys_that_no_epoch_listed(directory: Path) -> None:
    with Store.create(directory) as store:
        with pytest.raises(NewMemberRefused, match="it may have signed before"):
            safety_for_start(store, D, GENESIS, KEY, new_member=True, known_bls_keys=[KEY])
        with pytest.raises(SafetyMissing):
            safety_for_start(store, D, GENESIS, KEY)
        safety_for_start(store, D, GENESIS, KEY, new_member=True, known_bls_keys=[b"x" * 48])
    with Store.open(directory) as store:
        assert safety_for_start(store, D, GENESIS, KEY, known_bls_keys=[KEY]) == safety(0)


# Damage.


def overwrite(path: Path, find: bytes, put: bytes) -> None:
    data = path.read_bytes()
    assert find in data
    path.write_bytes(data.replace(find, put))


def test_a_damaged_safety_state_stops_the_start(directory: Path) -> None:
    with Store.create(directory) as store:
        store.save_safety(safety(77))
    connection = sqlite3.connect(directory / "safety.db")
    connection.execute("UPDATE safety SET state = ?", (safety(3).encode(),))
    connection.commit()
    connection.close()
    with Store.open(directory) as store:
        with pytest.raises(StoreDamaged, match="not what was saved"):
            store.load_safety(D)
        with pytest.raises(StoreDamaged):
            safety_for_start(store, D, GENESIS, KEY, new_member=True)
        with pytest.raises(StoreDamaged):
            store.save_safety(safety(78))


@pytest.mark.parametrize("state", [b"", b"\x00", b"\xc1" * 50, safety(1, OTHER).encode()])
def test_safety_bytes_of_another_shape_are_damage(directory: Path, state: bytes) -> None:
    from consensus.digests import keccak

    with Store.create(directory) as store:
        store._database.begin()
        store._database.write("INSERT INTO safety VALUES (?, ?, ?)", (D, state, keccak(state)))
        store.flush()
        with pytest.raises(StoreDamaged):
            store.load_safety(D)


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(b"not a database at all" * 1000),
        lambda path: path.write_bytes(path.read_bytes()[:3000]),
        lambda path: path.write_bytes(path.read_bytes()[:4096] + os.urandom(4096 * 12)),
    ],
)
def test_a_damaged_file_is_told_from_a_missing_one(
    directory: Path, damage: Callable[[Path], object]
) -> None:
    with Store.create(directory) as store:
        store.save_safety(safety(1))
    damage(directory / "safety.db")
    with pytest.raises(StoreDamaged, match="is damaged"):
        Store.open(directory)
    # The lock was given back.
    with pytest.raises(StoreDamaged):
        Store.open(directory)


def test_a_store_of_a_later_version_is_left_alone(directory: Path) -> None:
    Store.create(directory).close()
    connection = sqlite3.connect(directory / "safety.db")
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(StoreTooNew, match="later version"):
        Store.open(directory)


# Crashes and failing disks.

SAVE_FOREVER = textwrap.dedent(
    """
    import sys
    from pathlib import Path
    from node.store import Store
    from tests_store import block, block_id, safety, D
    store = Store.open(Path(sys.argv[1]))
    first = (store.load_safety(D) or safety(0)).last_voted_view + 1
    for view in range(first, first + 10**6):
        store.save_block(D, block_id(view), block(view))
        store.save_safety(safety(view))
        sys.stdout.write(f"{view}\\n")
        sys.stdout.flush()
    """
)


def this_file_as_module(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "tests_store.py").write_bytes(Path(__file__).read_bytes())
    path = os.pathsep.join([str(tmp_path), *filter(None, sys.path)])
    return {**os.environ, "PYTHONPATH": path}


def test_a_killed_process_forgets_nothing_that_it_acknowledged(
    tmp_path: Path, directory: Path
) -> None:
    environment = this_file_as_module(tmp_path)
    Store.create(directory).close()
    acknowledged = 0
    for lines in (1, 150):
        process = subprocess.Popen(
            [sys.executable, "-c", SAVE_FOREVER, str(directory)],
            stdout=subprocess.PIPE,
            env=environment,
            text=True,
        )
        assert process.stdout is not None
        for _ in range(lines):
            acknowledged = int(process.stdout.readline())
        process.send_signal(signal.SIGKILL)
        # What was acknowledged after the kill was sent counts too.
        rest = process.stdout.read().split("\n")[:-1]
        acknowledged = int(rest[-1]) if rest else acknowledged
        process.wait()
        process.stdout.close()
        with Store.open(directory) as store:
            kept = store.load_safety(D)
            assert kept is not None
            assert kept.last_voted_view in (acknowledged, acknowledged + 1)
            # A durable vote never lacks its block.
            view = kept.last_voted_view
            assert store.load_block(D, block_id(view)) == block(view)
            acknowledged = view
    assert acknowledged > 150


def test_a_full_disk_stops_the_store_for_good(tmp_path: Path, directory: Path) -> None:
    script = textwrap.dedent(
        """
        import resource, sys
        from pathlib import Path
        from node.store import Store, StoreFailed
        from tests_store import block, block_id, safety, report, D
        store = Store.create(Path(sys.argv[1]))
        resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, resource.RLIM_INFINITY))
        acknowledged = 0
        try:
            for view in range(1, 1000):
                store.save_block(D, block_id(view), block(view, size=5000))
                store.save_safety(safety(view))
                acknowledged = view
        except StoreFailed as error:
            assert "The node stops" in str(error), error
        else:
            sys.exit("nothing failed")
        # Room again, but an fsync that failed once cannot be believed.
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
        for write in (
            lambda: store.save_safety(safety(acknowledged + 5)),
            lambda: store.save_block(D, block_id(5000), block(5000)),
            lambda: store.flush(),
        ):
            try:
                write()
            except StoreFailed:
                continue
            sys.exit("a write was believed after a failure")
        store.close()
        print(acknowledged)
        """
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(directory)],
        env=this_file_as_module(tmp_path),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    acknowledged = int(done.stdout)
    assert acknowledged > 3
    with Store.open(directory) as store:
        kept = store.load_safety(D)
        assert kept is not None
        assert kept.last_voted_view in (acknowledged, acknowledged + 1)


def test_a_failed_archive_write_is_a_store_failure(tmp_path: Path, directory: Path) -> None:
    script = textwrap.dedent(
        """
        import resource, sys
        from dataclasses import replace
        from pathlib import Path
        from node.store import Store, StoreFailed
        from tests_store import report
        store = Store.create(Path(sys.argv[1]))
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, resource.RLIM_INFINITY))
        try:
            for view in range(1, 1000):
                store.save_report(replace(report(view), body=bytes(5000)))
        except StoreFailed:
            sys.exit(3)
        """
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(directory)],
        env=this_file_as_module(tmp_path),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 3, done.stderr


# The last line of defence of S4.


def test_a_safety_state_never_moves_backwards(directory: Path) -> None:
    old = changed(safety(5), last_timeout=(5, 3), last_proposed_view=4, high_qc=qc(4))
    other_vote = Header(5, 6, ZERO, ZERO)
    bad: list[dict[str, object]] = [
        {"last_voted_view": 4},
        {"last_vote": other_vote},
        {"last_vote": None},
        {"last_timeout": None},
        {"last_timeout": (4, 3)},
        {"last_timeout": (5, 4)},
        {"last_proposed_view": 3},
        {"high_qc": qc(3)},
    ]
    with Store.create(directory) as store:
        store.save_safety(old)
        for changes in bad:
            with pytest.raises(SafetyRegression):
                store.save_safety(changed(old, **changes))
        assert store.load_safety(D) == old
        store.save_safety(old)
        closed = changed(old, closed=True)
        store.save_safety(closed)
        with pytest.raises(SafetyRegression, match="closed"):
            store.save_safety(old)
        later: list[dict[str, object]] = [
            {"last_voted_view": 6, "last_vote": Header(6, 6, ZERO, ZERO)},
            {"last_timeout": (6, 4)},
            {"last_proposed_view": 6},
        ]
        for changes in later:
            with pytest.raises(SafetyRegression, match="closed epoch"):
                store.save_safety(changed(closed, **changes))
        store.save_safety(changed(closed, high_qc=qc(6)))
    with Store.open(directory) as store, pytest.raises(SafetyRegression):
        store.save_safety(changed(closed, last_voted_view=1))


states = st.builds(
    lambda voted, by, timeout, high, proposed, certified, closed: changed(
        safety(voted),
        last_vote=Header(voted, by, ZERO, ZERO) if voted and by else None,
        last_timeout=(timeout, min(high, timeout)) if timeout else None,
        last_proposed_view=proposed,
        high_qc=qc(certified),
        closed=closed,
    ),
    *[st.integers(0, 2)] * 6,
    st.booleans(),
)


@given(first=states, second=states)
@settings(max_examples=300)
def test_of_two_different_safety_states_at_most_one_may_follow_the_other(
    first: SafetyState, second: SafetyState
) -> None:
    def allowed(old: SafetyState, new: SafetyState) -> bool:
        try:
            refuse_regression(old, new)
        except SafetyRegression:
            return False
        return True

    assert allowed(first, first)
    if allowed(first, second) and allowed(second, first):
        assert first == second


# Blocks.


def test_blocks_follow_parents_newest_first_within_bounds(directory: Path) -> None:
    with Store.create(directory) as store:
        for view, parent in ((1, 0), (2, 1), (3, 1), (5, 3), (6, 5)):
            store.save_block(D, block_id(view), block(view, parent, size=1000))

        def views(newest: int, known: int, **bounds: int) -> list[int]:
            found = store.blocks_from(D, block_id(newest), known, id_of, **bounds)
            return [b.view for b in found]

        assert views(6, 0) == [6, 5, 3, 1]
        assert views(6, 1) == [6, 5, 3]
        assert views(6, 6) == []
        assert views(4, 0) == []
        assert views(6, 0, count_max=2) == [6, 5]
        assert views(6, 0, bytes_max=2700) == [6, 5]
        assert views(6, 0, bytes_max=100) == []


def test_blocks_survive_without_a_safety_state_only_after_a_flush(directory: Path) -> None:
    with Store.create(directory) as store:
        store.save_block(D, block_id(1), block(1))
        store.flush()
        store.save_block(D, block_id(2), block(2))
        assert store.load_block(D, block_id(2)) == block(2)
        store.close(commit=False)
    with Store.open(directory) as store:
        assert store.load_block(D, block_id(1)) == block(1)
        assert store.load_block(D, block_id(2)) is None


def test_many_blocks_do_not_wait_for_ever(directory: Path) -> None:
    with Store.create(directory) as store:
        for view in range(1, 300):
            store.save_block(D, block_id(view), block(view))
        store.close(commit=False)
    with Store.open(directory) as store:
        assert store.load_block(D, block_id(256)) is not None


def test_a_block_is_saved_before_it_is_committed(directory: Path) -> None:
    with Store.create(directory) as store, pytest.raises(ValueError, match="was not saved"):
        store.commit_block(D, block_id(1), 1, 1, b"")


def test_old_blocks_go_but_never_the_head_nor_what_is_not_final(directory: Path) -> None:
    with Store.create(directory, Retention(blocks_max=256)) as store:
        store.save_block(OTHER, block_id(9), block(9))
        for view in range(1, 400):
            store.save_block(D, block_id(view), block(view))
            store.commit_block(D, block_id(view), view, view, b"")
        assert store.load_block(D, block_id(1)) is None
        assert store.load_block(D, block_id(100)) is None
        assert store.load_block(D, block_id(200)) is not None
        assert store.load_block(OTHER, block_id(9)) is not None
        assert store.head(D) is not None


# Checkpoints.


def test_a_checkpoint_becomes_the_head_with_the_next_safety_state(directory: Path) -> None:
    with Store.create(directory) as store:
        store.save_block(D, block_id(1), block(1))
        store.commit_block(D, block_id(1), 1, 1, b"one")
        store.save_safety(safety(1))
        store.save_checkpoint(D, block_id(50), block(50), b"fifty", Gap(1, 1, 50, 50), b"i", b"s")
        store.close(commit=False)
    with Store.open(directory) as store:
        head = store.head(D)
        assert head is not None
        assert (head.block_id, store.gaps(D)) == (block_id(1), []), "nothing was durable yet"
        store.save_checkpoint(D, block_id(50), block(50), b"fifty", Gap(1, 1, 50, 50), b"i", b"s")
        store.save_safety(safety(2))
        store.close(commit=False)
    with Store.open(directory) as store:
        head = store.head(D)
        assert head is not None
        assert (head.block_id, head.height, head.state) == (block_id(50), 50, b"fifty")
        assert store.gaps(D) == [Gap(1, 1, 50, 50)]
        assert store.gaps(OTHER) == []
        assert store.uncommitted(D) == []
        store.save_block(D, block_id(51), block(51))
        store.commit_block(D, block_id(51), 51, 51, b"next")
        assert [b.view for b in store.blocks_from(D, block_id(51), 0, id_of)] == [51, 50]
        # What was there before is still served.
        assert store.load_block(D, block_id(1)) is not None


def test_gaps_that_touch_become_one_and_only_so_many_are_kept(directory: Path) -> None:
    def skip(store: Store, above: int, view: int) -> None:
        gap = Gap(above, above, view, view)
        store.save_checkpoint(D, block_id(view), block(view), b"", gap, b"%d" % above, b"state")

    with Store.create(directory) as store:
        skip(store, 3, 9)
        skip(store, 9, 12)
        skip(store, 20, 25)
        assert store.below_gap(D, Gap(3, 3, 12, 12)) == (b"3", b"state")
        assert store.gaps(D) == [Gap(3, 3, 12, 12), Gap(20, 20, 25, 25)]
        # All blocks were lost, and the next checkpoint begins with the genesis.
        skip(store, 0, 40)
        assert store.gaps(D) == [Gap(0, 0, 40, 40)]
        for view in range(100, 2_000, 3):
            skip(store, view - 2, view)
        gaps = store.gaps(D)
        assert len(gaps) == 256
        assert gaps[-1].view == 1_999


def test_what_came_back_of_a_gap_is_kept_until_it_is_used(directory: Path) -> None:
    gap = Gap(3, 3, 300, 300)
    with Store.create(directory) as store:
        store.save_checkpoint(D, block_id(300), block(300), b"", gap, block_id(3), b"three")
        store.save_skipped(D, gap, [block(view) for view in range(200, 99, -1)])
        store.save_skipped(OTHER, gap, [block(50)])
        assert [b.view for b in store.skipped(D, gap, count_max=2)] == [100, 101]
        assert not store.prune_skipped(D), "all of it is needed"
        left = store.narrow_gap(D, gap, block(150), block_id(150), b"state")
        assert store.gaps(D) == [left] == [Gap(150, 150, 300, 300)]
        assert store.below_gap(D, left) == (block_id(150), b"state")
        assert store.skipped(D, left)[0].view == 151
        assert store.prune_skipped(D)
        assert store.skipped(D, gap)[0].view == 151, "those that were used are dropped"
        assert not store.prune_skipped(D)
        # A wider gap begins anew: what came back for the narrower one is not all of it.
        wider = Gap(300, 300, 400, 400)
        store.save_checkpoint(D, block_id(400), block(400), b"", wider, block_id(300), b"")
        (merged,) = store.gaps(D)
        assert merged == Gap(150, 150, 400, 400)
        assert store.skipped(D, merged) == []
        store.save_skipped(D, merged, [block(399)])
        while store.prune_skipped(D):
            pass
        assert [b.view for b in store.skipped(D, merged)] == [399]
        assert store.prune_skipped(D, [merged]), "it was given up"
        assert store.skipped(D, merged) == []
        store.close_gap(D, merged)
        assert store.gaps(D) == []
        assert store.skipped(OTHER, gap) == [block(50)]


def test_a_head_whose_block_is_lost_is_none(directory: Path) -> None:
    """Then the member begins with a checkpoint; what it signed is all there."""
    with Store.create(directory) as store:
        store.save_block(D, block_id(1), block(1))
        store.commit_block(D, block_id(1), 1, 1, b"one")
        store.save_safety(safety(1))
    with sqlite3.connect(directory / "safety.db") as database:
        database.execute("DELETE FROM block")
    database.close()
    with Store.open(directory) as store:
        assert store.head(D) is None
        assert store.load_safety(D) == safety(1)


# Reports and evidence.


def test_reports_by_view_and_time(directory: Path) -> None:
    reader = ArchiveReader(directory)
    with Store.create(directory) as store:
        assert reader.latest() is None
        for view in (2, 4, 6):
            assert store.save_report(report(view))
        assert store.save_report(report(1, at_ms=7000, epoch=1))
        assert not store.save_report(replace(report(4), body=b"other"))
        assert reader.report_at(0, 4) == report(4)
        assert reader.report_at(0, 5) is None
        assert reader.report_at(0, 2**70) is None
        assert reader.report_by_time(5999) == report(4)
        assert reader.report_by_time(6000) == report(6)
        assert reader.report_by_time(1999) is None
        assert reader.latest() == report(1, at_ms=7000, epoch=1)
        assert store.mark_report_final(0, 4)
        assert not store.mark_report_final(0, 5)
        assert reader.report_at(0, 4) == replace(report(4), final=True)
    # The archive is readable while no node runs.
    assert reader.report_at(0, 2) == report(2)
    reader.close()


def test_reports_are_pruned_by_count_and_by_age(directory: Path) -> None:
    with Store.create(directory, Retention(reports_max=10, report_age_ms_max=5_000)) as store:
        reader = ArchiveReader(directory)
        for view in range(1, 31):
            store.save_report(report(view, at_ms=view))
        assert reader.report_at(0, 20) is None
        assert reader.report_at(0, 21) is not None
        store.save_report(report(31, at_ms=10_000))
        assert reader.report_at(0, 30) is None
        assert reader.latest() == report(31, at_ms=10_000)
        reader.close()


def test_evidence_is_kept_once_and_bounded(directory: Path) -> None:
    with Store.create(directory) as store:

        def save(kind: str, member: int, view: int, data: bytes = b"proof") -> bool:
            return store.save_evidence(StoredEvidence(D, kind, member, view, 5, data))

        assert save("two-votes", 2, 7)
        assert not save("two-votes", 2, 7, b"other proof")
        assert save("two-timeouts", 2, 7)
        for view in range(8, 200):
            save("two-votes", 2, view, b"")
        assert save("hidden-certificate", 2, 300)
        assert save("two-votes", 3, 7)
        store.close(commit=False)
    with Store.open(directory) as store:
        kept = store.evidence()
        assert kept[0].data == b"proof"
        assert len([e for e in kept if e.member == 2]) == EVIDENCE_PER_MEMBER_MAX + 2
        assert len([e for e in kept if e.member == 3]) == 1


def test_a_lost_archive_is_begun_anew(directory: Path) -> None:
    with Store.create(directory) as store:
        store.save_safety(safety(3))
    for path in directory.glob("archive.db*"):
        path.unlink()
    with Store.open(directory) as store:
        assert store.load_safety(D) == safety(3)
        assert store.save_report(report(1))


def test_a_store_that_was_closed_takes_no_writes(directory: Path) -> None:
    store = Store.create(directory)
    store.close()
    store.close()
    for use in (lambda: store.save_safety(safety(1)), store.flush, store.evidence):
        with pytest.raises(StoreFailed):
            use()
