"""What a run measured, taken from the members' journals and from what was seen on the chain."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from aggregation.table import FeedTable
from node.journal import Certified, Committed, Entry, Signed, Started
from node.publisher.settings import ChainSettings
from node.publisher.triggers import Stored, answers_in, due
from testnet.chain_watch import SeenPush

UNEXPLAINED = "other"
"""Not due any more when it was stored: another transmitter's push came just before it."""

_LEAD_MS = ChainSettings("any", 1, (), bytes(20)).heartbeat_lead_ms


@dataclass(frozen=True, slots=True)
class Rounds:
    """Rounds over all nodes; times are Unix ms, latencies ms."""

    certified: int
    committed: int
    first_certified_ms: dict[int, int]
    """By view."""
    observation_to_certificate: tuple[int, ...]

    def certified_between(self, begin_ms: int, end_ms: int) -> int:
        """Return how many rounds were certified in a span of time."""
        return sum(begin_ms <= at_ms < end_ms for at_ms in self.first_certified_ms.values())

    def longest_gap_ms(self, begin_ms: int, end_ms: int) -> int:
        """Return the longest time without a certificate anywhere, both ends included."""
        inside = sorted(t for t in self.first_certified_ms.values() if begin_ms <= t <= end_ms)
        return max(later - earlier for earlier, later in pairwise([begin_ms, *inside, end_ms]))


def rounds_of(journals: Iterable[Sequence[Entry]]) -> Rounds:
    """Measure the rounds in the members' journals."""
    first: dict[int, int] = {}
    committed: set[str] = set()
    latencies: list[int] = []
    for entries in journals:
        observed: dict[int, int] = {}
        for entry in entries:
            if isinstance(entry, Started):
                # What a process learns of the time before its start measures its absence.
                observed.clear()
            elif isinstance(entry, Signed) and entry.kind == "observation":
                observed[entry.view] = entry.t_ms
            elif isinstance(entry, Certified):
                first[entry.view] = min(first.get(entry.view, entry.t_ms), entry.t_ms)
                if entry.view in observed:
                    latencies.append(entry.t_ms - observed[entry.view])
            elif isinstance(entry, Committed):
                committed.add(entry.id)
    return Rounds(len(first), len(committed), first, tuple(latencies))


def certificate_to_chain(rounds: Rounds, pushes: Iterable[SeenPush]) -> list[int]:
    """Return, for each push, how long after the first certificate it was seen on the chain (ms)."""
    return [
        push.seen_ms - rounds.first_certified_ms[push.place.view]
        for push in pushes
        if push.place.view in rounds.first_certified_ms
    ]


def triggers_of(pushes: Iterable[SeenPush], table: FeedTable) -> dict[str, int]:
    """Count the pushes by what made them due, judged as a publisher judges.

    The agreed volatility is not on the chain, so a move counts from the least threshold on.
    """
    counts: Counter[str] = Counter({"deviation": 0, "heartbeat": 0, "status": 0})
    stored = Stored(0, 0, 0, answers_in([0] * table.words, table.count))
    for push in pushes:
        place = push.place
        answers = answers_in(push.words, table.count)
        least = [feed.calm_deviation_ppm or feed.deviation_ppm for feed in table.feeds]
        found = due(stored, place.observed_at_ms, answers, table.feeds, least, _LEAD_MS)
        counts[UNEXPLAINED if found is None else found.trigger.value] += 1
        stored = Stored(place.epoch, place.view, place.observed_at_ms, answers)
    return dict(counts)
