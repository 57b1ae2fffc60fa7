"""A member moves to another machine: nothing that it signed is forgotten, nobody signs twice."""

import json
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st

from consensus.digests import timeout_digest
from consensus.messages import QC, TC, Header, TimeoutGroup
from consensus.safety import SafetyState
from feeds.catalogue import load_catalogue
from node import network_file
from node.cli import main
from node.journal import Journal
from node.keys.key_set import KeySet, generate_keys
from node.node_directory import create_node_directory
from node.registration import register
from node.running_epoch import RunningEpoch, first_epoch
from node.safety_file import SafetyFile, SafetyFileError, decode_safety_file, encode_safety_file
from node.safety_transfer import (
    Member,
    export_safety,
    import_safety,
    require_free,
    resume,
)
from node.store import SafetyOutdated, Store, StoreHeld, StoreLocked, StoreMissing

ZERO = bytes(32)


@dataclass
class Place:
    """One machine's copy of a member."""

    epoch: RunningEpoch
    keys: list[KeySet]
    member: Member

    def elsewhere(self, directory: Path) -> "Place":
        return Place(self.epoch, self.keys, replace(self.member, data_dir=directory))

    def qc(self, view: int) -> QC:
        header = Header(view, view, ZERO, bytes(31) + b"L")
        block_id = header.id(self.epoch.context.domain)
        shares = {i: self.keys[i].bls.sign(block_id) for i in range(3)}  # type: ignore[union-attr]
        return self.epoch.verifier.certify_votes(header, block_id, shares)

    def tc(self, view: int, high: QC) -> TC:
        digest = timeout_digest(self.epoch.context.domain, view, high.view)
        shares = {
            i: (high.view, self.keys[i].bls.sign(digest))  # type: ignore[union-attr]
            for i in range(3)
        }
        return self.epoch.verifier.certify_timeouts(view, shares, high)

    def state(self, view: int, **changes: Any) -> SafetyState:
        state = SafetyState(
            domain=self.epoch.context.domain,
            last_voted_view=view,
            last_vote=Header(view, view, ZERO, ZERO),
            last_timeout=None,
            last_proposed_view=0,
            high_qc=self.epoch.context.genesis_qc,
            high_tc=None,
        )
        return msgspec.structs.replace(state, **changes)

    def sign(self, *states: SafetyState) -> None:
        with Store.open(self.member.data_dir) as store:
            for state in states:
                store.save_safety(state)

    def remembered(self) -> SafetyState | None:
        with Store.open(self.member.data_dir) as store:
            return store.load_safety(self.epoch.context.domain)


@pytest.fixture(scope="module")
def founded() -> tuple[Any, RunningEpoch, list[KeySet]]:
    keys = [generate_keys() for _ in range(4)]
    members = [register(name, one) for name, one in zip("abcd", keys, strict=True)]
    table = load_catalogue(None)
    network = network_file.create("net", members, table, genesis_time_ms=1, valid_until_ms=2**60)
    return network, first_epoch(network), keys


@pytest.fixture
def place(founded: Any, tmp_path: Path) -> Place:
    network, epoch, keys = founded
    member = Member(network, keys[0].bls.public_key, tmp_path / "old")
    with Store.create(member.data_dir) as store:
        store.record_own_key(member.bls_key)
    return Place(epoch, keys, member)


def test_a_member_moves_with_all_that_it_signed(place: Place, tmp_path: Path) -> None:
    high = place.qc(6)
    state = place.state(
        8, last_timeout=(7, 6), last_proposed_view=5, high_qc=high, high_tc=place.tc(7, high)
    )
    other = place.state(3, domain=b"E" * 32, closed=True, closing_qc=place.qc(2))
    place.sign(state, other)
    exported = export_safety(place.member, tmp_path / "safety.json")
    assert exported.epochs == (0, None)

    new = place.elsewhere(tmp_path / "new")
    import_safety(new.member, tmp_path / "safety.json")
    assert new.remembered() == state
    with Store.open(new.member.data_dir) as store:
        assert store.safety_states() == [state, other]
        assert store.is_own_key(new.member.bls_key)
        assert store.instance != exported.instance
        require_free(store)

    # And back again later: the old place is then free, and knows what was signed meanwhile.
    later = msgspec.structs.replace(state, last_voted_view=9)
    new.sign(later)
    export_safety(new.member, tmp_path / "back.json")
    with Store.open(place.member.data_dir) as store, pytest.raises(StoreHeld):
        require_free(store)
    import_safety(place.member, tmp_path / "back.json")
    assert place.remembered() == later
    with Store.open(place.member.data_dir) as store:
        require_free(store)
    with Store.open(new.member.data_dir) as store, pytest.raises(StoreHeld, match="back"):
        require_free(store)


def test_after_an_export_only_the_operator_lets_the_member_start(
    place: Place, tmp_path: Path
) -> None:
    place.sign(place.state(1))
    out = tmp_path / "safety.json"
    export_safety(place.member, out)
    with Store.open(place.member.data_dir) as store:
        with pytest.raises(StoreHeld, match="didyma safety resume"):
            require_free(store)
        with pytest.raises(StoreHeld):
            require_free(store)
    # The file of this very store frees nothing: the member may run where it was imported.
    with pytest.raises(SafetyFileError, match="this very store"):
        import_safety(place.member, out)
    hold = resume(place.member.data_dir)
    assert hold is not None
    assert str(out) in hold.reason
    with Store.open(place.member.data_dir) as store:
        require_free(store)


def test_the_store_is_on_hold_before_the_file_exists(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr("node.safety_transfer.write_atomically", fails)
    with pytest.raises(OSError, match="no space"):
        export_safety(place.member, tmp_path / "safety.json")
    with Store.open(place.member.data_dir) as store, pytest.raises(StoreHeld):
        require_free(store)


def test_nothing_moves_while_the_node_runs(place: Place, tmp_path: Path) -> None:
    other = place.elsewhere(tmp_path / "new")
    place.sign(place.state(1))
    export_safety(place.member, tmp_path / "safety.json")
    with Store.create(other.member.data_dir):
        for act in (
            lambda: import_safety(other.member, tmp_path / "safety.json"),
            lambda: export_safety(other.member, tmp_path / "other.json"),
            lambda: resume(other.member.data_dir),
        ):
            with pytest.raises(StoreLocked):
                act()
    assert not (tmp_path / "other.json").exists()


def test_an_older_file_or_a_contradicting_one_is_refused_whole(
    place: Place, tmp_path: Path
) -> None:
    high = place.qc(6)
    old = place.state(7, last_timeout=(7, 5), last_proposed_view=6, high_qc=high)
    beside = place.state(1, domain=b"E" * 32)
    new = place.elsewhere(tmp_path / "new")
    with Store.create(new.member.data_dir) as store:
        store.record_own_key(new.member.bls_key)
    new.sign(old, beside)
    backwards: list[dict[str, Any]] = [
        {"last_voted_view": 7, "last_vote": Header(7, 8, ZERO, ZERO)},
        {"last_timeout": None},
        {"last_timeout": (7, 6)},
        {"last_proposed_view": 5},
        {"high_qc": place.qc(5)},
    ]
    for number, changes in enumerate(backwards):
        file = SafetyFile(
            place.member.network.network,
            place.member.bls_key,
            "elsewhere",
            1,
            (
                msgspec.structs.replace(beside, last_voted_view=2),
                msgspec.structs.replace(old, **changes),
            ),
            (None, 0),
        )
        path = tmp_path / f"{number}.json"
        path.write_bytes(encode_safety_file(file))
        with pytest.raises(SafetyFileError, match="Nothing was changed"):
            import_safety(new.member, path)
        with Store.open(new.member.data_dir) as store:
            assert store.safety_states() == [old, beside]


def test_a_lost_high_tc_is_refused(place: Place, tmp_path: Path) -> None:
    genesis = place.epoch.context.genesis_qc
    tc = place.tc(7, genesis)
    place.sign(place.state(7, high_tc=tc))
    for lower in (None, place.tc(6, genesis)):
        state = place.state(7, high_tc=lower)
        network, key = place.member.network.network, place.member.bls_key
        path = tmp_path / f"{lower is None}.json"
        path.write_bytes(encode_safety_file(SafetyFile(network, key, "x", 1, (state,), (0,))))
        with pytest.raises(SafetyFileError, match="high TC"):
            import_safety(place.member, path)


def test_another_members_file_or_networks_is_refused(place: Place, tmp_path: Path) -> None:
    place.sign(place.state(1))
    path = tmp_path / "safety.json"
    export_safety(place.member, path)
    other = place.keys[1].bls
    assert other is not None
    new = place.elsewhere(tmp_path / "new").member
    with pytest.raises(SafetyFileError, match="BLS key"):
        import_safety(replace(new, bls_key=other.public_key), path)
    another = network_file.create(
        "another",
        [register(name, one) for name, one in zip("abcd", place.keys, strict=True)],
        place.epoch.table,
        genesis_time_ms=1,
        valid_until_ms=2**60,
    )
    with pytest.raises(SafetyFileError, match="of the network"):
        import_safety(replace(new, network=another), path)
    assert not new.data_dir.exists(), "nothing was made"
    # A store that another key signed with is not adopted.
    with Store.create(new.data_dir) as store:
        store.record_own_key(other.public_key)
    with pytest.raises(SafetyFileError, match="another BLS key"):
        import_safety(new, path)


def test_only_the_store_that_knows_all_is_exported(place: Place, tmp_path: Path) -> None:
    out = tmp_path / "safety.json"
    with pytest.raises(StoreMissing):
        export_safety(place.elsewhere(tmp_path / "none").member, out)
    foreign = place.elsewhere(tmp_path / "foreign")
    Store.create(foreign.member.data_dir).close()
    with pytest.raises(SafetyFileError, match="does not know all"):
        export_safety(foreign.member, out)
    # An old copy that was put back beside a newer journal.
    place.sign(place.state(4))
    journal = Journal(place.member.data_dir / "journal")
    journal.signed_vote(place.epoch.context.domain, Header(9, 9, ZERO, ZERO), ZERO, bytes(96))
    journal.close()
    with pytest.raises(SafetyOutdated):
        export_safety(place.member, out)
    assert not out.exists()
    with Store.open(place.member.data_dir) as store:
        assert store.held() is None


def test_a_certificate_that_does_not_verify_is_refused(place: Place, tmp_path: Path) -> None:
    genuine = place.qc(6)
    forged = msgspec.structs.replace(genuine, aggregate=place.qc(5).aggregate)
    states = [
        place.state(8, high_qc=forged),
        place.state(8, closed=True, closing_qc=forged),
        place.state(
            8,
            high_qc=genuine,
            high_tc=TC(7, (TimeoutGroup(6, genuine.bitmap),), genuine.aggregate, genuine),
        ),
    ]
    new = place.elsewhere(tmp_path / "new").member
    for number, state in enumerate(states):
        path = tmp_path / f"{number}.json"
        network = place.member.network.network
        file = SafetyFile(network, place.member.bls_key, "x", 1, (state,), (0,))
        path.write_bytes(encode_safety_file(file))
        with pytest.raises(SafetyFileError, match="does not verify"):
            import_safety(new, path)
    assert not new.data_dir.exists()


def sealed(place: Place, state: SafetyState) -> bytes:
    network = place.member.network.network
    return encode_safety_file(SafetyFile(network, place.member.bls_key, "x", 1, (state,), (0,)))


def test_states_that_no_member_can_have_are_refused(place: Place) -> None:
    for changes in (
        {"last_timeout": (9, 1)},
        {"last_proposed_view": 9},
        {"last_vote": Header(9, 9, ZERO, ZERO)},
        {"last_voted_view": 2**63},
        {"domain": bytes(31)},
    ):
        with pytest.raises(SafetyFileError):
            decode_safety_file(sealed(place, place.state(8, **changes)))


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_a_file_that_was_changed_anywhere_is_refused(founded: Any, data: st.DataObject) -> None:
    network, epoch, keys = founded
    place = Place(epoch, keys, Member(network, keys[0].bls.public_key, Path("unused")))
    whole = sealed(place, place.state(8, high_qc=place.qc(3)))
    at = data.draw(st.integers(0, len(whole) - 1))
    bit = data.draw(st.integers(0, 7))
    broken = bytearray(whole)
    broken[at] ^= 1 << bit
    try:
        read = decode_safety_file(bytes(broken))
    except SafetyFileError:
        return
    # White space may differ, and nothing else.
    assert read == decode_safety_file(whole)


@given(st.binary(max_size=200))
def test_any_other_file_is_refused_with_a_message(content: bytes) -> None:
    with pytest.raises(SafetyFileError):
        decode_safety_file(content)


def invoke(*arguments: str | Path) -> Result:
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result


def test_the_commands_move_a_member(founded: Any, tmp_path: Path) -> None:
    _, _, keys = founded
    made = create_node_directory(tmp_path / "a", "a", iterations=2)
    members = [register("a", made.keys)]
    members += [register(name, one) for name, one in zip("bcd", keys[1:], strict=True)]
    network = network_file.create(
        "net", members, load_catalogue(None), genesis_time_ms=1, valid_until_ms=2**60
    )
    for keys_of in (made.keys, *keys[1:]):
        network = network_file.sign(network, keys_of.bls)
    network_file.save(tmp_path / "a" / "network.json", network)
    config, out = tmp_path / "a" / "node.toml", tmp_path / "safety.json"

    exported = invoke("safety", "export", "-c", config, "--out", out, "--json")
    assert exported.exit_code == 0, exported.stderr
    assert json.loads(exported.stdout)["file"] == str(out)
    assert invoke("safety", "export", "-c", config, "--out", out).exit_code == 3
    shown = json.loads(invoke("safety", "show", "-c", config, "--json").stdout)
    assert "exported" in shown["held"]["reason"]
    run = [sys.executable, "-m", "node.cli", "run", "-c", str(config)]
    started = subprocess.run(run, capture_output=True, text=True, timeout=60, check=False)
    assert started.returncode == 5, "a supervisor must not try again"
    assert "didyma safety resume" in started.stderr

    # The other machine has the keys and the configuration, and no store.
    (tmp_path / "a" / "data").rename(tmp_path / "old-data")
    imported = invoke("safety", "import", out, "-c", config)
    assert imported.exit_code == 0, imported.stderr
    assert "may start" in invoke("safety", "show", "-c", config).stdout
    assert invoke("safety", "import", tmp_path / "none.json", "-c", config).exit_code == 3
    assert invoke("safety", "resume", "-c", config).exit_code == 130, "it asks, nobody answers"
    assert invoke("safety", "resume", "-c", config, "--yes").exit_code == 0
