"""A solver's run, made of real messages and put before the real rules.

This is what ties the model to the code: what the model calls a run, `consensus.rules` must let
pass, and a run with a planted mistake it must refuse.
"""

from collections.abc import Iterator, Mapping

from consensus import rules
from consensus.committee import Configuration, EpochContext, Member, Timing, bitmap_of
from consensus.digests import link_digest
from consensus.errors import InvalidMessage
from consensus.messages import QC, TC, Block, Header, Proposal, TimeoutGroup
from consensus.safety import SafetyState
from testnet.model.certificates import GENESIS, Id
from testnet.model.run import Run

NO_SIGNATURE = bytes(96)
"""Signatures are not what is tried here."""


def model_context(n: int) -> EpochContext:
    """Return an epoch of n members with placeholders for keys."""
    members = tuple(
        Member(bytes([i + 1]) * 128, bytes([i + 1]) * 48, bytes([i + 1]) * 32, bytes([i + 1]) * 20)
        for i in range(n)
    )
    return EpochContext(
        bytes(32), 0, Configuration(members, bytes(32), Timing(), 1 << 60), bytes(32), 1_000_000
    )


def timeout_certificate(view: int, reports: Mapping[int, int], high_qc: QC) -> TC:
    """Return the TC of {member: high-QC view it reported}, with any QC beside it."""
    groups = tuple(
        TimeoutGroup(high, bitmap_of([member for member, said in reports.items() if said == high]))
        for high in sorted(set(reports.values()))
    )
    return TC(view, groups, NO_SIGNATURE, high_qc)


def proposal_of(block: Block, tc: TC | None) -> Proposal:
    """Return a block as its leader would send it."""
    return Proposal(block, tc, NO_SIGNATURE, bytes(64))


class Replay:
    """The messages of one run."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._context = model_context(run.bounds.n)
        self._qcs: dict[Id, QC] = {GENESIS: self._context.genesis_qc}
        self._blocks: dict[Id, Block] = {}
        for block in sorted(run.justify):
            self._build(block)

    def _build(self, block: Id) -> None:
        parent = self._run.justify[block].parent
        justify = self._qcs[parent]
        height = 1 if parent == GENESIS else self._blocks[parent].height + 1
        payload_digest = bytes([block.k]) * 32
        link = link_digest(
            self._context.id_of(justify), justify.view, height, bytes(32), payload_digest
        )
        header = Header(block.view, 1_000_000 + block.view, bytes(32), link)
        self._blocks[block] = Block(header, height, bytes(32), bytes([block.k]), justify)
        bitmap = bitmap_of(self._run.votes[block])
        self._qcs[block] = QC(header, bitmap, NO_SIGNATURE)

    def refusals(self) -> Iterator[str]:
        """Yield everything in the run that the real rules do not allow."""
        for block in sorted(self._run.certified):
            try:
                rules.check_qc(self._context, self._qcs[block])
            except InvalidMessage as error:
                yield f"certificate of {block}: {error}"
        for block in sorted(self._run.justify):
            if any(member >= self._run.bounds.f for member in self._run.votes[block]):
                yield from self._refuse_proposal(block)
        for member in range(self._run.bounds.f, self._run.bounds.n):
            yield from self._refuse_votes_and_timeouts(member)
        yield from self._refuse_commits()

    def _tc_for(self, block: Id) -> TC | None:
        """Return the TC that serves this block best, if its view's reason is no QC."""
        justify = self._blocks[block].justify
        if justify.view == block.view - 1:
            return None
        for view in range(block.view - 1, 0, -1):
            lowest = {
                member: min(report.high_qc_view for report in reports)
                for (member, of), reports in self._run.timeouts.items()
                if of == view and reports
            }
            low = {m: said for m, said in lowest.items() if said <= justify.view}
            reports = low if len(low) >= self._context.q else lowest
            if reports:
                highest = self._qcs[max(self._run.certified)]
                high_qc = justify if justify.view >= max(reports.values()) else highest
                return timeout_certificate(view, reports, high_qc)
        return None

    def _refuse_proposal(self, block: Id) -> Iterator[str]:
        proposal = proposal_of(self._blocks[block], self._tc_for(block))
        try:
            rules.check_proposal(self._context, self._context.leader(block.view), proposal)
        except InvalidMessage as error:
            yield f"proposal of {block}: {error}"

    def _refuse_votes_and_timeouts(self, member: int) -> Iterator[str]:
        last_voted_view = 0
        high_qc = self._context.genesis_qc
        for view in range(1, self._run.bounds.views + 1):
            for block in sorted(self._run.justify):
                if block.view != view or member not in self._run.votes[block]:
                    continue
                high_qc = max(high_qc, self._blocks[block].justify, key=lambda qc: qc.view)
                safety = self._safety(last_voted_view, high_qc)
                if not rules.may_vote(safety, view, self._blocks[block]):
                    yield f"member {member} may not vote for {block}"
                last_voted_view = view
            for report in self._run.timeouts[member, view]:
                if report.high_qc_view < high_qc.view:
                    yield (
                        f"member {member}, leaving view {view}, reports {report.high_qc_view}"
                        f" and knows {high_qc.view}"
                    )
                known = [self._qcs[b] for b in self._run.certified if b.view == report.high_qc_view]
                if not known:
                    yield f"member {member} reports a QC of view {report.high_qc_view} without it"
                high_qc = max([high_qc, *known], key=lambda qc: qc.view)
                last_voted_view = view

    def _safety(self, last_voted_view: int, high_qc: QC) -> SafetyState:
        return SafetyState(
            self._context.domain, last_voted_view, None, None, last_voted_view, high_qc, None
        )

    def _refuse_commits(self) -> Iterator[str]:
        final = {
            self._run.justify[block].parent
            for block in self._run.certified - {GENESIS}
            if rules.commits_parent(self._blocks[block])
        }
        for block in sorted(self._run.final - final):
            yield f"{block} is not final"
        for block in sorted(final - self._run.final - {GENESIS}):
            yield f"{block} is final"
