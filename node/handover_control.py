"""What an operator may ask of a running member about the next epoch; for any thread."""

from collections.abc import Callable

from node import epoch_file
from node.addresses import format_address
from node.candidates import Candidates, CandidateView
from node.epoch_file import EpochFile
from node.errors import CheckFailed
from node.running_epoch import RunningEpoch


class HandoverControl:
    """Answers with documents in JSON's own types; raises `OperatorError`."""

    def __init__(self, present: Callable[[], tuple[RunningEpoch, Candidates | None]]) -> None:
        self._present = present

    def status(self) -> dict[str, object]:
        """Return the epoch in office and what is proposed to follow it."""
        epoch, candidates = self._present()
        views = candidates.views() if candidates is not None else []
        return {
            "network": "0x" + epoch.context.network.hex(),
            "epoch": epoch.context.epoch,
            "configuration": "0x" + epoch.context.configuration.hash.hex(),
            "valid_until_ms": epoch.valid_until_ms,
            "members": list(epoch.member_names),
            "quorum": epoch.context.q,
            "candidates": [_described(epoch, view) for view in views],
        }

    def propose(self, content: bytes) -> dict[str, object]:
        """Propose the configuration in a file's content."""
        epoch, candidates = self._member()
        file = epoch_file.decode(content)
        return _described(epoch, candidates.propose(epoch_file.to_document(file)))

    def approve(self, configuration_hash: bytes) -> dict[str, object]:
        """Approve of a configuration that somebody proposes."""
        epoch, candidates = self._member()
        return _described(epoch, candidates.approve(configuration_hash))

    def _member(self) -> tuple[RunningEpoch, Candidates]:
        epoch, candidates = self._present()
        if candidates is None:
            raise CheckFailed("this node is not a member of the present epoch")
        return epoch, candidates


def describe(file: EpochFile) -> dict[str, object]:
    """Return what a configuration says."""
    return {
        "configuration": "0x" + file.configuration.hash.hex(),
        "network": "0x" + file.network.hex(),
        "epoch": file.epoch,
        "valid_until_ms": file.valid_until_ms,
        "feeds": [feed.pair for feed in file.table.feeds],
        "members": [
            {
                "name": member.name,
                "bls_key": "0x" + member.bls_key.hex(),
                "operator": format_address(member.operator),
                "signed": member.registration is not None,
            }
            for member in file.members
        ],
    }


def _described(epoch: RunningEpoch, view: CandidateView) -> dict[str, object]:
    names = epoch.member_names
    now = {member.bls_key for member in epoch.members}
    then = {member.bls_key for member in view.file.members}
    return {
        **describe(view.file),
        "added": [m.name for m in view.file.members if m.bls_key not in now],
        "removed": [m.name for m in epoch.members if m.bls_key not in then],
        "proposed_by": [names[member] for member in view.proposed_by],
        "approved_by": [names[member] for member in view.approved_by],
        "approvals_missing": max(0, epoch.context.q - len(view.approved_by)),
    }
