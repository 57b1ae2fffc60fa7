"""Judges a simulated run at signing time: which certificates could now exist, and are they safe?

It sees every signature of an honest member the moment it is made and takes for granted that every
faulty member signs everything. So it finds a broken promise when the last honest signature that
allows it is made, long before (and often although never) a conflicting certificate is seen.
"""

from dataclasses import dataclass, field

from consensus.committee import EpochContext, signers_of
from consensus.handover import Terms
from consensus.messages import QC, TC, Block, Header, Observed
from consensus.safety import SafetyState
from testnet.setting import Rule


class PromiseBroken(AssertionError):
    """A run in which one of S1, S2, S3, S4 or A1 does not hold."""


@dataclass(slots=True)
class _Signed:
    """What one honest member signed, over all its lives."""

    votes: dict[int, bytes] = field(default_factory=dict)
    timeouts: dict[int, int] = field(default_factory=dict)
    proposals: dict[int, bytes] = field(default_factory=dict)
    highest_timeout: int = 0
    highest_parent: tuple[int, int] = (0, 0)
    """(view of the vote, view of its parent), the vote with the highest parent."""


class Omniscient:
    """The judge of one run; `faulty` are the members that may sign anything."""

    def __init__(self, context: EpochContext, faulty: frozenset[int], rule: Rule) -> None:
        self._context = context
        self._faulty = faulty
        self._rule = rule
        self._signed = {i: _Signed() for i in range(context.n) if i not in faulty}
        self._voters: dict[bytes, set[int]] = {}
        self._certifiable: dict[int, bytes] = {0: context.genesis_id}
        self._parent: dict[bytes, tuple[bytes, int]] = {}
        self._view: dict[bytes, int] = {context.genesis_id: 0}
        self._final: dict[int, bytes] = {0: context.genesis_id}
        self._final_views: list[int] = [0]
        self._committed: dict[int, bytes] = {0: context.genesis_id}
        self._time_ms: dict[bytes, int] = {context.genesis_id: context.genesis_time_ms}
        self._believed_qc: QC | None = None
        self._believed_tc: TC | None = None
        self._sound: set[tuple[bytes, bytes]] = set()
        self._observed: dict[int, dict[int, list[Observed]]] = {}
        self._terms: Terms | None = None

    @property
    def certifiable_views(self) -> int:
        """How many views could have been certified so far."""
        return len(self._certifiable) - 1

    @property
    def committed(self) -> dict[int, bytes]:
        """The final block of each height, as the members said."""
        return self._committed

    def observed(self, observed: Observed) -> None:
        """Note an observation that an honest member signs."""
        of_view = self._observed.setdefault(observed.view, {})
        of_view.setdefault(observed.member, []).append(observed)

    def learn(self, block_id: bytes, block: Block) -> None:
        """Judge a block that a member accepted: S3, as far as a simulated observation goes."""
        if block_id in self._parent:
            return
        parent_id = self._context.id_of(block.justify)
        self._parent[block_id] = (parent_id, block.justify.view)
        self._view[block_id] = block.view
        self._time_ms[block_id] = block.header.observed_at_ms
        self._judge_range(block, self._time_ms[parent_id])

    def _judge_range(self, block: Block, parent_time_ms: int) -> None:
        honest = self._observed.get(block.view, {})
        times_ms = [self._rule.time_of(one) for several in honest.values() for one in several]
        at_ms = block.header.observed_at_ms
        if not (
            (bool(times_ms) and min(times_ms) <= at_ms <= max(times_ms))
            or at_ms == parent_time_ms + 1
        ):
            raise PromiseBroken(
                f"S3: the time of view {block.view} is outside what honest members observed"
            )
        included = self._rule.decode(block.payload)
        for one in included:
            if not (one.member in self._faulty or one in honest.get(one.member, ())):
                raise PromiseBroken(f"S3: an observation that member {one.member} never made")
        if not (len({one.member for one in included}) == len(included) >= self._context.q):
            raise PromiseBroken(f"S3: no quorum observed for view {block.view}")

    def believes(self, member: int, safety: SafetyState) -> None:
        """Judge the certificates that an honest member takes over: a quorum signed each."""
        qc, tc = safety.high_qc, safety.high_tc
        if qc is not self._believed_qc:
            self._believed_qc = qc
            self._judge_qc(member, qc)
        if tc is not None and tc is not self._believed_tc:
            self._believed_tc = tc
            self._judge_tc(member, tc)

    def _judge_qc(self, member: int, qc: QC) -> None:
        if qc == self._context.genesis_qc:
            return
        block_id = self._context.id_of(qc)
        if (block_id, qc.bitmap) in self._sound:
            return
        voters = self._voters.get(block_id, set()) | self._faulty
        signers = set(signers_of(qc.bitmap))
        if not (
            len(signers) >= self._context.q
            and signers <= voters
            and self._view.get(block_id, qc.view) == qc.view
        ):
            raise PromiseBroken(
                f"R1: member {member} believes a QC of view {qc.view} that no quorum signed"
            )
        # Votes are never taken back, so it is sound for good.
        self._sound.add((block_id, qc.bitmap))

    def _judge_tc(self, member: int, tc: TC) -> None:
        signers: set[int] = set()
        for group in tc.groups:
            for signer in signers_of(group.bitmap):
                signed = self._signed.get(signer)
                if signed is None or signed.timeouts.get(tc.view) == group.high_qc_view:
                    signers.add(signer)
        if not (
            self._context.q <= len(signers) <= self._context.n
            and max(signers) < self._context.n
            and tc.high_qc.view >= tc.groups[-1].high_qc_view
        ):
            raise PromiseBroken(
                f"R2: member {member} believes a TC of view {tc.view} that no quorum signed"
            )
        self._judge_qc(member, tc.high_qc)

    def voted(self, member: int, header: Header, block_id: bytes, durable: SafetyState) -> None:
        """Judge a vote at the moment it is signed."""
        signed = self._signed[member]
        view = header.view
        if durable.closed:
            raise PromiseBroken(f"member {member} votes in a closed epoch")
        if durable.last_vote != header:
            raise PromiseBroken(f"S4: member {member} votes before that is durable")
        if not (durable.last_voted_view >= view):
            raise PromiseBroken(f"S4: member {member} may vote again in {view}")
        first = signed.votes.setdefault(view, block_id)
        if first != block_id:
            raise PromiseBroken(f"S4: member {member} votes twice in view {view}")
        if signed.highest_timeout >= view:
            raise PromiseBroken(
                f"R4: member {member} votes in {view} after its timeout of {signed.highest_timeout}"
            )
        parent = self._parent.get(block_id)
        if parent is None:
            raise PromiseBroken(f"member {member} votes for a block it never stored")
        assert parent is not None
        if parent[1] > signed.highest_parent[1]:
            signed.highest_parent = (view, parent[1])
        voters = self._voters.setdefault(block_id, set())
        voters.add(member)
        if len(voters) + len(self._faulty) >= self._context.q:
            self._could_be_certified(view, block_id)

    def hands_over(self, member: int, terms: Terms, durable: SafetyState) -> None:
        """Judge a share on the end of the epoch at the moment it is signed."""
        if not durable.closed:
            raise PromiseBroken(f"member {member} hands over before it closed the epoch")
        if self._terms is None:
            self._terms = terms
        if self._terms != terms:
            raise PromiseBroken(f"member {member} hands over to another epoch")
        deciding = self._committed.values()
        if terms.deciding_id not in deciding:
            raise PromiseBroken(f"member {member} hands over what is not final")

    def timed_out(self, member: int, view: int, high_qc_view: int, durable: SafetyState) -> None:
        """Judge a timeout at the moment it is signed."""
        if durable.closed:
            raise PromiseBroken(f"member {member} times out in a closed epoch")
        signed = self._signed[member]
        if not (durable.last_timeout == (view, high_qc_view) and durable.last_voted_view >= view):
            raise PromiseBroken(f"S4: member {member} times out of {view} before that is durable")
        first = signed.timeouts.setdefault(view, high_qc_view)
        if first != high_qc_view:
            raise PromiseBroken(f"A1: member {member} signs two timeouts of view {view}")
        signed.highest_timeout = max(signed.highest_timeout, view)
        voted_view, parent_view = signed.highest_parent
        if not (voted_view > view or high_qc_view >= parent_view):
            raise PromiseBroken(f"A1: member {member} hides the certificate of view {parent_view}")

    def proposed(self, member: int, block: Block, block_id: bytes, durable: SafetyState) -> None:
        """Judge a proposal at the moment it is signed."""
        if not (durable.last_proposed_view >= block.view):
            raise PromiseBroken(f"member {member} proposes before durable")
        first = self._signed[member].proposals.setdefault(block.view, block_id)
        if first != block_id:
            raise PromiseBroken(f"member {member} proposes twice in view {block.view}")
        self.voted(member, block.header, block_id, durable)

    def commits(self, member: int, block_id: bytes, block: Block) -> None:
        """Judge a block that an honest member takes for final."""
        first = self._committed.setdefault(block.height, block_id)
        if first != block_id:
            raise PromiseBroken(f"S2: member {member} commits a fork at height {block.height}")
        if not (
            self._final.get(block.view) == block_id or self._is_below_final(block_id, block.view)
        ):
            raise PromiseBroken(
                f"S2: member {member} commits view {block.view}, which no quorum could commit"
            )

    def _is_below_final(self, block_id: bytes, view: int) -> bool:
        later = [v for v in self._final_views if v > view]
        return bool(later) and self._ancestor(self._final[min(later)], view) == block_id

    def _ancestor(self, block_id: bytes, view: int) -> bytes:
        """Return the newest of a block and its ancestors that is not above a view."""
        while self._view[block_id] > view:
            block_id = self._parent[block_id][0]
        return block_id

    def _could_be_certified(self, view: int, block_id: bytes) -> None:
        known = self._certifiable.get(view)
        if known == block_id:
            return
        if known is not None:
            raise PromiseBroken(f"S1: two certificates of view {view} could exist")
        self._certifiable[view] = block_id
        below = max((v for v in self._final_views if v < view), default=0)
        if not (self._ancestor(block_id, below) == self._final[below]):
            raise PromiseBroken(
                f"S2: the block of view {view} does not extend the final one of view {below}"
            )
        parent_id, parent_view = self._parent[block_id]
        if parent_view + 1 == view and parent_view > 0:
            self._is_final(parent_id, parent_view)

    def _is_final(self, block_id: bytes, view: int) -> None:
        self._final[view] = block_id
        self._final_views.append(view)
        for later in range(view + 1, max(self._certifiable) + 1):
            certifiable = self._certifiable.get(later)
            if not (certifiable is None or self._ancestor(certifiable, view) == block_id):
                raise PromiseBroken(
                    f"S2: the block of view {later} does not extend the final one of view {view}"
                )


class Overwhelmed(Omniscient):
    """The judge of a run with more than f faulty members: S1, S2 and S3 fall there, nothing else.

    What honest members sign and believe is judged as ever, so that none of it convicts them.
    """

    def commits(self, member: int, block_id: bytes, block: Block) -> None:
        """Take any block for final."""

    def _judge_range(self, block: Block, parent_time_ms: int) -> None:
        pass

    def _could_be_certified(self, view: int, block_id: bytes) -> None:
        pass

    def extends(self, block_id: bytes, other: bytes) -> bool:
        """Tell whether a block is another or descends from it."""
        return self._ancestor(block_id, self._view[other]) == other

    def knows(self, block_id: bytes) -> bool:
        """Tell whether any member ever had a block."""
        return block_id in self._parent

    def parent_if_final(self, block_id: bytes) -> bytes | None:
        """Return the parent of a block if the block's certificate makes that final."""
        parent_id, parent_view = self._parent[block_id]
        return parent_id if parent_view + 1 == self._view[block_id] else None

    def view_of(self, block_id: bytes) -> int:
        """Return the view of a block that a member had."""
        return self._view[block_id]
