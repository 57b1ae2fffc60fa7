"""Whether a report is genuine, judged by its epoch's committee alone: no node, network or clock."""

import json
from collections.abc import Iterator, Sequence
from typing import Protocol

from blspy import G1Element, G2Element, PopSchemeMPL

from aggregation.encoding import feed_root
from aggregation.table import FeedTable
from consensus.committee import EpochContext, signers_of
from consensus.types import BITMAP_BYTES
from contracts.client import certificate_of, encode_push
from node.errors import CheckFailed, Problem
from node.registration import MemberRecord
from node.report import (
    Report,
    ReportError,
    ReportFile,
    answers_of,
    report_from_json,
    report_to_json,
)


class ReportNotGenuine(CheckFailed):
    """A report is malformed, or something in it is not what a quorum of the committee signed."""


class Committee(Protocol):
    """Who signs the reports of one epoch: a committee file, or a proven later epoch."""

    @property
    def name(self) -> str:
        """The network's name."""
        ...

    @property
    def context(self) -> EpochContext:
        """The epoch, as the consensus sees it."""
        ...

    @property
    def table(self) -> FeedTable:
        """Its feeds."""
        ...

    @property
    def members(self) -> Sequence[MemberRecord]:
        """Its members, by index."""
        ...

    @property
    def member_names(self) -> Sequence[str]:
        """Their names, by index."""
        ...

    @property
    def valid_until_ms(self) -> int:
        """When its reports cease to be taken (Unix ms)."""
        ...


def epoch_of(content: bytes) -> int:
    """Return which epoch a report says it is of; raise `ReportNotGenuine` if it is no report."""
    return _decode(content).report.epoch


def verify_report(content: bytes, network: Committee) -> Report:
    """Return the report in a file if everything in it holds; raise `ReportNotGenuine`.

    The id is recomputed from the header and the committee's own domain, the feed root from the
    words, answers, signers and calldata from what is signed; then the aggregate signature of a
    quorum is verified. The problems name every field that does not fit.
    """
    file = _decode(content)
    problems = tuple(
        Problem("report", message, field) for field, message in _disagreements(file, network)
    )
    if problems:
        raise ReportNotGenuine("the report is not genuine", problems)
    return file.report


def _decode(content: bytes) -> ReportFile:
    try:
        file = report_from_json(content)
        canonical = report_to_json(file.report, file.push_calldata)
        if json.loads(content) != canonical:
            raise ReportError("it is not written in the one way that a node writes reports")
    except (ValueError, RecursionError) as error:
        raise ReportNotGenuine(f"the report cannot be read: {error}") from None
    return file


def _disagreements(file: ReportFile, network: Committee) -> Iterator[tuple[str, str]]:
    report, context = file.report, network.context
    if report.network != context.network:
        yield "network", f"is not {network.name}, whose id is 0x{context.network.hex()}"
    if report.epoch != context.epoch:
        yield "epoch", f"is not {context.epoch}, the epoch of the committee"
    if report.header.view == 0:
        yield "header.view", "is 0, which is the genesis and has no report"
    if report.header.observed_at_ms > network.valid_until_ms:
        yield "header.observed_at_ms", "is later than the end of the committee's validity"
    if report.id != report.header.id(context.domain):
        yield "id", "is not the digest of the header under this network, epoch and configuration"
    if report.header.feed_root != feed_root(report.words):
        yield "words", "do not hash to the header's feed root"
    yield from _answer_disagreements(report, network)
    yield from _certificate_disagreements(report, network)
    if file.push_calldata is not None and file.push_calldata != _push_calldata(report):
        yield "calldata.push", "does not push this report"


def _answer_disagreements(report: Report, network: Committee) -> Iterator[tuple[str, str]]:
    feeds = [(feed.pair, feed.decimals) for feed in network.table.feeds]
    try:
        answers = answers_of(report.words, feeds)
    except ValueError as error:
        yield "words", str(error)
        return
    if report.answers != answers:
        yield "answers", "are not what the words say of the committee's feeds"


def _certificate_disagreements(report: Report, network: Committee) -> Iterator[tuple[str, str]]:
    context = network.context
    signers = signers_of(report.bitmap.to_bytes(BITMAP_BYTES, "big"))
    if any(signer >= context.n for signer in signers):
        yield "bitmap", f"names a member beyond the {context.n} of the committee"
        return
    if report.signers != tuple(network.member_names[signer] for signer in signers):
        yield "signers", "are not those of the bitmap"
    if len(signers) < context.q:
        yield "bitmap", f"has {len(signers)} signers, a quorum is {context.q}"
        return
    keys = [G1Element.from_bytes(network.members[signer].bls_key) for signer in signers]
    try:
        signature = G2Element.from_bytes(report.signature)
    except ValueError:
        yield "signature", "is not a signature"
        return
    digest = report.header.id(context.domain)
    if not PopSchemeMPL.fast_aggregate_verify(keys, digest, signature):
        yield "signature", "is not the signers' signature on this header"


def _push_calldata(report: Report) -> bytes | None:
    try:
        certificate = certificate_of(report.epoch, report.header, report.bitmap, report.signature)
        return encode_push(certificate, report.words)
    except ValueError:
        return None
