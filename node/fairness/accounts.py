"""One node's accounts of one epoch: what it saw and what became final go in, alarms come out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from node.fairness.arrivals import Arrivals
from node.fairness.bias import HIGHER, Bias
from node.fairness.inclusion import Inclusion
from node.fairness.rarity import SCORE_MAX
from node.fairness.view import (
    FairnessAlarm,
    FairnessView,
    FeedShift,
    LeaderShare,
    MemberShare,
    Pair,
)

AlarmKind = Literal["left_out", "own_left_out", "own_left_out_by_most", "price_bias"]
ALARM_KINDS: Final[tuple[AlarmKind, ...]] = (
    "left_out",
    "own_left_out",
    "own_left_out_by_most",
    "price_bias",
)

FEEDS_SHOWN_MAX = 16
"""Of each leader the feeds with the highest scores are shown, for there may be thousands."""


@dataclass(frozen=True, slots=True)
class Alarm:
    """What is wrong, by index: `side` is 1 for prices too high and -1 for too low."""

    kind: AlarmKind
    leader: int | None = None
    member: int | None = None
    feed: int | None = None
    side: int = 0


@dataclass(frozen=True, slots=True)
class Changes:
    """The alarms that one final block raised, and those that it ended."""

    raised: tuple[Alarm, ...] = ()
    ended: tuple[Alarm, ...] = ()


class FairnessAccounts:
    """Whether each leader takes the members' observations as they come.

    Blocks are accounted when they are final, if they came from their leader while their view was
    on: of what was fetched later nobody here can tell what was in time. Times are this node's
    monotonic clock in milliseconds. `prices_of` returns the prices by feed in an observation's
    body, 0 for a feed that it lacks.
    """

    def __init__(
        self,
        n: int,
        faulty_max: int,
        quorum: int,
        me: int | None,
        *,
        small: bool,
        grace_ms: int,
        prices_of: Callable[[bytes], Sequence[int]],
    ) -> None:
        self._small = small
        self._me = me
        self._prices_of = prices_of
        self._arrivals = Arrivals(quorum, grace_ms)
        self._inclusion = Inclusion(n, me, small=small)
        self._bias = Bias(n, faulty_max)
        self._alarms: frozenset[Alarm] = frozenset()
        self._raised = dict.fromkeys(ALARM_KINDS, 0)
        self._n = n

    # What the node sees.

    def entered(self, view: int, by_timeout: bool, now_ms: int) -> None:
        """Note that this node is in a view from now on."""
        self._arrivals.entered(view, by_timeout, now_ms)

    def gave_up(self, view: int) -> None:
        """Note that this node signed a view's timeout."""
        self._arrivals.gave_up(view)

    def sent(self, view: int) -> None:
        """Note that this node sent its observation for a view."""
        self._arrivals.sent(view)

    def heard(self, view: int, member: int, body: bytes, now_ms: int) -> None:
        """Note a member's genuine observation, this node's own included."""
        if self._small:
            self._arrivals.heard(view, member, body, now_ms)

    def proposed(self, view: int, block_id: bytes, now_ms: int) -> None:
        """Note that a block came from its leader."""
        self._arrivals.proposed(view, block_id, now_ms)

    # What became final.

    def committed(
        self, view: int, block_id: bytes, leader: int, observations: Sequence[tuple[int, bytes]]
    ) -> Changes:
        """Account a final block with these (member, body); return what alarms that changes."""
        in_time = self._arrivals.in_time(view, block_id)
        if in_time is None:
            return Changes()
        included = {member for member, _ in observations}
        missing: list[bytes] = []
        if self._small:
            missing = [body for member, body in in_time.items() if member not in included]
            judged = set(in_time)
        else:
            # Others' observations went to the leader alone.
            me = self._me
            judged = {me} if me is not None and self._arrivals.was_sent(view) else set()
        self._inclusion.account(leader, included, judged)
        if self._small:
            taken = [self._prices_of(body) for _, body in observations] if missing else []
            self._bias.account(leader, taken, [self._prices_of(body) for body in missing])
        return self._compare()

    def _compare(self) -> Changes:
        now = set[Alarm]()
        for leader, member in self._inclusion.left_out:
            kind: AlarmKind = "own_left_out" if member == self._me else "left_out"
            now.add(Alarm(kind, leader, member))
        if self._inclusion.own_left_out:
            now.add(Alarm("own_left_out_by_most", None, self._me))
        for leader, feed, side in self._bias.biased:
            now.add(Alarm("price_bias", leader, None, feed, side))
        before, self._alarms = self._alarms, frozenset(now)
        raised = tuple(sorted(now - before, key=_order))
        for alarm in raised:
            self._raised[alarm.kind] += 1
        return Changes(raised, tuple(sorted(before - now, key=_order)))

    @property
    def alarms(self) -> tuple[Alarm, ...]:
        """The alarms that are on."""
        return tuple(sorted(self._alarms, key=_order))

    # What is shown.

    def view(self, names: Sequence[str], feeds: Sequence[str]) -> FairnessView:
        """Return the accounts with the names of members and feeds."""
        inclusion, everyone = self._inclusion, range(self._n)
        turns = [inclusion.turns(leader) for leader in everyone]
        held = [[inclusion.included(leader, m) for m in everyone] for leader in everyone]
        return FairnessView(
            judges_all=self._small,
            leaders=tuple(LeaderShare(names[i], turns[i], sum(held[i])) for i in everyone),
            members=tuple(
                MemberShare(names[m], sum(turns), sum(row[m] for row in held)) for m in everyone
            ),
            pairs=tuple(
                Pair(
                    names[leader],
                    names[member],
                    held[leader][member],
                    inclusion.omitted(leader, member),
                    inclusion.score(leader, member) * 1_000_000 // SCORE_MAX,
                )
                for leader in everyone
                for member in inclusion.judged
                if member != leader
            ),
            shifts=tuple(
                shift for leader in everyone for shift in self._shifts(leader, names, feeds)
            ),
            alarms=tuple(describe(alarm, names, feeds) for alarm in self.alarms),
            raised=tuple(self._raised.items()),
        )

    def _shifts(self, leader: int, names: Sequence[str], feeds: Sequence[str]) -> list[FeedShift]:
        bias = self._bias
        ordered = sorted(bias.feeds(leader), key=lambda feed: (-bias.score(leader, feed), feed))
        turns = bias.turns(leader)
        return [
            FeedShift(
                names[leader],
                feeds[feed],
                turns,
                bias.total(leader, "choices", feed),
                bias.total(leader, "higher", feed),
                bias.total(leader, "lower", feed),
                bias.total(leader, "shift", feed),
                bias.score(leader, feed) * 1_000_000 // SCORE_MAX,
            )
            for feed in ordered[:FEEDS_SHOWN_MAX]
        ]


def describe(alarm: Alarm, names: Sequence[str], feeds: Sequence[str]) -> FairnessAlarm:
    """Return an alarm in words: what is seen, and what to look at."""
    leader = "" if alarm.leader is None else names[alarm.leader]
    member = "" if alarm.member is None else names[alarm.member]
    feed = "" if alarm.feed is None else feeds[alarm.feed]
    side = "" if not alarm.side else "higher" if alarm.side == HIGHER else "lower"
    match alarm.kind:
        case "left_out":
            text = (
                f"{leader} leaves out observations of {member} that came here in time, and other "
                f"leaders do not: {leader} censors {member}, {member} does not send to {leader}, "
                "or the way between them is slow or cut"
            )
        case "own_left_out":
            text = (
                f"my observations are left out by {leader} and not by others: check this node's "
                f"link to {leader} (`didyma status`, peers); if it is sound, {leader} censors"
            )
        case "own_left_out_by_most":
            text = (
                "my observations are missing in most leaders' blocks: check this node's clock, "
                "then its network and load"
            )
        case "price_bias":
            text = (
                f"{leader} takes such observations that the price of {feed} becomes {side} than "
                "by chance"
            )
    return FairnessAlarm(alarm.kind, leader, member, feed, side, text)


def _order(alarm: Alarm) -> tuple[str, int, int, int, int]:
    def number(index: int | None) -> int:
        return -1 if index is None else index

    place = number(alarm.leader), number(alarm.member), number(alarm.feed)
    return (alarm.kind, *place, alarm.side)


__all__ = ["ALARM_KINDS", "Alarm", "Changes", "FairnessAccounts", "describe"]
