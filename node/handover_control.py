"""What an operator may ask of a running member about the next epoch; for any thread."""

from collections.abc import Callable
from dataclasses import asdict, replace

from node import epoch_file
from node.addresses import format_address
from node.candidates import Candidates, CandidateView
from node.epoch_file import EpochFile
from node.errors import CheckFailed
from node.running_epoch import RunningEpoch
from node.runtime import wall_clock_ms
from node.validity import days_left


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
            "days_left": days_left(epoch.valid_until_ms, wall_clock_ms()),
            "members": list(epoch.member_names),
            "quorum": epoch.context.q,
            "candidates": [_described(epoch, view) for view in views],
        }

    def propose(self, content: bytes) -> dict[str, object]:
        """Propose the configuration in a file's content."""
        epoch, candidates = self._member()
        file = epoch_file.decode(content)
        document = epoch_file.to_document(file)
        return _described(epoch, candidates.propose(document, wall_clock_ms()))

    def approve(self, configuration_hash: bytes) -> dict[str, object]:
        """Approve of a configuration that somebody proposes."""
        epoch, candidates = self._member()
        return _described(epoch, candidates.approve(configuration_hash, wall_clock_ms()))

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
        "days_left": days_left(file.valid_until_ms, wall_clock_ms()),
        "timing": asdict(file.timing),
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


def differences(epoch: RunningEpoch, file: EpochFile) -> dict[str, object]:
    """Return all in which a next configuration differs from the one in office."""
    now = {member.bls_key: replace(member, registration=None) for member in epoch.members}
    then = {member.bls_key: replace(member, registration=None) for member in file.members}
    timing = asdict(file.timing)
    return {
        "added": [m.name for key, m in then.items() if key not in now],
        "removed": [m.name for key, m in now.items() if key not in then],
        "changed": [m.name for key, m in then.items() if key in now and m != now[key]],
        "timing_changed": {
            name: timing[name]
            for name, value in asdict(epoch.context.configuration.timing).items()
            if timing[name] != value
        },
        "feeds_added": [feed.pair for feed in file.table.feeds[epoch.table.count :]],
        "feeds_changed": [
            feed.pair
            for feed, before in zip(file.table.feeds, epoch.table.feeds, strict=False)
            if feed != before
        ],
    }


def _described(epoch: RunningEpoch, view: CandidateView) -> dict[str, object]:
    names = epoch.member_names
    return {
        **describe(view.file),
        **differences(epoch, view.file),
        "proposed_by": [names[member] for member in view.proposed_by],
        "approved_by": [names[member] for member in view.approved_by],
        "approvals_missing": max(0, epoch.context.q - len(view.approved_by)),
    }
