"""Votes and timeouts as they come in: one slot per signer and view, a quorum is handed out once.

Shares are not verified one by one: a quorum of them is aggregated and verified once by the shell,
which names the bad ones if that fails. A slot stays taken, so nobody gets a second try in a view.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from consensus.messages import Header

ACCUSATIONS_MAX = 4
"""So many contradictions of one member in one view are looked at."""


@dataclass(slots=True)
class VoteSlot:
    """One member's vote in one view."""

    header: Header
    block_id: bytes
    share: bytes
    bad: bool = False
    accusations: int = 0


_NO_VOTES: Mapping[int, VoteSlot] = {}


class VoteCollector:
    """The votes of the views in the window."""

    def __init__(self, quorum: int) -> None:
        self._quorum = quorum
        self._views: dict[int, dict[int, VoteSlot]] = {}
        self._certifying: set[bytes] = set()

    def add(self, signer: int, header: Header, block_id: bytes, share: bytes) -> VoteSlot | None:
        """Take a vote; return the signer's earlier one if it was for another block.

        Only so often: two votes prove the offence, and a flood of them must not make a flood of
        evidence; but a first one with a bad share must not hide it either.
        """
        slots = self._views.get(header.view)
        if slots is None:
            slots = self._views[header.view] = {}
        slot = slots.get(signer)
        if slot is None:
            slots[signer] = VoteSlot(header, block_id, share)
            return None
        if slot.block_id == block_id or slot.accusations >= ACCUSATIONS_MAX:
            return None
        slot.accusations += 1
        return slot

    def slots(self, view: int) -> Iterable[tuple[int, VoteSlot]]:
        """Return the votes of a view by signer."""
        return self._views.get(view, _NO_VOTES).items()

    def take_quorum(self, view: int, block_id: bytes) -> Mapping[int, bytes] | None:
        """Return the shares on a block if they are a quorum that is not yet being certified."""
        if block_id in self._certifying:
            return None
        slots = self._views.get(view, _NO_VOTES)
        if len(slots) < self._quorum:
            return None
        shares = {
            signer: slot.share
            for signer, slot in slots.items()
            if slot.block_id == block_id and not slot.bad
        }
        if len(shares) < self._quorum:
            return None
        self._certifying.add(block_id)
        return dict(sorted(shares.items()))

    def reject(self, view: int, block_id: bytes, signers: Iterable[int]) -> None:
        """Strike out shares that did not verify and allow another attempt."""
        self._certifying.discard(block_id)
        for signer in signers:
            slot = self._views.get(view, {}).get(signer)
            if slot is not None and slot.block_id == block_id:
                slot.bad = True

    def drop_below(self, view: int) -> None:
        """Forget the views below."""
        for old in [v for v in self._views if v < view]:
            for slot in self._views.pop(old).values():
                self._certifying.discard(slot.block_id)


@dataclass(slots=True)
class TimeoutSlot:
    """One member's timeout of one view."""

    high_qc_view: int
    share: bytes
    bad: bool = False
    accusations: int = 0


@dataclass(slots=True)
class _TimeoutsOfView:
    slots: dict[int, TimeoutSlot] = field(default_factory=dict)
    good: int = 0
    """How many of the slots are not known to be bad."""
    certifying: bool = False


class TimeoutCollector:
    """The timeouts of the views in the window."""

    def __init__(self, quorum: int) -> None:
        self._quorum = quorum
        self._views: dict[int, _TimeoutsOfView] = {}

    def add(self, signer: int, view: int, high_qc_view: int, share: bytes) -> TimeoutSlot | None:
        """Take a timeout; return the signer's earlier one, as of votes, if it reported another."""
        collected = self._views.get(view)
        if collected is None:
            collected = self._views[view] = _TimeoutsOfView()
        slot = collected.slots.get(signer)
        if slot is None:
            collected.slots[signer] = TimeoutSlot(high_qc_view, share)
            collected.good += 1
            return None
        if slot.high_qc_view == high_qc_view or slot.accusations >= ACCUSATIONS_MAX:
            return None
        slot.accusations += 1
        return slot

    def slots(self, view: int) -> Iterable[tuple[int, TimeoutSlot]]:
        """Return the timeouts of a view by signer."""
        collected = self._views.get(view)
        return collected.slots.items() if collected is not None else ()

    def count(self, view: int) -> int:
        """Return how many members timed out of a view."""
        collected = self._views.get(view)
        return collected.good if collected is not None else 0

    def take_quorum(self, view: int) -> Mapping[int, tuple[int, bytes]] | None:
        """Return {signer: (high-QC view, share)} if they are a quorum not yet being certified."""
        collected = self._views.get(view)
        if collected is None or collected.certifying or collected.good < self._quorum:
            return None
        collected.certifying = True
        return {
            signer: (slot.high_qc_view, slot.share)
            for signer, slot in sorted(collected.slots.items())
            if not slot.bad
        }

    def reject(self, view: int, signers: Iterable[int]) -> None:
        """Strike out shares that did not verify and allow another attempt."""
        collected = self._views.get(view)
        if collected is None:
            return
        collected.certifying = False
        for signer in signers:
            slot = collected.slots.get(signer)
            if slot is not None and not slot.bad:
                slot.bad = True
                collected.good -= 1

    def drop_below(self, view: int) -> None:
        """Forget the views below."""
        for old in [v for v in self._views if v < view]:
            del self._views[old]
