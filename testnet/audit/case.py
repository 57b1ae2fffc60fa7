"""All that an audit looks at, read and checked for form."""

from dataclasses import dataclass
from pathlib import Path

from consensus.safety import SafetyState
from node import network_file as committee_file
from node.errors import OperatorError
from node.journal import Entry, HandedOver, Started, journal_files, read_journal
from node.network_file import NetworkFile
from node.running_epoch import RunningEpoch
from node.store import Store, StoreError
from testnet.audit.chain_record import ChainRecord
from testnet.manifest import NETWORK_FILE, Manifest, ManifestError, load_manifest


class AuditFailed(Exception):
    """Something cannot be read, so nothing can be said: never a verdict of innocence."""


@dataclass(frozen=True, slots=True)
class MemberCase:
    """One member: its journal, oldest first, and the safety state that its store ended with."""

    index: int
    name: str
    honest: bool
    entries: tuple[Entry, ...]
    safety: SafetyState | None


@dataclass(frozen=True, slots=True)
class Case:
    """A whole testnet after its end."""

    manifest: Manifest
    network: NetworkFile | RunningEpoch
    members: tuple[MemberCase, ...]
    chain: ChainRecord

    @property
    def domain(self) -> str:
        """The domain of the epoch, as journals write it."""
        return self.network.context.domain.hex()

    @property
    def deciding_view(self) -> int | None:
        """The view of the block that ended the epoch, if it ended."""
        views = [
            entry.deciding_view
            for member in self.members
            for entry in member.entries
            if isinstance(entry, HandedOver) and entry.domain == self.domain
        ]
        return min(views, default=None)


def load_members(directory: Path, manifest: Manifest, network: NetworkFile) -> list[MemberCase]:
    """Read every member's journal and store; raise `AuditFailed`."""
    if network.member_names != tuple(member.name for member in manifest.members):
        raise AuditFailed("the manifest names other members than the committee file")
    return [
        _load_member(
            directory / member.directory / "data", index, member.name, member.honest, network
        )
        for index, member in enumerate(manifest.members)
    ]


def load_network(directory: Path) -> tuple[Manifest, NetworkFile]:
    """Read what the network is; raise `AuditFailed`."""
    try:
        return load_manifest(directory), committee_file.load(directory / NETWORK_FILE)
    except (ManifestError, OperatorError) as error:
        raise AuditFailed(str(error)) from None


def _load_member(
    data: Path, index: int, name: str, honest: bool, network: NetworkFile
) -> MemberCase:
    if not journal_files(data / "journal"):
        raise AuditFailed(f"{name} has no journal in {data / 'journal'}")
    try:
        entries = tuple(read_journal(data / "journal"))
        with Store.open(data) as store:
            safety = store.load_safety(network.context.domain)
    except (StoreError, OSError) as error:
        raise AuditFailed(f"{name}: {error}") from None
    if not entries or entries[0].seq != 0:
        raise AuditFailed(f"the journal of {name} lacks its beginning")
    _check_identity(entries, index, name, network)
    return MemberCase(index, name, honest, entries, safety)


def _check_identity(
    entries: tuple[Entry, ...], index: int, name: str, network: NetworkFile
) -> None:
    """Check that a journal is this member's own; raise `AuditFailed`."""
    member, context = network.members[index], network.context
    if not isinstance(entries[0], Started):
        raise AuditFailed(f"the journal of {name} does not begin with the start of a process")
    for entry in entries:
        if isinstance(entry, Started) and (
            entry.network,
            entry.epoch,
            entry.domain,
            entry.member,
            entry.bls_key,
            entry.ed25519_key,
        ) != (
            context.network.hex(),
            context.epoch,
            context.domain.hex(),
            index,
            member.bls_key.hex(),
            member.ed25519_key.hex(),
        ):
            raise AuditFailed(f"entry {entry.seq} of the journal of {name} is another member's")
