"""The journal: every line reaches the kernel, in order, and reads back strictly."""

import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import msgspec
import pytest

from consensus.messages import QC, Block, Header
from consensus.safety import SafetyState
from node.journal import (
    Certified,
    Committed,
    Halted,
    Journal,
    JournalDamaged,
    Persisted,
    Signed,
    Started,
    journal_files,
    read_journal,
    require_current,
)
from node.store import SafetyOutdated, StoreFailed

D = b"D" * 32
ZERO = bytes(32)
ID = b"i" * 32
GENESIS = QC(Header(0, 1, ZERO, ZERO), ZERO, bytes(96))
HEADER = Header(3, 9_000, b"r" * 32, b"l" * 32)
BLOCK = Block(HEADER, 2, ZERO, b"payload", GENESIS)
CERTIFICATE = QC(HEADER, b"b" * 32, b"a" * 96)


def journal(directory: Path, **options: int) -> Journal:
    return Journal(directory, clock_ms=lambda: 5, **options)


def write_all(target: Journal) -> None:
    state = SafetyState(
        domain=D,
        last_voted_view=3,
        last_vote=HEADER,
        last_timeout=(2, 1),
        last_proposed_view=1,
        high_qc=GENESIS,
        high_tc=None,
    )
    target.started(
        instance="ab", network=ZERO, epoch=0, domain=D, member=2, bls_key=b"k", ed25519_key=b"e"
    )
    target.persisted(state)
    target.signed_vote(D, HEADER, ID, b"s" * 96)
    target.signed_timeout(D, 2, 1, b"t" * 96)
    target.signed_proposal(D, 3, ID, b"p" * 64)
    target.signed_observation(D, 3, ID, b"body", b"o" * 64)
    target.certified(D, ID, BLOCK, b"P" * 32, CERTIFICATE, [1, 2**255])
    target.committed(D, ID, BLOCK, b"P" * 32)
    target.halted("a conflict")


def test_every_entry_reads_back(tmp_path: Path) -> None:
    target = journal(tmp_path)
    write_all(target)
    entries = list(read_journal(tmp_path))
    target.close()
    assert [entry.seq for entry in entries] == list(range(9))
    assert [type(entry) for entry in entries] == [
        Started,
        Persisted,
        *[Signed] * 4,
        Certified,
        Committed,
        Halted,
    ]
    persisted, vote, timeout = entries[1:4]
    assert isinstance(persisted, Persisted)
    assert (persisted.last_voted_view, persisted.vote_id) == (3, HEADER.id(D).hex())
    assert (persisted.last_timeout, persisted.high_qc_view) == ((2, 1), 0)
    assert isinstance(vote, Signed)
    assert vote.header is not None
    assert (vote.kind, vote.view, vote.header.feed_root) == ("vote", 3, (b"r" * 32).hex())
    assert isinstance(timeout, Signed)
    assert (timeout.kind, timeout.view, timeout.high_qc_view) == ("timeout", 2, 1)
    certified = entries[6]
    assert isinstance(certified, Certified)
    assert [int(word, 16) for word in certified.words] == [1, 2**255]
    # Plain JSON for auditors in any language.
    line = (tmp_path / "journal.jsonl").read_text().splitlines()[3]
    assert json.loads(line) == {
        "event": "signed",
        "seq": 3,
        "t_ms": 5,
        "domain": D.hex(),
        "kind": "timeout",
        "view": 2,
        "signature": (b"t" * 96).hex(),
        "high_qc_view": 1,
    }


def test_a_torn_last_line_is_passed_over_and_then_cut_off(tmp_path: Path) -> None:
    target = journal(tmp_path)
    target.halted("one")
    target.halted("two")
    target.close()
    path = tmp_path / "journal.jsonl"
    whole = path.read_bytes()
    for cut in range(1, len(whole) // 2):
        path.write_bytes(whole[:-cut])
        assert [entry.seq for entry in read_journal(tmp_path)] == [0]
    again = journal(tmp_path)
    again.halted("three")
    again.close()
    assert [entry.seq for entry in read_journal(tmp_path)] == [0, 1]
    path.write_bytes(whole[:3])
    assert list(read_journal(tmp_path)) == []
    journal(tmp_path).close()
    assert path.read_bytes() == b""


@pytest.mark.parametrize(
    "damage",
    [
        lambda lines: [lines[0], b"{}", lines[2]],
        lambda lines: [lines[0], lines[1][:20], lines[2]],
        lambda lines: [lines[0], b"", lines[2]],
        lambda lines: [lines[0], lines[2]],
        lambda lines: [lines[0], lines[0]],
        lambda lines: [lines[0], lines[1].replace(b'"halted"', b'"stopped"')],
        lambda lines: [lines[0], lines[1].replace(b"{", b'{"extra":1,', 1)],
        lambda lines: [lines[0], b"[" * 100_000],
        lambda lines: [lines[0], b"x" * 300_000],
    ],
)
def test_anything_else_is_damage(tmp_path: Path, damage: object) -> None:
    target = journal(tmp_path)
    for text in ("one", "two", "three"):
        target.halted(text)
    target.close()
    path = tmp_path / "journal.jsonl"
    lines = path.read_bytes().splitlines()
    assert callable(damage)
    path.write_bytes(b"\n".join(damage(lines)) + b"\n")
    with pytest.raises(JournalDamaged):
        list(read_journal(tmp_path))


def test_files_rotate_by_size_and_the_sequence_goes_on(tmp_path: Path) -> None:
    for _ in range(5):
        target = journal(tmp_path, file_bytes_max=300, files_max=3)
        for _ in range(4):
            target.halted("x" * 20)
        target.close()
    files = journal_files(tmp_path)
    assert len(files) == 4
    entries = list(read_journal(tmp_path))
    assert entries[-1].seq == 19
    assert [entry.seq for entry in entries] == list(range(entries[0].seq, 20))
    # A torn line is only forgiven at the very end.
    files[0].write_bytes(files[0].read_bytes()[:-2])
    with pytest.raises(JournalDamaged):
        list(read_journal(tmp_path))


def test_the_sequence_goes_on_after_a_kill_between_rotation_and_the_next_line(
    tmp_path: Path,
) -> None:
    target = journal(tmp_path)
    target.halted("one")
    target.close()
    (tmp_path / "journal.jsonl").rename(tmp_path / "journal-000000000000.jsonl")
    again = journal(tmp_path)
    again.halted("two")
    again.close()
    assert [entry.seq for entry in read_journal(tmp_path)] == [0, 1]


def test_a_killed_process_loses_no_line(tmp_path: Path) -> None:
    script = textwrap.dedent(
        """
        import sys
        from pathlib import Path
        from node.journal import Journal
        journal = Journal(Path(sys.argv[1]), file_bytes_max=20_000, files_max=10_000)
        for view in range(10**6):
            journal.signed_timeout(bytes(32), view, 0, bytes(96))
            sys.stdout.write(f"{view}\\n")
            sys.stdout.flush()
        """
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    assert process.stdout is not None
    for _ in range(500):
        process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    sent = process.stdout.read().split("\n")[:-1]
    process.wait()
    process.stdout.close()
    last = list(read_journal(tmp_path))[-1]
    assert isinstance(last, Signed)
    assert last.view in (int(sent[-1]), int(sent[-1]) + 1) if sent else last.view >= 499


def test_a_full_disk_stops_the_journal(tmp_path: Path) -> None:
    script = textwrap.dedent(
        """
        import resource, sys
        from pathlib import Path
        from node.journal import Journal
        from node.store.errors import StoreFailed
        journal = Journal(Path(sys.argv[1]))
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
        failures = 0
        for _ in range(20):
            try:
                journal.halted("x" * 90)
            except StoreFailed:
                failures += 1
        print(failures)
        """
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    assert done.returncode == 0, done.stderr
    kept = len(list(read_journal(tmp_path)))
    # Once it has failed it stays so, and the torn line is not taken for an entry.
    assert kept + int(done.stdout) == 20
    assert int(done.stdout) > 0
    journal(tmp_path).close()


def test_a_place_that_cannot_be_written_is_explained(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreFailed, match="cannot use the journal"):
        journal(tmp_path / "file")


def test_an_older_safety_state_beside_the_journal_is_refused(tmp_path: Path) -> None:
    state = SafetyState(
        domain=D,
        last_voted_view=3,
        last_vote=HEADER,
        last_timeout=(2, 1),
        last_proposed_view=1,
        high_qc=GENESIS,
        high_tc=None,
    )
    require_current(tmp_path, state)
    target = journal(tmp_path, file_bytes_max=1500)
    write_all(target)
    require_current(tmp_path, state)
    target.signed_timeout(D, 4, 3, b"t" * 96)
    for _ in range(6):
        target.signed_timeout(b"E" * 32, 9, 3, b"t" * 96)
    target.close()
    assert len(journal_files(tmp_path)) > 1
    with pytest.raises(SafetyOutdated, match=r"up to view 3, but .* up to view 4: an older copy"):
        require_current(tmp_path, state)
    require_current(tmp_path, msgspec.structs.replace(state, last_voted_view=4))
