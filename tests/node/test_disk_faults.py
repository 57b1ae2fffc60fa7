"""Real full and read-only disks: a message, no doubt about what is durable, nothing forgotten."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from consensus.messages import QC, Header
from consensus.safety import SafetyState
from node.journal import Signed, read_journal
from node.store import Store

D = b"D" * 32
ZERO = bytes(32)

_STATE = """
import sys
from pathlib import Path
from consensus.messages import QC, Header
from consensus.safety import SafetyState
from node.journal import Journal
from node.store import Store, StoreFailed

ZERO = bytes(32)
GENESIS = QC(Header(0, 1, ZERO, ZERO), ZERO, bytes(96))
D = b"D" * 32

def safety(view):
    return SafetyState(D, view, Header(view, view, ZERO, ZERO), None, 0, GENESIS, None)
"""


def in_own_mounts(mounts: str, program: str, directory: Path) -> "subprocess.CompletedProcess[str]":
    """Run a program with mounts of its own over a directory; skip where nobody may mount."""
    if shutil.which("unshare") is None or os.geteuid() != 0:
        pytest.skip("needs to mount, as root")
    script = f'{mounts} && exec "$0" -c "$2" "$1"'
    command = ["unshare", "-m", "sh", "-c", script, sys.executable, str(directory), program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    if "ermission denied" in done.stderr or "not permitted" in done.stderr:
        pytest.skip("nobody may mount here")
    return done


def test_s4_a_full_disk_stops_the_node_and_forgets_nothing(tmp_path: Path) -> None:
    """A real file system without room: votes and their journal, until one does not fit."""
    program = (
        _STATE
        + """
directory = Path(sys.argv[1])
store = Store.create(directory / "data")
journal = Journal(directory / "data" / "journal")
filler = directory / "filler"
filler.write_bytes(bytes(300_000))
acknowledged = 0
try:
    for view in range(1, 100_000):
        store.save_safety(safety(view))
        journal.persisted(safety(view))
        journal.signed_vote(D, Header(view, view, ZERO, ZERO), ZERO, bytes(96))
        acknowledged = view
except StoreFailed as error:
    assert "Check the disk" in str(error) or "disk is full" in str(error), error
else:
    sys.exit("nothing failed")
filler.unlink()
for write in (lambda: store.save_safety(safety(acknowledged + 9)),
              lambda: journal.persisted(safety(acknowledged + 9))):
    try:
        write()
    except StoreFailed:
        break
else:
    sys.exit("all was believed after a failure")
try:
    store.close()
except StoreFailed:
    pass
journal.close()
import shutil
shutil.copytree(directory / "data", Path(sys.argv[1] + "-kept"))
print(acknowledged)
"""
    )
    directory = tmp_path / "disk"
    directory.mkdir()
    done = in_own_mounts('mount -t tmpfs -o size=1500k none "$1"', program, directory)
    assert done.returncode == 0, done.stderr
    acknowledged = int(done.stdout)
    assert acknowledged > 3
    kept = tmp_path / "disk-kept"
    with Store.open(kept) as store:
        state = store.load_safety(D)
        assert state is not None
        assert state.last_voted_view in (acknowledged, acknowledged + 1)
        store.save_safety(_safety(acknowledged + 2))
    signed = [e.view for e in read_journal(kept / "journal") if isinstance(e, Signed)]
    assert signed[-1] in (acknowledged, acknowledged + 1)
    assert signed == list(range(1, len(signed) + 1))


def _safety(view: int) -> SafetyState:
    genesis = QC(Header(0, 1, ZERO, ZERO), ZERO, bytes(96))
    return SafetyState(D, view, Header(view, view, ZERO, ZERO), None, 0, genesis, None)


def test_a_read_only_disk_is_told_at_the_start(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with Store.create(data) as store:
        store.save_safety(_safety(7))
    program = (
        _STATE
        + """
try:
    Store.open(Path(sys.argv[1]))
except StoreFailed as error:
    assert "read-only" in str(error).lower(), error
else:
    sys.exit("it opened")
try:
    Journal(Path(sys.argv[1]) / "journal")
except StoreFailed as error:
    assert "read-only" in str(error).lower(), error
else:
    sys.exit("a journal began")
"""
    )
    mounts = 'mount --bind "$1" "$1" && mount -o remount,ro,bind "$1"'
    done = in_own_mounts(mounts, program, data)
    assert done.returncode == 0, done.stderr
    with Store.open(data) as store:
        state = store.load_safety(D)
    assert state == _safety(7)
