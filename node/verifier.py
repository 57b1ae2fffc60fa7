"""Signatures: everything that peers sign is checked here before the core sees it.

Votes and timeouts are the exception: their shares are collected unchecked and verified once, as an
aggregate. Methods block for up to some milliseconds and may run in any thread.
"""

from collections import OrderedDict
from collections.abc import Hashable, Mapping, Sequence
from typing import Generic, TypeVar

from blspy import G1Element, G2Element, PopSchemeMPL
from msgspec.structs import replace
from nacl.exceptions import BadSignatureError
from nacl.signing import VerifyKey

from aggregation.observation import body_bytes
from consensus import rules
from consensus.committee import EpochContext, bitmap_of, signers_of
from consensus.digests import keccak, proposal_digest, timeout_digest
from consensus.errors import InvalidMessage
from consensus.evidence import SignedTimeout, SignedVote
from consensus.handover import (
    Terms,
    approval_digest,
    check_approvers,
    check_certificate,
    terms_in,
)
from consensus.messages import (
    QC,
    TC,
    BlockResponse,
    Candidate,
    Certificate,
    Change,
    CheckpointResponse,
    EvidenceMessage,
    HandoverCertificate,
    Header,
    Message,
    ObservationMessage,
    Observed,
    Proposal,
    Successor,
    Testimony,
    Timeout,
    TimeoutGroup,
)
from node.epoch_file import from_document
from node.errors import NetworkFileError
from node.payload import decode_content, digest_of


class BadShares(Exception):
    """Some shares of a quorum do not verify; `signers` sent them."""

    def __init__(self, signers: Sequence[int]) -> None:
        super().__init__(f"bad shares of members {list(signers)}")
        self.signers = tuple(signers)


_Key = TypeVar("_Key", bound=Hashable)
_Value = TypeVar("_Value")


class _Remembered(Generic[_Key, _Value]):
    """What was verified before: the newest so many, oldest forgotten first."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._known: OrderedDict[_Key, _Value] = OrderedDict()

    def __contains__(self, key: _Key) -> bool:
        return key in self._known

    def get(self, key: _Key) -> _Value | None:
        return self._known.get(key)

    def add(self, key: _Key, value: _Value) -> None:
        self._known[key] = value
        while len(self._known) > self._size:
            try:
                self._known.popitem(last=False)
            except KeyError:
                return  # Another thread made room.


class Verifier:
    """Checks signatures against the keys of one epoch."""

    def __init__(self, context: EpochContext, feeds: int) -> None:
        """Take the epoch and how many feeds an observation has, which bounds its size."""
        self._body_bytes = body_bytes(feeds)
        members = context.configuration.members
        self._context = context
        self._bls = [G1Element.from_bytes(member.bls_key_compressed) for member in members]
        self._ed25519 = [VerifyKey(member.ed25519_key) for member in members]
        self._qcs = _Remembered[QC, None](256)
        self._qc_of = _Remembered[Header, QC](256)
        self._tcs = _Remembered[TC, None](64)
        self._observed = _Remembered[Observed, None](8 * context.n)
        self._changes = _Remembered[Change, None](4)
        self._documents = _Remembered[bytes, None](4)
        self._handovers = _Remembered[HandoverCertificate, None](4)

    def settled(self, message: Message) -> Message:
        """Return a message with certificates verified here in the place of its own, to save work.

        Certificates of one header say the same, whichever quorum signed, and no id or signature
        covers which of them came. The one that came is then neither used, kept nor handed on.
        Raises `InvalidMessage` if it is malformed.
        """
        match message:
            case Proposal(block=block):
                qc = self._settled_qc(block.justify)
                if qc is not block.justify:
                    return replace(message, block=replace(block, justify=qc))
            case Timeout(qc=came) | Certificate(qc=came):
                qc = self._settled_qc(came)
                if qc is not came:
                    return replace(message, qc=qc)
        return message

    def _settled_qc(self, qc: QC) -> QC:
        known = self._qc_of.get(qc.header)
        if known is None:
            return qc
        rules.check_qc(self._context, qc)
        return known

    def is_cheap(self, message: Message) -> bool:
        """Tell whether `check` takes well under a millisecond: no pairing, few signatures."""
        match message:
            case Proposal(block=block, tc=tc):
                content = decode_content(block.payload)
                unknown = sum(o not in self._observed for o in content.observations)
                if content.change is not None and content.change not in self._changes:
                    return False
                return unknown <= 4 and self._known_qc(block.justify) and self._known_tc(tc)
            case Timeout(qc=qc, tc=tc) | Certificate(qc=qc, tc=tc):
                return self._known_qc(qc) and self._known_tc(tc)
            case BlockResponse(blocks=blocks):
                return not blocks
            case HandoverCertificate():
                return message in self._handovers
            case Candidate() | Successor() | CheckpointResponse() | EvidenceMessage() | Testimony():
                return False
            case _:
                return True

    def check(self, sender: int, message: Message) -> None:
        """Check all that must be checked before the core sees a message.

        Raises `InvalidMessage`.
        """
        match message:
            case ObservationMessage(observed=observed):
                if observed.member != sender:
                    raise InvalidMessage("an observation in another member's name")
                self.check_observed(observed)
            case Proposal():
                self._check_proposal(sender, message)
            case Timeout(qc=qc, tc=tc) | Certificate(qc=qc, tc=tc):
                self.check_qc(qc)
                if tc is not None:
                    self.check_tc(tc)
            case Testimony(records=records):
                for record in records:
                    if record.qc is not None:
                        self.check_qc(record.qc)
                    if record.tc is not None:
                        self.check_tc(record.tc)
            case BlockResponse(blocks=blocks):
                for block in blocks:
                    self.check_qc(block.justify)
                    self._check_payload(block.payload)
            case CheckpointResponse(block=block, qc=qc):
                self.check_qc(qc)
                self.check_qc(block.justify)
            case HandoverCertificate():
                self.check_handover_certificate(message)
            case Candidate():
                self._check_candidate(sender, message)
            case _:
                pass

    def _check_proposal(self, sender: int, proposal: Proposal) -> None:
        rules.check_proposal(self._context, sender, proposal)
        block_id = proposal.block.header.id(self._context.domain)
        self._check_ed25519(sender, proposal_digest(block_id), proposal.signature)
        self._check_payload(proposal.block.payload)
        self.check_qc(proposal.block.justify)
        if proposal.tc is not None:
            self.check_tc(proposal.tc)

    def _check_payload(self, payload: bytes) -> None:
        content = decode_content(payload)
        for observed in content.observations:
            self.check_observed(observed)
        if content.change is not None:
            self.check_change(content.change)

    def check_change(self, change: Change) -> None:
        """Check the proofs in a change's document, and its approvals; raise `InvalidMessage`."""
        if change in self._changes:
            return
        check_approvers(self._context, change)
        digest = approval_digest(self._context, change.configuration_hash, keccak(change.document))
        self._check_aggregate(change.bitmap, digest, change.aggregate, "a change's approval")
        self.check_document(change.document)
        self._changes.add(change, None)

    def _check_candidate(self, sender: int, candidate: Candidate) -> None:
        document, share = candidate.document, candidate.share
        if share is not None:
            try:
                configuration_hash = from_document(document).configuration.hash
            except NetworkFileError as error:
                raise InvalidMessage(f"a candidate that is not valid: {error}") from None
            digest = approval_digest(self._context, configuration_hash, keccak(document))
            if not self.is_share(sender, digest, share):
                raise InvalidMessage("an approval whose share does not verify")
        self.check_document(document)

    def check_document(self, document: bytes) -> None:
        """Check every proof in a next configuration; raise `InvalidMessage`."""
        if document in self._documents:
            return
        try:
            from_document(document).check_proofs()
        except NetworkFileError as error:
            raise InvalidMessage(f"a next configuration that is not valid: {error}") from None
        self._documents.add(document, None)

    def check_handover_certificate(self, certificate: HandoverCertificate) -> None:
        """Check a handover certificate as a whole; raise `InvalidMessage`."""
        if certificate in self._handovers:
            return
        check_certificate(self._context, certificate)
        digest = terms_in(self._context, certificate).digest
        self._check_aggregate(
            certificate.bitmap, digest, certificate.aggregate, "a handover certificate"
        )
        self._handovers.add(certificate, None)

    def _check_aggregate(self, bitmap: bytes, digest: bytes, aggregate: bytes, what: str) -> None:
        keys = [self._bls[signer] for signer in signers_of(bitmap)]
        if not PopSchemeMPL.fast_aggregate_verify(keys, digest, _signature(aggregate)):
            raise InvalidMessage(f"{what} whose signature does not verify")

    def certify_handover(self, terms: Terms, shares: Mapping[int, bytes]) -> HandoverCertificate:
        """Aggregate a quorum's shares on the end of the epoch; raise `BadShares`."""
        aggregate = self._aggregate(terms.digest, shares)
        certificate = HandoverCertificate(
            terms.configuration_hash,
            terms.deciding_id,
            terms.observed_at_ms,
            bitmap_of(sorted(shares)),
            aggregate,
        )
        self._handovers.add(certificate, None)
        return certificate

    def _aggregate(self, digest: bytes, shares: Mapping[int, bytes]) -> bytes:
        parsed = _parse(shares)
        aggregate = PopSchemeMPL.aggregate(list(parsed.values()))
        keys = [self._bls[signer] for signer in parsed]
        if not PopSchemeMPL.fast_aggregate_verify(keys, digest, aggregate):
            raise BadShares(self._find_bad(list(parsed), dict.fromkeys(shares, digest), parsed))
        return bytes(aggregate)

    def check_observed(self, observed: Observed) -> None:
        """Check an observation's signature; raise `InvalidMessage`."""
        if observed in self._observed:
            return
        if observed.member >= self._context.n:
            raise InvalidMessage("an observation of a member beyond the committee")
        if len(observed.body) != self._body_bytes:
            raise InvalidMessage("an observation with another number of feeds than the table")
        digest = digest_of(self._context.domain, observed)
        self._check_ed25519(observed.member, digest, observed.signature)
        self._observed.add(observed, None)

    def _check_ed25519(self, member: int, digest: bytes, signature: bytes) -> None:
        try:
            self._ed25519[member].verify(digest, signature)
        except BadSignatureError:
            raise InvalidMessage("a bad Ed25519 signature") from None

    def _known_qc(self, qc: QC) -> bool:
        return qc == self._context.genesis_qc or qc in self._qcs

    def _known_tc(self, tc: TC | None) -> bool:
        return tc is None or tc in self._tcs

    def check_qc(self, qc: QC) -> None:
        """Check a certificate as a whole; raise `InvalidMessage`."""
        if self._known_qc(qc):
            return
        rules.check_qc(self._context, qc)
        keys = [self._bls[signer] for signer in signers_of(qc.bitmap)]
        digest = qc.header.id(self._context.domain)
        if not PopSchemeMPL.fast_aggregate_verify(keys, digest, _signature(qc.aggregate)):
            raise InvalidMessage("a QC whose signature does not verify")
        self._remember_qc(qc)

    def _remember_qc(self, qc: QC) -> None:
        self._qcs.add(qc, None)
        self._qc_of.add(qc.header, qc)

    def check_tc(self, tc: TC) -> None:
        """Check a timeout certificate as a whole; raise `InvalidMessage`."""
        if tc in self._tcs:
            return
        rules.check_tc(self._context, tc)
        self.check_qc(tc.high_qc)
        domain = self._context.domain
        keys: list[G1Element] = []
        digests: list[bytes] = []
        for group in tc.groups:
            group_keys = self._keys_of(signers_of(group.bitmap))
            keys += group_keys
            digests += [timeout_digest(domain, tc.view, group.high_qc_view)] * len(group_keys)
        if not PopSchemeMPL.aggregate_verify(keys, digests, _signature(tc.aggregate)):
            raise InvalidMessage("a TC whose signature does not verify")
        self._tcs.add(tc, None)

    def _keys_of(self, signers: Sequence[int]) -> list[G1Element]:
        """Return the key under which these members' signatures on one digest verify: their sum.

        Members in league may own keys that cancel each other; infinity is no key, so the keys are
        then taken one by one.
        """
        total = self._bls[signers[0]]
        for signer in signers[1:]:
            total = total + self._bls[signer]
        return [self._bls[signer] for signer in signers] if total == G1Element() else [total]

    def is_vote(self, vote: SignedVote) -> bool:
        """Tell whether every member of the bitmap signed the header's id; for evidence."""
        keys = [self._bls[signer] for signer in signers_of(vote.bitmap)]
        digest = vote.header.id(self._context.domain)
        try:
            signature = _signature(vote.aggregate)
        except InvalidMessage:
            return False
        return bool(PopSchemeMPL.fast_aggregate_verify(keys, digest, signature))

    def is_timeout(self, timeout: SignedTimeout) -> bool:
        """Tell whether every member of each group signed its report; for evidence."""
        keys: list[G1Element] = []
        digests: list[bytes] = []
        for group in timeout.groups:
            group_keys = self._keys_of(signers_of(group.bitmap))
            keys += group_keys
            digest = timeout_digest(self._context.domain, timeout.view, group.high_qc_view)
            digests += [digest] * len(group_keys)
        try:
            signature = _signature(timeout.aggregate)
        except InvalidMessage:
            return False
        return bool(PopSchemeMPL.aggregate_verify(keys, digests, signature))

    def is_share(self, member: int, digest: bytes, share: bytes) -> bool:
        """Tell whether one member's BLS share verifies; for evidence and for finding bad ones."""
        try:
            return bool(PopSchemeMPL.verify(self._bls[member], digest, _signature(share)))
        except InvalidMessage:
            return False

    def certify_votes(self, header: Header, block_id: bytes, shares: Mapping[int, bytes]) -> QC:
        """Aggregate a quorum's shares on one header; raise `BadShares`."""
        qc = QC(header, bitmap_of(sorted(shares)), self._aggregate(block_id, shares))
        self._remember_qc(qc)
        return qc

    def certify_timeouts(
        self, view: int, shares: Mapping[int, tuple[int, bytes]], high_qc: QC
    ) -> TC:
        """Aggregate a quorum's shares on leaving a view; raise `BadShares`."""
        domain = self._context.domain
        parsed = _parse({signer: share for signer, (_, share) in shares.items()})
        reported: dict[int, list[int]] = {}
        for signer, (high_qc_view, _) in sorted(shares.items()):
            reported.setdefault(high_qc_view, []).append(signer)
        views = sorted(reported)
        keys: list[G1Element] = []
        digests: list[bytes] = []
        for high in views:
            group_keys = self._keys_of(reported[high])
            keys += group_keys
            digests += [timeout_digest(domain, view, high)] * len(group_keys)
        aggregate = PopSchemeMPL.aggregate(list(parsed.values()))
        if not PopSchemeMPL.aggregate_verify(keys, digests, aggregate):
            by_signer = {
                signer: timeout_digest(domain, view, high) for signer, (high, _) in shares.items()
            }
            raise BadShares(self._find_bad(list(parsed), by_signer, parsed))
        groups = tuple(TimeoutGroup(high, bitmap_of(reported[high])) for high in views)
        tc = TC(view, groups, bytes(aggregate), high_qc)
        self._tcs.add(tc, None)
        return tc

    def _find_bad(
        self,
        signers: Sequence[int],
        digests: Mapping[int, bytes],
        shares: Mapping[int, G2Element],
    ) -> list[int]:
        """Return whose shares are bad, given that their aggregate is, by halving.

        Bad shares that cancel each other within a half that verifies are not named, and need not
        be: the shares that are left verify as an aggregate.
        """
        if len(signers) == 1:
            return list(signers)
        bad: list[int] = []
        middle = len(signers) // 2
        for half in (signers[:middle], signers[middle:]):
            keys = [self._bls[signer] for signer in half]
            aggregate = PopSchemeMPL.aggregate([shares[signer] for signer in half])
            covered = [digests[signer] for signer in half]
            if not PopSchemeMPL.aggregate_verify(keys, covered, aggregate):
                bad += self._find_bad(half, digests, shares)
        return bad


def _signature(encoded: bytes) -> G2Element:
    """Return a point of the group; raise `InvalidMessage` for anything else, infinity included."""
    try:
        point = G2Element.from_bytes(encoded)
    except (ValueError, RuntimeError):
        raise InvalidMessage("a signature that is no point of G2") from None
    if point == G2Element():
        raise InvalidMessage("the infinity signature")
    return point


def _parse(shares: Mapping[int, bytes]) -> dict[int, G2Element]:
    parsed: dict[int, G2Element] = {}
    bad: list[int] = []
    for signer, share in sorted(shares.items()):
        try:
            parsed[signer] = _signature(share)
        except InvalidMessage:
            bad.append(signer)
    if bad:
        raise BadShares(bad)
    return parsed
