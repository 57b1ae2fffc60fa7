"""What a coalition of faulty members knows: everything that was ever signed or sent.

From all shares it builds every certificate that could exist, its own members' shares freely
chosen: the weakest TC, the stalest QC, and certificates that nobody else ever sees.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

import msgspec

from consensus.committee import EpochContext, bitmap_of
from consensus.core import Checkpoint
from consensus.errors import InvalidMessage
from consensus.messages import (
    QC,
    TC,
    Block,
    Header,
    Message,
    ObservationMessage,
    Observed,
    Proposal,
    Timeout,
    TimeoutGroup,
    Vote,
)
from consensus.messages import Certificate as CertificateMessage
from consensus.payload import PayloadRule, State
from testnet.forgeries import Aggregator

RECENT_MAX = 64


@dataclass(slots=True)
class Knowledge:
    """Every honest signature of a run, and what can be made of them."""

    context: EpochContext
    signatures: Aggregator
    rule: PayloadRule
    faulty: frozenset[int]
    root: Checkpoint
    voters: dict[bytes, set[int]] = field(default_factory=dict)
    qcs: dict[bytes, QC] = field(default_factory=dict)
    """By the id of what they certify; the genesis is among them."""
    tcs: dict[int, TC] = field(default_factory=dict)
    timeouts: dict[int, dict[int, int]] = field(default_factory=dict)
    """{view: {honest member: the lowest high-QC view that it ever signed there}}."""
    observed: dict[int, dict[int, Observed]] = field(default_factory=dict)
    after: dict[bytes, tuple[Block | None, State, int, int]] = field(default_factory=dict)
    """{block id: (block, state after it, its time, its height)}."""
    recent: list[Message] = field(default_factory=list)

    def __post_init__(self) -> None:
        root = self.root
        self.qcs[self.context.genesis_id] = self.context.genesis_qc
        self.after[root.block_id] = (root.block, root.state, root.observed_at_ms, root.height)

    def learn(self, sender: int, message: Message) -> None:
        """Note what an honest member sends."""
        if len(self.recent) < RECENT_MAX:
            self.recent.append(message)
        else:
            self.recent[len(self.after) % RECENT_MAX] = message
        match message:
            case ObservationMessage(observed=observed):
                self.observed.setdefault(observed.view, {})[sender] = observed
            case Vote(header=header):
                self._learn_vote(sender, header)
            case Proposal(block=block, tc=tc):
                self._learn_certificates(block.justify, tc)
                self.learn_block(block)
                self._learn_vote(sender, block.header)
            case Timeout(qc=qc, tc=tc):
                self._learn_certificates(qc, tc)
                reports = self.timeouts.setdefault(message.view, {})
                reports[sender] = min(message.high_qc_view, reports.get(sender, 2**63))
            case CertificateMessage(qc=qc, tc=tc):
                self._learn_certificates(qc, tc)
            case _:
                pass

    def learn_block(self, block: Block) -> bool:
        """Note a block and the state after it; False if its parent is unknown."""
        parent = self.after.get(self.context.id_of(block.justify))
        if parent is None:
            return False
        block_id = block.header.id(self.context.domain)
        if block_id in self.after:
            return True
        try:
            outcome = self.rule.apply(parent[1], parent[2], block.view, block.payload)
        except InvalidMessage:
            return False
        self.after[block_id] = (block, outcome.state, outcome.observed_at_ms, block.height)
        return True

    def _learn_vote(self, voter: int, header: Header) -> None:
        block_id = header.id(self.context.domain)
        voters = self.voters.setdefault(block_id, set())
        voters.add(voter)
        if block_id not in self.qcs and len(voters) + len(self.faulty) >= self.context.q:
            self.qcs[block_id] = self.signatures.qc(header, sorted(voters | self.faulty))

    def _learn_certificates(self, qc: QC, tc: TC | None) -> None:
        self.qcs.setdefault(self.context.id_of(qc), qc)
        if tc is not None:
            self.tcs.setdefault(tc.view, tc)

    def forget_below(self, view: int) -> None:
        """Forget older views, but for the newest certificate of them and its block."""
        if view <= 0:
            return
        kept = max((qc for qc in self.qcs.values() if qc.view < view), key=lambda qc: qc.view)
        for block_id, qc in list(self.qcs.items()):
            if 0 < qc.view < view and qc is not kept:
                del self.qcs[block_id]
        for by_view in (self.tcs, self.timeouts, self.observed):
            for old in [old for old in by_view if old < view]:
                del by_view[old]
        kept_id = self.context.id_of(kept)
        for block_id, (block, *_) in list(self.after.items()):
            if block is not None and block.view < view and block_id != kept_id:
                del self.after[block_id]
        for block_id in [block_id for block_id in self.voters if block_id not in self.after]:
            del self.voters[block_id]

    def certificates(self, below: int) -> list[QC]:
        """Return the QCs of lower views that exist or could, ascending by view."""
        return sorted((qc for qc in self.qcs.values() if qc.view < below), key=lambda qc: qc.view)

    def leavable(self, view: int) -> bool:
        """Tell whether a TC of a view can be built."""
        return len(self.timeouts.get(view, ())) + len(self.faulty) >= self.context.q

    def weakest_tc(self, view: int) -> TC | None:
        """Build the TC with the lowest highest report; its QC is the stalest that goes with it."""
        if not self.leavable(view):
            return None
        lowest = sorted((high, member) for member, high in self.timeouts.get(view, {}).items())
        needed = self.context.q - len(self.faulty)
        reported = {member: high for high, member in lowest[:needed]}
        highest = max(reported.values(), default=0)
        reported.update(dict.fromkeys(sorted(self.faulty), 0))
        qc = self.stalest_qc(highest, view)
        return None if qc is None else self.signatures.tc(view, reported, qc)

    def doubled_tc(self, view: int) -> TC | None:
        """Build a TC of the coalition's own shares alone, each member reporting several QCs."""
        bitmap = bitmap_of(sorted(self.faulty))
        groups = tuple(
            TimeoutGroup(high, bitmap) for high in range(-(-self.context.q // len(self.faulty)))
        )
        qc = self.stalest_qc(groups[-1].high_qc_view, view)
        if qc is None or groups[-1].high_qc_view >= view:
            return None
        return TC(view, groups, self.signatures.tc_aggregate(view, groups), qc)

    def stalest_qc(self, at_least: int, below: int) -> QC | None:
        """Return the lowest certificate that is not below a view."""
        allowed = [qc for qc in self.certificates(below) if qc.view >= at_least]
        return allowed[0] if allowed else None

    def block(
        self, view: int, justify: QC, observations: Iterable[Observed], strange_height: int = 0
    ) -> Block | None:
        """Build a block that everyone finds correct, on any certificate; None if it cannot be."""
        parent_id = self.context.id_of(justify)
        parent = self.after.get(parent_id)
        chosen = list(observations)
        if parent is None or len(chosen) < self.context.q:
            return None
        payload = self.rule.build(view, chosen)
        outcome = self.rule.apply(parent[1], parent[2], view, payload)
        header = Header(view, outcome.observed_at_ms, outcome.feed_root, bytes(32))
        height = parent[3] + 1 + strange_height
        block = Block(header, height, outcome.state_digest, payload, justify)
        link = block.link_with(parent_id, outcome.payload_digest)
        block = msgspec.structs.replace(block, header=msgspec.structs.replace(header, link=link))
        self.learn_block(block)
        return block
