"""S3: what is certified lies within what honest members observed."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from aggregation.encoding import Answer, decode_confidence_ppm, encode_confidence_up
from aggregation.observation import Entry, ObservationBody
from aggregation.status import Status
from node.journal import Signed
from testnet.audit.case import AuditFailed, Case
from testnet.audit.reports import CertifiedReport, Reports
from testnet.audit.violation import Violation

_AGREED = (Status.LIVE, Status.DEGRADED)


@dataclass(slots=True)
class _Honest:
    """What honest members observed for one view."""

    times_ms: list[int] = field(default_factory=list)
    entries: list[tuple[Entry, ...]] = field(default_factory=list)


def check_honest_range(case: Case, reports: Reports) -> Iterator[Violation]:
    """Compare each live or degraded answer with the honest observations for its view.

    Which of them the leader included is not journaled, so the range is that of all of them.
    """
    observed = _honest_observations(case)
    pairs = [feed.pair for feed in case.network.table.feeds]
    for block_id, report in reports.priced.items():
        view = report.entry.view
        honest = observed.get(view)
        if honest is None:
            yield Violation("dishonest-range", "no honest member observed for it", view)
            continue
        yield from _time(reports, report, honest)
        try:
            answers = report.answers(len(pairs))
        except ValueError:
            continue  # Told by the check of certificates.
        for index, (pair, answer) in enumerate(zip(pairs, answers, strict=True)):
            if answer.status in _AGREED:
                problem = _problem_of(answer, [entries[index] for entries in honest.entries])
                if problem:
                    yield Violation("dishonest-range", f"{pair} in {block_id}: {problem}", view)


def _honest_observations(case: Case) -> dict[int, _Honest]:
    observed: dict[int, _Honest] = {}
    count = case.network.table.count
    for member in case.members:
        if not member.honest:
            continue
        for entry in member.entries:
            if isinstance(entry, Signed) and entry.kind == "observation":
                body = _body_of(member.name, entry)
                if len(body.entries) != count:
                    raise AuditFailed(f"{member.name} observed {len(body.entries)} feeds")
                honest = observed.setdefault(entry.view, _Honest())
                honest.times_ms.append(body.observed_at_ms)
                honest.entries.append(body.entries)
    return observed


def _body_of(name: str, entry: Signed) -> ObservationBody:
    try:
        return ObservationBody.decode(bytes.fromhex(entry.body or ""))
    except ValueError as error:
        raise AuditFailed(f"entry {entry.seq} of the journal of {name}: {error}") from None


def _time(reports: Reports, report: CertifiedReport, honest: _Honest) -> Iterator[Violation]:
    at_ms = report.header.observed_at_ms
    if min(honest.times_ms) <= at_ms <= max(honest.times_ms):
        return
    parent = reports.by_id.get(report.entry.parent_id)
    if parent is not None and at_ms == parent.header.observed_at_ms + 1:
        return
    detail = f"the time {at_ms} is in none of {sorted(honest.times_ms)}"
    yield Violation("dishonest-range", detail, report.entry.view)


def _problem_of(answer: Answer, honest: list[Entry]) -> str | None:
    present = [entry for entry in honest if entry.price]
    if not present:
        return "no honest member observed it"
    prices = [entry.price for entry in present]
    if not min(prices) <= answer.price <= max(prices):
        return f"price {answer.price} is outside {min(prices)} to {max(prices)}"
    confidences = [entry.confidence for entry in present]
    distance = max(abs(price - answer.price) for price in prices)
    least = _ppm(answer.price, min(confidences))
    most = _ppm(answer.price, max(*confidences, distance))
    if least is None:
        return None if answer.confidence_ppm is None else "it is more certain than any honest one"
    told = answer.confidence_ppm
    if told is None:
        return None if most is None else "it is less certain than any honest one"
    if told < least or (most is not None and told > most):
        return f"confidence {told} ppm is outside {least} to {most} ppm"
    return None


def _ppm(price: int, confidence: int) -> int | None:
    return decode_confidence_ppm(encode_confidence_up(price, confidence))
