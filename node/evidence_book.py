"""The offences that this node holds proof of: verified, durable, told to the other members.

Evidence comes from the own core and from others, of any epoch that is known. Nothing is kept or
told that was not verified here, in a worker thread. Each member has its own bounded share of the
store, so one that offends all the time takes no room from the others.
"""

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import structlog
import trio

from consensus import effects as fx
from consensus.digests import keccak
from consensus.errors import InvalidMessage
from consensus.evidence import (
    Evidence,
    accused_by,
    decode_evidence,
    encode_evidence,
    kind_of,
    verify_evidence,
)
from consensus.messages import EvidenceMessage
from node.network.rate import PeerBuckets
from node.running_epoch import RunningEpoch
from node.store import Store, StoredEvidence
from node.store.store import EVIDENCE_PER_MEMBER_MAX

PIECES_A_SECOND: Final = 4.0
PIECES_AT_ONCE: Final = 64
"""So much evidence of one peer is looked at; what is more is ignored, since it comes again."""

TELL_EVERY_SECONDS: Final = 5.0
"""One piece that was told before is told again this often, for whoever was away."""

NEWEST_SHOWN: Final = 32
_VERIFYING_MAX = 2

_log = structlog.get_logger("node.evidence")


@dataclass(frozen=True, slots=True)
class Offence:
    """What one member is proven to have done; `id` is that of the evidence."""

    id: bytes
    epoch: int
    kind: str
    member: int
    name: str
    view: int
    found_at_ms: int


@dataclass(frozen=True, slots=True)
class Piece:
    """One piece of evidence and everyone it convicts."""

    id: bytes
    epoch: RunningEpoch
    evidence: Evidence
    offences: tuple[Offence, ...]


def evidence_id(domain: bytes, encoded: bytes) -> bytes:
    """Return what a piece of evidence is called: a digest of its epoch's domain and its bytes."""
    return keccak(domain + encoded)


class EvidenceBook:
    """All evidence of one node; `take` and `receive` belong to trio, the rest to any thread."""

    def __init__(
        self,
        store: Store,
        epochs: Callable[[], Sequence[RunningEpoch]],
        tell: Callable[[int, bytes], None],
        convicted: Callable[[Offence], None],
    ) -> None:
        """`tell` sends everyone the evidence of an epoch, `convicted` hears of each new offence."""
        self._store = store
        self._epochs = epochs
        self._tell = tell
        self._convicted = convicted
        self._limiter = trio.CapacityLimiter(_VERIFYING_MAX)
        self._pieces = PeerBuckets[bytes](PIECES_A_SECOND, PIECES_AT_ONCE)
        stored = store.evidence()
        self._known = {(one.domain, one.kind, one.member, one.view) for one in stored}
        self._kept: dict[tuple[bytes, str, int], int] = {}
        self._told: list[tuple[bytes, bytes]] = []
        for one in stored:
            self._note(one)
        self._next = 0
        self.newest: deque[Offence] = deque(self.offences(), maxlen=NEWEST_SHOWN)
        """The offences that a status shows."""

    def _note(self, one: StoredEvidence) -> None:
        self._known.add((one.domain, one.kind, one.member, one.view))
        place = (one.domain, one.kind, one.member)
        self._kept[place] = self._kept.get(place, 0) + 1
        if (one.domain, one.data) not in self._told:
            self._told.append((one.domain, one.data))

    def _by_domain(self) -> dict[bytes, RunningEpoch]:
        return {epoch.context.domain: epoch for epoch in self._epochs()}

    # What comes in.

    async def take(self, epoch: RunningEpoch, accusation: fx.Accusation) -> bool:
        """Verify and keep what the core found; False if a single share in it is bad."""
        try:
            await self._judge(epoch, accusation.evidence)
        except InvalidMessage:
            if accusation.witness is None:
                raise AssertionError("certificates that were verified prove nothing") from None
            return False
        return True

    async def receive(
        self, ed25519_key: bytes, epoch: RunningEpoch, message: EvidenceMessage
    ) -> None:
        """Verify and keep what a peer tells of; raise `InvalidMessage` if it proves nothing.

        The peer goes by its key, which is the same in every epoch.
        """
        if self._pieces.take(ed25519_key, trio.current_time()):
            await self._judge(epoch, decode_evidence(message.evidence))

    async def _judge(self, epoch: RunningEpoch, evidence: Evidence) -> None:
        context = epoch.context
        kind = kind_of(evidence)
        members = accused_by(context, evidence)
        if not any(self._is_news(context.domain, kind, m, evidence.view) for m in members):
            return
        new = await trio.to_thread.run_sync(
            partial(self._verify_and_save, epoch, evidence), limiter=self._limiter
        )
        for one in new:
            self._note(one)
        if new:
            data = new[0].data
            self._tell(context.epoch, data)
            for one in new:
                offence = _offence(epoch, one)
                _log.error(
                    "member.convicted",
                    member=offence.name,
                    kind=kind,
                    epoch=offence.epoch,
                    view=offence.view,
                    id="0x" + offence.id.hex(),
                )
                self.newest.append(offence)
                self._convicted(offence)

    def _is_news(self, domain: bytes, kind: str, member: int, view: int) -> bool:
        return (domain, kind, member, view) not in self._known and (
            self._kept.get((domain, kind, member), 0) < EVIDENCE_PER_MEMBER_MAX
        )

    def _verify_and_save(self, epoch: RunningEpoch, evidence: Evidence) -> list[StoredEvidence]:
        members = verify_evidence(epoch.context, evidence, epoch.verifier)
        data = encode_evidence(evidence)
        now_ms = time.time_ns() // 1_000_000
        rows = [
            StoredEvidence(
                epoch.context.domain, kind_of(evidence), member, evidence.view, now_ms, data
            )
            for member in members
        ]
        return [row for row in rows if self._store.save_evidence(row)]

    # What goes out.

    async def run(self) -> None:
        """Tell everyone of what is kept, again and again; forever."""
        while True:
            await trio.sleep(TELL_EVERY_SECONDS)
            if self._told:
                self._next = (self._next + 1) % len(self._told)
                domain, data = self._told[self._next]
                for epoch in self._epochs():
                    if epoch.context.domain == domain:
                        self._tell(epoch.context.epoch, data)

    def offences(self) -> list[Offence]:
        """Return every offence that is kept, oldest first."""
        by_domain = self._by_domain()
        return [
            _offence(by_domain[one.domain], one)
            for one in self._store.evidence()
            if one.domain in by_domain
        ]

    def pieces(self) -> list[Piece]:
        """Return every piece of evidence that is kept, oldest first."""
        by_domain = self._by_domain()
        found: dict[bytes, Piece] = {}
        for one in self._store.evidence():
            epoch = by_domain.get(one.domain)
            if epoch is None:
                continue
            offence = _offence(epoch, one)
            known = found.get(offence.id)
            evidence = known.evidence if known is not None else decode_evidence(one.data)
            offences = (*(known.offences if known is not None else ()), offence)
            found[offence.id] = Piece(offence.id, epoch, evidence, offences)
        return list(found.values())


def _offence(epoch: RunningEpoch, one: StoredEvidence) -> Offence:
    names = epoch.member_names
    return Offence(
        evidence_id(one.domain, one.data),
        epoch.context.epoch,
        one.kind,
        one.member,
        names[one.member] if one.member < len(names) else str(one.member),
        one.view,
        one.found_at_ms,
    )
