"""All checks together, and what they come to."""

from collections import Counter
from collections.abc import Iterable

from msgspec import Struct

from aggregation.encoding import decode_answer, unpack_words
from node.journal import Committed
from testnet.audit.case import Case
from testnet.audit.durability import check_durability
from testnet.audit.finality import check_finality
from testnet.audit.honest_range import check_honest_range
from testnet.audit.on_chain import check_on_chain
from testnet.audit.prices import PriceErrors, check_prices
from testnet.audit.reports import Reports, check_certificates
from testnet.audit.uniqueness import check_equivocation, check_uniqueness
from testnet.audit.violation import Violation
from testnet.quantiles import quantile

VIOLATIONS_PER_KIND_MAX = 20

OWN_KINDS = frozenset({"equivocation", "not-durable", "halted"})
"""Breaches of one member's own rules; all others are the network's, whoever brought them about."""


class Verdict(Struct, frozen=True):
    """What an audit found. `ok` only if something was certified and nothing is violated.

    `violations` lists the first of each kind, `violations_by_kind` counts them all. What members
    did that are not honest is no violation: `offences_seen` counts it, {member: {kind: number}}.
    Price errors are in basis points, None if there was no price.
    """

    ok: bool
    violations: tuple[Violation, ...]
    violations_by_kind: dict[str, int]
    reports_checked: int
    committed_checked: int
    pushes_checked: int
    prices_checked: int
    prices_carried: int
    price_error_bp_p50: float | None
    price_error_bp_max: float | None
    statuses: dict[str, int]
    offences_seen: dict[str, dict[str, int]] = {}


def judge(case: Case) -> Verdict:
    """Check everything."""
    reports = Reports(case)
    prices = PriceErrors()
    violations: list[Violation] = []
    counts: Counter[str] = Counter()

    traitors = {member.name for member in case.members if not member.honest}
    offences: dict[str, Counter[str]] = {name: Counter() for name in sorted(traitors)}

    def take(found: Iterable[Violation]) -> None:
        for violation in found:
            # Only what a member did by itself is laid at its door.
            if violation.member in traitors and violation.kind in OWN_KINDS:
                offences[violation.member][violation.kind] += 1
                continue
            counts[violation.kind] += 1
            if counts[violation.kind] <= VIOLATIONS_PER_KIND_MAX:
                violations.append(violation)

    take(check_certificates(case, reports))
    take(check_uniqueness(case, reports))
    take(check_equivocation(case))
    take(check_finality(case, reports))
    take(check_durability(case))
    take(check_on_chain(case, reports))
    take(check_honest_range(case, reports))
    take(check_prices(case, reports, prices))
    if not reports.by_id:
        take([Violation("nothing-certified", "no member journaled any certified report")])
    committed = {
        entry.id
        for member in case.members
        for entry in member.entries
        if isinstance(entry, Committed)
    }
    return Verdict(
        ok=not counts,
        violations=tuple(violations),
        violations_by_kind=dict(counts),
        reports_checked=len(reports.by_id),
        committed_checked=len(committed),
        pushes_checked=len(case.chain.pushes),
        prices_checked=len(prices.errors_bp),
        prices_carried=prices.carried,
        price_error_bp_p50=quantile(prices.errors_bp, 50),
        price_error_bp_max=max(prices.errors_bp, default=None),
        statuses=_statuses(case, reports),
        offences_seen={name: dict(kinds) for name, kinds in offences.items() if kinds},
    )


def failed(reason: str) -> Verdict:
    """Return the verdict when nothing can be said: never that all is well."""
    violation = Violation("audit", reason)
    return Verdict(False, (violation,), {"audit": 1}, 0, 0, 0, 0, 0, None, None, {})


def _statuses(case: Case, reports: Reports) -> dict[str, int]:
    """Count certified answers by status."""
    counts: Counter[str] = Counter()
    for report in reports.by_id.values():
        for lane in unpack_words(report.words)[: case.network.table.count]:
            try:
                counts[decode_answer(lane).status.name.lower()] += 1
            except ValueError:
                counts["malformed"] += 1
    return dict(counts)
