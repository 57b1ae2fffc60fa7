"""What members propose as the next epoch, and who approves of it.

Each member has one slot: what it proposes, with its share if it approves. Methods may be called
from any thread; signatures were checked before `take`.
"""

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from blspy import G2Element, PopSchemeMPL

from aggregation.observation import body_bytes
from consensus.committee import EpochContext, bitmap_of
from consensus.digests import keccak
from consensus.handover import approval_digest
from consensus.messages import PAYLOAD_BYTES_MAX, Candidate, Change
from node.epoch_file import EpochFile, check_names, from_document
from node.errors import CheckFailed, NetworkFileError
from node.running_epoch import RunningEpoch
from node.store import Store

DOCUMENT_EVERY_SECONDS = 5.0
"""A member's new document is checked no more often: it takes some milliseconds per member in it."""

OBSERVED_BYTES = 128
CHANGE_BYTES = 512
"""At most so much is around an observation's body, and around a document, in a block."""

TURNS_MAX = 8
TURNS_SECONDS = 10.0
"""A member changes its mind at most so often in so long: each time costs a pairing."""


@dataclass(frozen=True, slots=True)
class CandidateView:
    """One configuration that is proposed; members by index."""

    configuration_hash: bytes
    file: EpochFile
    document: bytes
    proposed_by: tuple[int, ...]
    approved_by: tuple[int, ...]


class Candidates:
    """The candidates for the successor of one epoch."""

    def __init__(
        self,
        epoch: RunningEpoch,
        me: int,
        store: Store,
        sign: Callable[[bytes], bytes],
    ) -> None:
        self._epoch = epoch
        self._me = me
        self._store = store
        self._sign = sign
        self._lock = threading.Lock()
        self._slots: dict[int, Candidate] = {}
        self._new_document_at: dict[int, float] = {}
        self._turns: dict[int, deque[float]] = {}
        kept = store.candidate(epoch.context.domain)
        if kept is not None:
            self._slots[me] = self._made(*kept)

    @property
    def _context(self) -> EpochContext:
        return self._epoch.context

    def digest(self, document: bytes) -> bytes:
        """Return what an approval of a document signs."""
        file = from_document(document)
        return approval_digest(self._context, file.configuration.hash, keccak(document))

    def _made(self, document: bytes, approved: bool) -> Candidate:
        return Candidate(document, self._sign(self.digest(document)) if approved else None)

    def admits(self, member: int, candidate: Candidate, now: float) -> bool:
        """Tell whether a member's candidate says something new, and not too soon."""
        with self._lock:
            slot = self._slots.get(member)
            if slot == candidate:
                return False
            turns = self._turns.setdefault(member, deque(maxlen=TURNS_MAX))
            if len(turns) == TURNS_MAX and now - turns[0] < TURNS_SECONDS:
                return False
            turns.append(now)
            if any(other.document == candidate.document for other in self._slots.values()):
                return True
            if now - self._new_document_at.get(member, -DOCUMENT_EVERY_SECONDS) < (
                DOCUMENT_EVERY_SECONDS
            ):
                return False
            self._new_document_at[member] = now
            return True

    def take(self, member: int, candidate: Candidate) -> None:
        """Keep a member's candidate, which was checked, in the place of its earlier one.

        Raises `NetworkFileError` if it cannot follow the present epoch.
        """
        from_document(candidate.document).check_follows(self._context, self._epoch.table)
        with self._lock:
            self._slots[member] = candidate

    def _check(self, document: bytes, now_ms: int) -> EpochFile:
        """Return a configuration that this member may stand for; raise `NetworkFileError`."""
        file = from_document(document)
        file.check_follows(self._context, self._epoch.table)
        check_names(file, self._epoch.members)
        if file.valid_until_ms <= now_ms:
            raise NetworkFileError(
                f"the configuration ended {(now_ms - file.valid_until_ms) // 1000} s ago: make it "
                "anew with more --valid-days"
            )
        room = PAYLOAD_BYTES_MAX - self._context.q * (
            body_bytes(self._epoch.table.count) + OBSERVED_BYTES
        )
        if len(document) + CHANGE_BYTES > room:
            raise NetworkFileError(
                f"packed it has {len(document)} bytes; a block with a quorum's observations has "
                f"room for {max(0, room - CHANGE_BYTES)}: remove members or feeds"
            )
        file.check_proofs()
        return file

    def propose(self, document: bytes, now_ms: int) -> CandidateView:
        """Propose a next epoch in this member's name; raise `OperatorError` if it cannot be."""
        file = self._check(document, now_ms)
        with self._lock:
            own = self._slots.get(self._me)
            if own is not None and own.share is not None:
                if own.document != document:
                    raise CheckFailed(
                        "this member approves of another configuration, and has one voice: let "
                        "another member propose this one, then approve of it here"
                    )
            else:
                self._store.save_candidate(self._context.domain, document, False)
                self._slots[self._me] = Candidate(document, None)
        return self._find(file.configuration.hash)

    def approve(self, configuration_hash: bytes, now_ms: int) -> CandidateView:
        """Approve of a configuration that is proposed; raise `OperatorError` if none is."""
        view = self._find(configuration_hash)
        document = view.document
        self._check(document, now_ms)
        with self._lock:
            own = self._slots.get(self._me)
            if own is not None and own.share is not None and own.document == document:
                return view
            self._store.save_candidate(self._context.domain, document, True)
            self._slots[self._me] = self._made(document, True)
        return self._find(configuration_hash)

    def _find(self, configuration_hash: bytes) -> CandidateView:
        for view in self.views():
            if view.configuration_hash == configuration_hash:
                return view
        raise CheckFailed(f"nobody proposes a configuration 0x{configuration_hash.hex()}")

    def own(self) -> Candidate | None:
        """Return what this member proposes, to be sent to the others."""
        with self._lock:
            return self._slots.get(self._me)

    def views(self) -> list[CandidateView]:
        """Return the candidates, the one with the most approvals first."""
        with self._lock:
            slots = dict(self._slots)
        views: dict[bytes, CandidateView] = {}
        for document in dict.fromkeys(slot.document for slot in slots.values()):
            try:
                file = from_document(document)
            except NetworkFileError:
                continue
            holders = [m for m, slot in sorted(slots.items()) if slot.document == document]
            approving = tuple(m for m in holders if slots[m].share is not None)
            hash_ = file.configuration.hash
            view = CandidateView(hash_, file, document, tuple(holders), approving)
            known = views.get(hash_)
            # Two documents of one configuration differ in names or in how they are packed: the more
            # liked counts, and between equals every member must take the same.
            if known is None or _rank(view) < _rank(known):
                views[hash_] = view
        return sorted(
            views.values(), key=lambda view: (-len(view.approved_by), view.configuration_hash)
        )

    def change(self) -> Change | None:
        """Return a configuration that a quorum approves of, if there is one."""
        for view in self.views():
            if len(view.approved_by) < self._context.q:
                continue
            with self._lock:
                shares = {
                    member: slot.share
                    for member, slot in self._slots.items()
                    if slot.document == view.document and slot.share is not None
                }
            points = [G2Element.from_bytes(share) for _, share in sorted(shares.items())]
            if len(points) < self._context.q:
                continue
            return Change(
                view.configuration_hash,
                view.document,
                bitmap_of(sorted(shares)),
                bytes(PopSchemeMPL.aggregate(points)),
            )
        return None


def _rank(view: CandidateView) -> tuple[int, bytes]:
    return -len(view.approved_by), keccak(view.document)
