"""Evidence as a JSON file: all that a contract or anyone needs to check it, and nothing else.

Points are written as contracts take them: keys of 128 bytes, signatures of 192 (EIP-2537 without
its padding for signatures, see `contracts/points.py`), the latter compressed as well. There is one
way to write a piece of evidence, and `verify` takes no other.
"""

from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from aggregation.table import FeedTable
from consensus.committee import EpochContext
from consensus.digests import timeout_digest
from consensus.errors import InvalidMessage
from consensus.evidence import (
    Evidence,
    HiddenCertificate,
    SignedTimeout,
    SignedVote,
    TwoTimeouts,
    TwoVotes,
    accused_by,
    encode_evidence,
    kind_of,
    verify_evidence,
)
from consensus.messages import Header, Link, TimeoutGroup
from contracts.points import decompress_g2
from node.errors import CheckFailed
from node.evidence_book import evidence_id
from node.verifier import Verifier

FORMAT = "didyma-evidence-1"
EVIDENCE_FILE_BYTES_MAX = 1 << 20

_Number = Annotated[int, Meta(ge=0, le=2**63 - 1)]


_Hex20 = Annotated[str, Meta(pattern=r"\A0x[0-9a-f]{40}\Z")]
_Hex32 = Annotated[str, Meta(pattern=r"\A0x[0-9a-f]{64}\Z")]
_Hex96 = Annotated[str, Meta(pattern=r"\A0x[0-9a-f]{192}\Z")]
_Hex128 = Annotated[str, Meta(pattern=r"\A0x[0-9a-f]{256}\Z")]
_Hex192 = Annotated[str, Meta(pattern=r"\A0x[0-9a-f]{384}\Z")]


class _Member(Struct, frozen=True, forbid_unknown_fields=True):
    bls_key: _Hex128
    ed25519_key: _Hex32
    operator: _Hex20


class _Header(Struct, frozen=True, forbid_unknown_fields=True):
    view: _Number
    observed_at_ms: _Number
    feed_root: _Hex32
    link: _Hex32


class _Vote(Struct, frozen=True, forbid_unknown_fields=True):
    header: _Header
    id: _Hex32
    bitmap: _Hex32
    signature: _Hex192
    signature_compressed: _Hex96


class _Link(Struct, frozen=True, forbid_unknown_fields=True):
    parent_id: _Hex32
    parent_view: _Number
    height: _Number
    state_digest: _Hex32
    payload_digest: _Hex32


class _Group(Struct, frozen=True, forbid_unknown_fields=True):
    high_qc_view: _Number
    bitmap: _Hex32
    digest: _Hex32


class _Timeout(Struct, frozen=True, forbid_unknown_fields=True):
    view: _Number
    groups: Annotated[tuple[_Group, ...], Meta(min_length=1, max_length=128)]
    signature: _Hex192
    signature_compressed: _Hex96


class EvidenceDocument(Struct, frozen=True, forbid_unknown_fields=True):
    """The JSON form; `accused` are indices into `members`, which are all of the epoch."""

    format: str
    id: _Hex32
    kind: str
    network: _Hex32
    epoch: _Number
    configuration: _Hex32
    domain: _Hex32
    accused: tuple[_Number, ...]
    votes: Annotated[tuple[_Vote, ...], Meta(max_length=2)]
    link: _Link | None
    timeouts: Annotated[tuple[_Timeout, ...], Meta(max_length=2)]
    members: Annotated[tuple[_Member, ...], Meta(min_length=1, max_length=128)]


class EvidenceNotValid(CheckFailed):
    """A file is malformed, or what it says proves nothing."""


def document_of(context: EpochContext, evidence: Evidence) -> EvidenceDocument:
    """Return the JSON form of evidence; it may not verify, but accuses somebody.

    Raises `InvalidEvidence` if not, and `ValueError` for a signature that is no point.
    """
    return describe(context, evidence, accused_by(context, evidence))


def describe(
    context: EpochContext, evidence: Evidence, accused: tuple[int, ...]
) -> EvidenceDocument:
    """Return the JSON form, whoever it accuses; raise `ValueError` as `document_of` does."""
    votes: tuple[SignedVote, ...] = ()
    timeouts: tuple[SignedTimeout, ...] = ()
    link: Link | None = None
    match evidence:
        case TwoVotes():
            votes = evidence.first, evidence.second
        case TwoTimeouts():
            timeouts = evidence.first, evidence.second
        case HiddenCertificate():
            votes, link, timeouts = (evidence.vote,), evidence.link, (evidence.timeout,)
    return EvidenceDocument(
        format=FORMAT,
        id=_0x(evidence_id(context.domain, encode_evidence(evidence))),
        kind=kind_of(evidence),
        network=_0x(context.network),
        epoch=context.epoch,
        configuration=_0x(context.configuration.hash),
        domain=_0x(context.domain),
        accused=accused,
        votes=tuple(_vote_document(context, vote) for vote in votes),
        link=None if link is None else _link_document(link),
        timeouts=tuple(_timeout_document(context, timeout) for timeout in timeouts),
        members=tuple(
            _Member(_0x(m.bls_key), _0x(m.ed25519_key), _0x(m.operator))
            for m in context.configuration.members
        ),
    )


def encode_document(document: EvidenceDocument) -> bytes:
    """Return the content of the file."""
    return msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"


def evidence_in(content: bytes) -> tuple[EvidenceDocument, Evidence]:
    """Return what a file says; raise `EvidenceNotValid` if that has not the form of evidence."""
    try:
        document = msgspec.json.decode(content, type=EvidenceDocument)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise EvidenceNotValid(f"not a file of evidence: {error}") from None
    if document.format != FORMAT:
        raise EvidenceNotValid(f"its format is not {FORMAT!r}")
    votes = [_vote_in(vote) for vote in document.votes]
    timeouts = [_timeout_in(timeout) for timeout in document.timeouts]
    link = None if document.link is None else _link_in(document.link)
    shape = (document.kind, len(votes), len(timeouts))
    if shape == ("two-votes", 2, 0) and link is None:
        return document, TwoVotes(votes[0], votes[1])
    if shape == ("two-timeouts", 0, 2) and link is None:
        return document, TwoTimeouts(timeouts[0], timeouts[1])
    if shape == ("hidden-certificate", 1, 1) and link is not None:
        return document, HiddenCertificate(votes[0], link, timeouts[0])
    raise EvidenceNotValid(
        f"{document.kind!r} with {len(votes)} votes and {len(timeouts)} timeouts is no evidence"
    )


def verify_file(content: bytes, context: EpochContext, table: FeedTable) -> EvidenceDocument:
    """Return what a file says if all of it holds in an epoch; raise `EvidenceNotValid`."""
    document, evidence = evidence_in(content)
    if document.network != _0x(context.network):
        raise EvidenceNotValid(f"it is of network {document.network}, not {_0x(context.network)}")
    if document.epoch != context.epoch or document.configuration != _0x(context.configuration.hash):
        raise EvidenceNotValid(
            f"it is of epoch {document.epoch} with configuration {document.configuration}; the "
            f"committee given is that of epoch {context.epoch}"
        )
    try:
        canonical = document_of(context, evidence)
        verify_evidence(context, evidence, Verifier(context, table.count))
    except (InvalidMessage, ValueError) as error:
        raise EvidenceNotValid(f"it proves nothing: {error}") from None
    for field in EvidenceDocument.__struct_fields__:
        if getattr(document, field) != getattr(canonical, field):
            raise EvidenceNotValid(f"its {field!r} is not what follows from the rest of it")
    return document


def _0x(value: bytes) -> str:
    return "0x" + value.hex()


def _bytes(text: str) -> bytes:
    return bytes.fromhex(text[2:])


def _vote_document(context: EpochContext, vote: SignedVote) -> _Vote:
    header = vote.header
    return _Vote(
        _Header(header.view, header.observed_at_ms, _0x(header.feed_root), _0x(header.link)),
        _0x(header.id(context.domain)),
        _0x(vote.bitmap),
        _0x(decompress_g2(vote.aggregate)),
        _0x(vote.aggregate),
    )


def _vote_in(vote: _Vote) -> SignedVote:
    header = vote.header
    return SignedVote(
        Header(header.view, header.observed_at_ms, _bytes(header.feed_root), _bytes(header.link)),
        _bytes(vote.bitmap),
        _bytes(vote.signature_compressed),
    )


def _link_document(link: Link) -> _Link:
    return _Link(
        _0x(link.parent_id),
        link.parent_view,
        link.height,
        _0x(link.state_digest),
        _0x(link.payload_digest),
    )


def _link_in(link: _Link) -> Link:
    return Link(
        _bytes(link.parent_id),
        link.parent_view,
        link.height,
        _bytes(link.state_digest),
        _bytes(link.payload_digest),
    )


def _timeout_document(context: EpochContext, timeout: SignedTimeout) -> _Timeout:
    return _Timeout(
        timeout.view,
        tuple(
            _Group(
                group.high_qc_view,
                _0x(group.bitmap),
                _0x(timeout_digest(context.domain, timeout.view, group.high_qc_view)),
            )
            for group in timeout.groups
        ),
        _0x(decompress_g2(timeout.aggregate)),
        _0x(timeout.aggregate),
    )


def _timeout_in(timeout: _Timeout) -> SignedTimeout:
    groups = tuple(TimeoutGroup(g.high_qc_view, _bytes(g.bitmap)) for g in timeout.groups)
    return SignedTimeout(timeout.view, groups, _bytes(timeout.signature_compressed))
