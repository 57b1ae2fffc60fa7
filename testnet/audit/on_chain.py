"""What the chain stored is what was certified, word by word."""

from collections.abc import Iterator

from aggregation.encoding import decode_answer, unpack_words
from contracts.client import certificate_of, encode_push
from testnet.audit.case import Case
from testnet.audit.chain_record import AnswerRecord, PushRecord
from testnet.audit.reports import CertifiedReport, Reports
from testnet.audit.violation import Violation


def check_on_chain(case: Case, reports: Reports) -> Iterator[Violation]:
    """Compare events, calldata and state of the Oracle with the certified reports."""
    context, chain = case.network.context, case.chain
    if (chain.network, chain.domain) != (context.network.hex(), context.domain.hex()):
        yield Violation("on-chain", "the Oracle is of another network or configuration")
    before_ms = 0
    for push in chain.pushes:
        problem = _problem_of(case, reports, push)
        if problem:
            yield Violation("on-chain", f"transaction {push.transaction}: {problem}", push.view)
        if push.observed_at_ms <= before_ms:
            yield Violation("on-chain", "the observation time did not increase", push.view)
        before_ms = push.observed_at_ms
    yield from _state(case)


def _problem_of(case: Case, reports: Reports, push: PushRecord) -> str | None:
    report = reports.by_id.get(push.id)
    if report is None:
        return f"no member ever held a certificate of the stored id {push.id}"
    entry = report.entry
    stored = (push.epoch, push.view, push.observed_at_ms, push.feed_root)
    certified = (
        case.network.context.epoch,
        entry.view,
        entry.header.observed_at_ms,
        entry.header.feed_root,
    )
    if stored != certified:
        return f"stored {stored}, certified {certified}"
    if push.words != entry.words:
        return f"stored the words {push.words}, certified were {entry.words}"
    if not _is_call_of(push, report):
        return "the calldata is of no certificate that a member held"
    return None


def _is_call_of(push: PushRecord, report: CertifiedReport) -> bool:
    for bitmap, aggregate in sorted(report.certificates):
        try:
            certificate = certificate_of(
                push.epoch, report.header, bytes.fromhex(bitmap), bytes.fromhex(aggregate)
            )
            calldata = encode_push(certificate, report.words)
        except ValueError:
            continue
        if calldata.hex() == push.calldata:
            return True
    return False


def _state(case: Case) -> Iterator[Violation]:
    chain = case.chain
    newest = chain.pushes[-1] if chain.pushes else None
    place = (chain.stored_view, chain.stored_observed_at_ms)
    expected = (0, 0) if newest is None else (newest.view, newest.observed_at_ms)
    if place != expected:
        yield Violation("on-chain", f"the Oracle holds {place}, the last event says {expected}")
    if newest is None:
        return
    lanes = unpack_words([int(word, 16) for word in newest.words])
    for feed, lane, stored in zip(case.network.table.feeds, lanes, chain.answers, strict=False):
        try:
            answer = decode_answer(lane)
        except ValueError as error:
            yield Violation("on-chain", f"{feed.pair}: {error}", newest.view)
            continue
        told = AnswerRecord(
            answer.price, answer.confidence_ppm, int(answer.status), newest.observed_at_ms
        )
        if told != stored:
            yield Violation("on-chain", f"{feed.pair}: {stored} is read, {told} was stored")
    if len(chain.answers) != case.network.table.count:
        yield Violation("on-chain", f"{len(chain.answers)} feeds can be read")
