"""A member moves to another machine: what it signed goes with it, and the old place falls silent.

The store is marked before the file exists, so that at no moment both places may sign.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from consensus.errors import InvalidMessage
from consensus.safety import SafetyState
from node.journal import require_current
from node.network_file import NetworkFile
from node.public_file import read_bounded, write_atomically
from node.running_epoch import RunningEpoch, first_epoch, stored_epochs
from node.safety_file import (
    FILE_BYTES_MAX,
    SafetyFile,
    SafetyFileError,
    decode_safety_file,
    encode_safety_file,
)
from node.store import Hold, SafetyRegression, Store, StoreHeld
from node.store.store import JOURNAL_DIRECTORY, SAFETY_FILE


@dataclass(frozen=True, slots=True)
class Member:
    """Whose safety state it is, and where it is kept."""

    network: NetworkFile
    bls_key: bytes
    data_dir: Path


def export_safety(member: Member, out: Path) -> SafetyFile:
    """Write all safety states to a new file and put the store on hold; return what was written.

    Raises `OperatorError`: among others while a node runs on the store, if the store is not that of
    the key, or if it is an older copy.
    """
    if out.exists():
        raise SafetyFileError(f"{out} exists; name another file, or move it away")
    with Store.open(member.data_dir) as store:
        if member.bls_key not in store.own_keys():
            raise SafetyFileError(
                f"the store in {member.data_dir} is not that of the BLS key "
                f"0x{member.bls_key.hex()}, so it does not know all that the key signed: export "
                "from the member's own data directory"
            )
        states = store.safety_states()
        for state in states:
            require_current(member.data_dir / JOURNAL_DIRECTORY, state)
        numbers = _numbers(stored_epochs(member.network, store))
        file = SafetyFile(
            member.network.network,
            member.bls_key,
            store.instance,
            time.time_ns() // 1_000_000,
            tuple(states),
            tuple(numbers.get(state.domain) for state in states),
        )
        content = encode_safety_file(file)
        store.hold(file.exported_at_ms, f"its safety state was exported to {out.absolute()}")
        write_atomically(out, content, replace=False)
    return file


def import_safety(member: Member, path: Path) -> SafetyFile:
    """Take over the safety states in a file, all or none, making the store if there is none.

    Raises `OperatorError`, before anything is written, if the file is another member's or of
    another network, was exported from this very store, holds a certificate that does not verify, or
    forgets anything that the store remembers.
    """
    content = read_bounded(path, "safety file", FILE_BYTES_MAX)
    file = decode_safety_file(content)
    if file.network != member.network.network:
        raise SafetyFileError(
            f"{path} is of the network 0x{file.network.hex()}, this node is of "
            f"0x{member.network.network.hex()}"
        )
    if file.bls_key != member.bls_key:
        raise SafetyFileError(
            f"{path} is of the BLS key 0x{file.bls_key.hex()}, this member has "
            f"0x{member.bls_key.hex()}"
        )
    if not (member.data_dir / SAFETY_FILE).exists():
        _check_certificates(path, [first_epoch(member.network)], file.states)
        with Store.create(member.data_dir) as store:
            store.take_over(member.bls_key, file.states)
        return file
    with Store.open(member.data_dir) as store:
        if store.instance == file.instance:
            raise SafetyFileError(
                f"{path} was exported from this very store, so it holds nothing that is not here. "
                "If the member runs nowhere else, `didyma safety resume` lets it start again"
            )
        own = store.own_keys()
        if own and member.bls_key not in own:
            raise SafetyFileError(
                f"the store in {member.data_dir} is that of another BLS key: set node.data_dir to "
                "this member's own directory, or to a new one"
            )
        _check_certificates(path, stored_epochs(member.network, store), file.states)
        try:
            store.take_over(member.bls_key, file.states)
        except SafetyRegression as error:
            raise SafetyFileError(
                f"{path} is older than what this store remembers, or contradicts it: {error}. "
                "Nothing was changed. Export again from where the member ran last; if both places "
                "signed, the member can take part again only from the next epoch on"
            ) from None
    return file


def show_safety(member: Member) -> tuple[str, Hold | None, list[tuple[int | None, SafetyState]]]:
    """Return a store's instance, its hold, and its safety states with their epochs' numbers."""
    with Store.open(member.data_dir) as store:
        numbers = _numbers(stored_epochs(member.network, store))
        states = [(numbers.get(state.domain), state) for state in store.safety_states()]
        return store.instance, store.held(), states


def resume(data_dir: Path) -> Hold | None:
    """End a store's hold; return what it was."""
    with Store.open(data_dir) as store:
        hold = store.held()
        store.resume()
    return hold


def require_free(store: Store) -> None:
    """Raise `StoreHeld` if nothing may be signed with a store until its operator says so."""
    hold = store.held()
    if hold is not None:
        since = datetime.fromtimestamp(hold.at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        raise StoreHeld(
            f"this member signs nothing here since {since}: {hold.reason}. Wherever else it runs, "
            "stop it; then bring what it signed there with `didyma safety export` and `import`. "
            "Only if it signed nothing anywhere else since then, `didyma safety resume` lets it "
            "start here again."
        )


def _numbers(epochs: Sequence[RunningEpoch]) -> dict[bytes, int]:
    return {epoch.context.domain: epoch.context.epoch for epoch in epochs}


def _check_certificates(
    path: Path, epochs: Sequence[RunningEpoch], states: Sequence[SafetyState]
) -> None:
    """Verify the certificates of epochs whose committees are known here.

    Those of later epochs cannot be: a wrong one stops the member from taking part in that epoch,
    and cannot make it sign twice.
    """
    known = {bytes(epoch.context.domain): epoch for epoch in epochs}
    for state in states:
        epoch = known.get(state.domain)
        if epoch is None:
            continue
        try:
            epoch.verifier.check_qc(state.high_qc)
            if state.high_tc is not None:
                epoch.verifier.check_tc(state.high_tc)
            if state.closing_qc is not None:
                epoch.verifier.check_qc(state.closing_qc)
        except InvalidMessage as error:
            raise SafetyFileError(
                f"{path}: a certificate of epoch {epoch.context.epoch} does not verify: {error}"
            ) from None
