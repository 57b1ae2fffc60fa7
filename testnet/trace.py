"""What happens in a simulated run, in words: one line for each thing that a node does."""

from consensus import effects as fx
from consensus.committee import EpochContext, signers_of
from consensus.evidence import kind_of
from consensus.messages import (
    QC,
    TC,
    Block,
    BlockRequest,
    BlockResponse,
    Certificate,
    HandoverCertificate,
    HandoverShare,
    Header,
    Message,
    ObservationMessage,
    Proposal,
    Timeout,
    Vote,
)
from consensus.safety import SafetyState


class Narrator:
    """Puts effects and messages of one epoch into words, blocks by the first bytes of their ids."""

    def __init__(self, context: EpochContext) -> None:
        self._context = context

    def effect(self, effect: fx.Effect) -> str:
        """Say what a node does, and why."""
        match effect:
            case fx.EnteredView(view=view, by_timeout=by_timeout):
                return f"enters view {view}: view {view - 1} was {_how_it_ended(by_timeout)}"
            case fx.SendProposal(block=block, tc=tc):
                return f"proposes {self._block(block)}{self._because_of(tc)}"
            case fx.SendVote(header=header):
                return f"votes for {self._header(header)}"
            case fx.SendTimeout(view=view, high_qc_view=high, qc=qc, tc=tc):
                beside = self._beside(qc, tc)
                return f"times out of view {view}: its high QC was of view {high}; {beside}"
            case fx.Persist(safety=safety):
                return f"writes {_safety(safety)}"
            case fx.StoreBlock(block=block):
                return f"keeps {self._block(block)}"
            case fx.Certified(block=block, qc=qc):
                return f"sees {self._block(block)} certified by {_members(qc.bitmap)}"
            case fx.Committed(block=block, successor=successor):
                ends = "" if successor is None else f", which decides epoch {successor[:3].hex()}"
                return f"commits {self._block(block)} at height {block.height}{ends}"
            case fx.CertifyVotes(header=header, shares=shares):
                return f"has a quorum for {self._header(header)}: {sorted(shares)}"
            case fx.CertifyTimeouts(view=view, shares=shares):
                reports = {member: high for member, (high, _) in sorted(shares.items())}
                return f"has a quorum that left view {view}, {{member: high-QC view}}: {reports}"
            case fx.CertifyHandover(shares=shares):
                return f"has a quorum that hands over: {sorted(shares)}"
            case fx.Observe(view=view, not_before_ms=_):
                return f"is to observe for view {view}"
            case fx.SetTimer(view=view, duration_ms=duration_ms):
                return f"waits {duration_ms} ms for the end of view {view}"
            case fx.SetGraceTimer(view=view, duration_ms=duration_ms):
                return f"waits {duration_ms} ms for more observations of view {view}"
            case fx.SetFetchTimer(block_id=block_id, duration_ms=duration_ms):
                return f"waits {duration_ms} ms for block {_short(block_id)}, which it misses"
            case fx.SendRequest(request=request, to=to):
                return f"asks {sorted(to)} for {self.message(request)}"
            case fx.SendResponse(response=response, to=to):
                return f"answers {to} with {self.message(response)}"
            case fx.LoadBlocks(request=request, to=to):
                return f"answers {to} from its disk, asked for {self.message(request)}"
            case fx.SendCertificate(certificate=certificate):
                return f"hands on {self.message(certificate)}"
            case fx.SendClosingQC(certificate=certificate, to=to):
                return (
                    f"shows {to}, which goes on, what ended the epoch: {self._qc(certificate.qc)}"
                )
            case fx.SendHandoverShare(terms=terms):
                deciding = _short(terms.deciding_id)
                return f"hands over to epoch {terms.epoch}, decided by block {deciding}"
            case fx.SendHandoverCertificate(to=to):
                return f"shows {to} the handover certificate"
            case fx.HandedOver(terms=terms, certificate=certificate):
                return (
                    f"leaves for epoch {terms.epoch}, certified by {_members(certificate.bitmap)}"
                )
            case fx.KeepWitnessed():
                return "keeps a certificate, which may prove an offence"
            case fx.SendTestimony(testimony=testimony):
                return f"testifies of {len(testimony.records)} certificates around a fork"
            case fx.Accusation(evidence=evidence, members=members):
                return f"accuses {list(members)} of {kind_of(evidence)} in view {evidence.view}"
            case fx.PeerFault(member=member, reason=reason):
                return f"finds member {member} at fault: {reason}"
            case fx.Halt(reason=reason):
                return f"HALTS: {reason}"
            case _:
                return str(effect)

    def message(self, message: Message) -> str:
        """Say what a message is."""
        match message:
            case Vote(header=header):
                return f"a vote for {self._header(header)}"
            case Proposal(block=block, tc=tc):
                return f"a proposal of {self._block(block)}{self._because_of(tc)}"
            case ObservationMessage(observed=observed):
                return f"member {observed.member}'s observation for view {observed.view}"
            case Timeout(view=view, high_qc_view=high, qc=qc, tc=tc):
                return f"a timeout of view {view} that reports view {high}; {self._beside(qc, tc)}"
            case Certificate(qc=qc, tc=tc):
                return self._beside(qc, tc)
            case BlockRequest(block_id=block_id, known_view=view):
                return f"block {_short(block_id)} and what is below it, above view {view}"
            case BlockResponse(blocks=blocks):
                return f"the blocks of views {[block.view for block in blocks]}"
            case HandoverShare(deciding_id=deciding_id):
                return f"a handover share on block {_short(deciding_id)}"
            case HandoverCertificate(deciding_id=deciding_id, bitmap=bitmap):
                who = _members(bitmap)
                return f"a handover certificate on block {_short(deciding_id)} by {who}"
            case _:
                return type(message).__name__

    def _header(self, header: Header) -> str:
        return f"block {_short(header.id(self._context.domain))} of view {header.view}"

    def _block(self, block: Block) -> str:
        parent = _short(self._context.id_of(block.justify))
        return f"{self._header(block.header)} on {parent} of view {block.justify.view}"

    def _qc(self, qc: QC) -> str:
        if qc.view == 0:
            return "the genesis"
        return f"the QC of {self._header(qc.header)} by {_members(qc.bitmap)}"

    def _tc(self, tc: TC) -> str:
        groups = {group.high_qc_view: _members(group.bitmap) for group in tc.groups}
        return f"the TC of view {tc.view}, {{high-QC view: members}} {groups}"

    def _because_of(self, tc: TC | None) -> str:
        return "" if tc is None else f", since {self._tc(tc)}"

    def _beside(self, qc: QC, tc: TC | None) -> str:
        return self._qc(qc) if tc is None else f"{self._qc(qc)} and {self._tc(tc)}"


def _how_it_ended(by_timeout: bool) -> str:
    return "given up by a quorum" if by_timeout else "certified"


def _safety(safety: SafetyState) -> str:
    tc = 0 if safety.high_tc is None else safety.high_tc.view
    left = "" if safety.last_timeout is None else f", last timeout {safety.last_timeout}"
    return (
        f"its safety state: voted up to view {safety.last_voted_view}{left}, proposed up to "
        f"{safety.last_proposed_view}, high QC {safety.high_qc.view}, high TC {tc}"
        f"{', CLOSED' if safety.closed else ''}"
    )


def _members(bitmap: bytes) -> list[int]:
    return list(signers_of(bitmap))


def _short(digest: bytes) -> str:
    return digest[:3].hex()


__all__ = ["Narrator"]
