"""How long after each fault the network certified again."""

from collections.abc import Iterable, Mapping

from msgspec import Struct

from consensus.pacemaker import BACK_OFF_MAX
from testnet.faults import Outage
from testnet.quantiles import quantile

GRACE_MS = 1_000
"""What may come on top of timeouts."""


class Resumption(Struct, frozen=True):
    """From a member's loss to the first certificate of a view that began after it, in ms.

    `within_one_timeout` counts faults after which that took at most the base timeout and a second.
    With k members away at a time, k leaders in a row may be: `late` counts those after which it
    took longer than the timeouts of k views, which grow, and a second; None of those may be.
    `rejoined` is from a member's return to its own first certificate, as an onlooker sees it.
    """

    faults: int
    p50: int | None
    max: int | None
    base_timeout_ms: int
    within_one_timeout: int
    late: int
    rejoined_p50: int | None
    rejoined_max: int | None


def resumption_of(
    outages: Iterable[Outage],
    first_certified_ms: Mapping[int, int],
    stopped_ms: int,
    base_timeout_ms: int,
    never_here: int = 0,
) -> Resumption:
    """Measure how the network went on after each outage; `never_here` members lead no view well.

    `first_certified_ms` is by view. An outage shortly before the stop proves nothing.
    """
    outages = list(outages)
    found = [
        (outage, after)
        for outage in outages
        if (after := _resumed_ms(outage, first_certified_ms)) is not None
        or stopped_ms - outage.begun_ms > limit_ms(outage.away + never_here, base_timeout_ms)
    ]
    took = [after for _, after in found if after is not None]
    rejoined = [
        outage.back_ms - outage.over_ms
        for outage in outages
        if outage.back_ms is not None and outage.over_ms is not None
    ]
    return Resumption(
        faults=len(found),
        p50=_quantile(took, 50),
        max=max(took, default=None),
        base_timeout_ms=base_timeout_ms,
        within_one_timeout=sum(ms <= limit_ms(1, base_timeout_ms) for ms in took),
        late=sum(
            after is None or after > limit_ms(outage.away + never_here, base_timeout_ms)
            for outage, after in found
        ),
        rejoined_p50=_quantile(rejoined, 50),
        rejoined_max=max(rejoined, default=None),
    )


def limit_ms(away: int, base_timeout_ms: int) -> int:
    """Return how long it may take while so many members are away."""
    grown: list[int] = [base_timeout_ms * 3**k // 2**k for k in range(away)]
    return sum(min(ms, BACK_OFF_MAX * base_timeout_ms) for ms in grown) + GRACE_MS


def _resumed_ms(outage: Outage, first_certified_ms: Mapping[int, int]) -> int | None:
    """Return the time to the first certificate of a view that nobody was in at the fault.

    The view after the newest certified one was under way, and may have been all but decided.
    """
    under_way = 1 + max(
        (view for view, at_ms in first_certified_ms.items() if at_ms <= outage.begun_ms), default=0
    )
    later = [at_ms for view, at_ms in first_certified_ms.items() if view > under_way]
    return min(later) - outage.begun_ms if later else None


def _quantile(values: list[int], percent: int) -> int | None:
    found = quantile(values, percent)
    return None if found is None else round(found)
