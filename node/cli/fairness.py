"""The fairness accounts as text."""

from collections.abc import Mapping, Sequence

import msgspec
from msgspec import Struct

from node.errors import NodeUnreachable


class _Alarm(Struct, frozen=True):
    kind: str
    text: str


class _Pair(Struct, frozen=True):
    member: str
    omitted: int
    inclusion_ppm: int | None


class _Feed(Struct, frozen=True):
    feed: str
    choices: int
    higher: int
    lower: int
    shift_mean_ppm: float
    score_ppm: int


class _Leader(Struct, frozen=True):
    leader: str
    turns: int
    observations: int
    pairs: tuple[_Pair, ...]
    feeds: tuple[_Feed, ...]


class _Member(Struct, frozen=True):
    member: str
    inclusion_ppm: int | None


class _Fairness(Struct, frozen=True):
    judges_all: bool
    alarms: tuple[_Alarm, ...]
    leaders: tuple[_Leader, ...]
    members: tuple[_Member, ...]


def fairness_lines(document: Mapping[str, object]) -> list[str]:
    """Return the alarms, and tables of what leaders include and of the prices they lead to.

    Raises `NodeUnreachable` for what no node answers.
    """
    try:
        fairness = msgspec.convert(document, _Fairness)
    except msgspec.ValidationError as error:
        raise NodeUnreachable(
            f"the node's accounts of fairness are not readable: {error}"
        ) from None
    lines = ["fairness"]
    lines += [f"  ALARM {alarm.kind}: {alarm.text}" for alarm in fairness.alarms]
    if not fairness.alarms:
        lines.append("  no alarms")
    lines += _inclusion(fairness)
    chosen = [(leader, feed) for leader in fairness.leaders for feed in leader.feeds]
    if chosen:
        lines.append("  prices that depended on whose observations the leader took:")
        rows = [
            [
                leader.leader,
                feed.feed,
                str(feed.choices),
                str(feed.higher),
                str(feed.lower),
                f"{feed.shift_mean_ppm:+.3f} ppm",
                _percent(feed.score_ppm),
            ]
            for leader, feed in chosen
        ]
        head = ["leader", "feed", "choices", "higher", "lower", "mean shift", "alarm at 100 %"]
        lines += _table([head, *rows])
    return ["".join(char for char in line if char.isprintable()) for line in lines]


def _inclusion(fairness: _Fairness) -> list[str]:
    members = [member.member for member in fairness.members]
    if fairness.judges_all:
        rows = [
            [
                leader.leader,
                str(leader.turns),
                *(_of(leader, member) for member in members),
            ]
            for leader in fairness.leaders
        ]
        return [
            "  share of each member's observations in time that a leader included:",
            *_table([["leader", "turns", *members], *rows]),
        ]
    rows = [
        [
            leader.leader,
            str(leader.turns),
            f"{leader.observations / leader.turns:.1f}" if leader.turns else "-",
            next((_percent(pair.inclusion_ppm) for pair in leader.pairs), "-"),
        ]
        for leader in fairness.leaders
    ]
    shares = [[member.member, _percent(member.inclusion_ppm)] for member in fairness.members]
    return [
        "  observations in a leader's blocks, and how many of this node's own it included:",
        *_table([["leader", "turns", "observations", "own"], *rows]),
        "  share of all blocks that hold a member's observation:",
        *_table([["member", "included"], *shares]),
    ]


def _of(leader: _Leader, member: str) -> str:
    return next((_percent(p.inclusion_ppm) for p in leader.pairs if p.member == member), "-")


def _percent(ppm: int | None) -> str:
    return "-" if ppm is None else f"{ppm // 10_000}.{ppm // 1_000 % 10} %"


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "    " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        for row in rows
    ]
