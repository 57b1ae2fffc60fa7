"""How far certified prices are from the true middle of the simulated market."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from aggregation.encoding import Answer
from aggregation.status import Status
from testnet.audit.case import Case
from testnet.audit.reports import Reports
from testnet.audit.violation import Violation
from testnet.market import MIDDLE_SCALE, Market

ERROR_BP_MAX = 10.0
_FALL_LAG_MS = 5_000
_STEP_MS = 250
_AGREED = (Status.LIVE, Status.DEGRADED)


@dataclass(slots=True)
class PriceErrors:
    """In basis points: of each live or degraded answer at its observation time."""

    errors_bp: list[float] = field(default_factory=list)
    carried: int = 0


def check_prices(case: Case, reports: Reports, found: PriceErrors) -> Iterator[Violation]:
    """Compare every certified price with the market at its time; fill `found`.

    A carried price is an older one and must be exactly that: of the nearest ancestor with an
    agreement, within the time that it may be carried. Halted and unavailable answers promise
    nothing about now.
    """
    manifest, feeds = case.manifest, case.network.table.feeds
    market = Market(manifest.seed, manifest.origin_ms, manifest.start_minute, manifest.depegs)
    fallen = {depeg.asset for depeg in manifest.depegs}
    for report in reports.priced.values():
        try:
            answers = report.answers(len(feeds))
        except ValueError:
            continue  # Told by the check of certificates.
        view, at_ms = report.entry.view, report.header.observed_at_ms
        for index, (feed, answer) in enumerate(zip(feeds, answers, strict=True)):
            if answer.status in _AGREED:
                # Of what loses its worth within seconds, the price is that of a moment ago.
                lag_ms = _FALL_LAG_MS if feed.base in fallen else 0
                middles = [
                    market.middle(feed.base, at_ms - ago_ms)
                    for ago_ms in range(0, lag_ms + 1, _STEP_MS)
                ]
                price = answer.price * 10**MIDDLE_SCALE // 10**feed.decimals
                middle = min(max(price, min(middles)), max(middles))
                error_bp = abs(price - middle) / middle * 10_000
                found.errors_bp.append(error_bp)
                if error_bp > ERROR_BP_MAX:
                    detail = f"{feed.pair} is {error_bp:.1f} bp from the middle at {at_ms}"
                    yield Violation("wrong-price", detail, view)
            elif answer.status is Status.CARRIED:
                found.carried += 1
                problem = _carried_problem(case, reports, report.entry.id, index, answer)
                if problem:
                    yield Violation("wrong-price", f"{feed.pair} is carried, but {problem}", view)


def _carried_problem(
    case: Case, reports: Reports, block_id: str, feed: int, answer: Answer
) -> str | None:
    report = reports.by_id[block_id]
    count = case.network.table.count
    at_ms = report.header.observed_at_ms
    while True:
        parent = reports.by_id.get(report.entry.parent_id)
        if parent is None and report.entry.parent_view == 0 and case.network.context.epoch:
            return None  # Carried over from the epoch before.
        if parent is None:
            return "there is no earlier price"
        report = parent
        before = report.answers(count)[feed]
        if before.price != answer.price:
            return f"the price before was {before.price}, not {answer.price}"
        if before.status in _AGREED:
            age_ms = at_ms - report.header.observed_at_ms
            limit_ms = case.network.context.configuration.timing.carry_ms
            return f"for {age_ms} ms" if age_ms > limit_ms else None
        if before.status is not Status.CARRIED:
            return f"the answer before was {before.status.name.lower()}"
