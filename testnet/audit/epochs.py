"""A network whose committee changed, as one case for each of its epochs."""

from pathlib import Path

from consensus.safety import SafetyState
from node.journal import Entry, Halted, Started, read_journal
from node.network_file import NetworkFile
from node.running_epoch import RunningEpoch, stored_epochs
from node.store import Store
from testnet.audit.case import Case, MemberCase
from testnet.audit.chain_record import AnswerRecord, ChainRecord
from testnet.manifest import Manifest

_UNREAD = AnswerRecord(0, None, 0, 0)


def epoch_cases(manifest: Manifest, network: NetworkFile, data: list[Path]) -> list[Case]:
    """Return a case for each epoch that any of the nodes knows of; no chain is looked at.

    `data` are the nodes' data directories, stopped. Raises `StoreError`.
    """
    epochs: list[RunningEpoch] = []
    journals = [tuple(read_journal(directory / "journal")) for directory in data]
    for directory in data:
        with Store.open(directory) as store:
            known = stored_epochs(network, store)
        epochs = max(epochs, known, key=len)
    return [_case(manifest, epoch, data, journals) for epoch in epochs]


def _case(
    manifest: Manifest,
    epoch: RunningEpoch,
    data: list[Path],
    journals: list[tuple[Entry, ...]],
) -> Case:
    domain = epoch.context.domain
    members = []
    for directory, entries in zip(data, journals, strict=True):
        own = tuple(
            entry for entry in entries if isinstance(entry, Halted) or entry.domain == domain.hex()
        )
        begun = [entry for entry in own if isinstance(entry, Started)]
        if begun:
            index = epoch.index_of(bytes.fromhex(begun[0].bls_key))
            assert index is not None
            name = epoch.member_names[index]
            members.append(MemberCase(index, name, True, own, _safety(directory, domain)))
    chain = ChainRecord(
        network=epoch.context.network.hex(),
        domain=domain.hex(),
        epoch=epoch.context.epoch,
        stored_view=0,
        stored_observed_at_ms=0,
        answers=(_UNREAD,) * epoch.table.count,
        pushes=(),
    )
    return Case(manifest, epoch, tuple(members), chain)


def _safety(directory: Path, domain: bytes) -> SafetyState | None:
    with Store.open(directory) as store:
        return store.load_safety(domain)
