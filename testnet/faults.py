"""Faults on order: what is broken, when, and how often."""

import asyncio
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

import aiohttp

from node.errors import OperatorError
from testnet.personas.catalogue import PERSONAS

KILL_EVERY_S = 10.0
RESTART_AFTER_S = 3.0
FROZEN_VENUES = ("binance", "gemini")
_READY_POLL_S = 0.25
_CRASHED_S = 1.0

FaultKind = Literal["kill-leader", "chaos", "partitions", "dead-exchange", "persona"]

_PLAIN: dict[str, FaultKind] = {
    "kill-leader": "kill-leader",
    "chaos": "chaos",
    "partitions": "partitions",
}

FAULTS: dict[str, str] = {
    "kill-leader": "kills the leader every ten seconds",
    "chaos": "kills, freezes, restarts up to f nodes at a time",
    "partitions": "parts the network and heals it, again and again",
    "dead-exchange[:VENUE,…]": "Binance and Gemini freeze, or those named",
}
"""All faults but the personas: how each is written, and what it does."""


class FaultFailed(OperatorError):
    """A fault could not be brought about, so the run would prove nothing."""


@dataclass(frozen=True, slots=True)
class FaultOrder:
    """A fault as it was asked for: `venues` of a dead exchange, how many members are a persona."""

    kind: FaultKind
    venues: tuple[str, ...] = ()
    persona: str = ""
    count: int = 1


def parse_fault(text: str, known_venues: Sequence[str]) -> FaultOrder:
    """Read a fault or `PERSONA[:count]`; raise `ValueError`, which names all there are."""
    kind, colon, rest = text.partition(":")
    if kind == "dead-exchange":
        venues = tuple(dict.fromkeys(rest.split(","))) if colon else FROZEN_VENUES
        for venue in venues:
            if venue not in known_venues:
                raise ValueError(
                    f"there is no exchange {venue!r}; there are {', '.join(known_venues)}"
                )
        return FaultOrder("dead-exchange", venues)
    if kind in PERSONAS:
        if not colon:
            return FaultOrder("persona", persona=kind)
        if not (rest.isascii() and rest.isdigit() and len(rest) < 4 and int(rest) > 0):
            raise ValueError(f"{text!r}: how many members are a {kind}? Such as {kind}:2")
        return FaultOrder("persona", persona=kind, count=int(rest))
    if kind not in _PLAIN:
        raise ValueError(
            f"there is no fault {text!r}; there are {', '.join(FAULTS)} and, each with [:COUNT], "
            f"{', '.join(PERSONAS)}"
        )
    if colon:
        raise ValueError(f"{kind} takes nothing after a colon; there is no fault {text!r}")
    return FaultOrder(_PLAIN[kind])


@dataclass(slots=True)
class Outage:
    """A member that was taken away: when (Unix ms), how many were away then, when it was back."""

    member: str
    begun_ms: int
    away: int
    over_ms: int | None = None
    """When it was let go on or started again."""
    back_ms: int | None = None
    """When it was seen to certify again."""


@dataclass(slots=True)
class FaultLog:
    """What was done so far; times are Unix ms."""

    entries: list[tuple[int, str]] = field(default_factory=list)
    injected: int = 0
    outages: list[Outage] = field(default_factory=list)

    def inject(self, text: str) -> None:
        """Note a fault that happens now."""
        self.injected += 1
        self.note(text)

    def note(self, text: str) -> None:
        """Note what else belongs to a fault, such as its end."""
        self.entries.append((_now_ms(), text))

    def take_away(self, member: str, text: str) -> Outage:
        """Note that a member is taken away now."""
        outage = Outage(member, _now_ms(), 1 + sum(o.back_ms is None for o in self.outages))
        self.outages.append(outage)
        self.inject(text)
        return outage

    def give_back(self, outage: Outage, text: str) -> None:
        """Note that a member may go on from now."""
        outage.over_ms = _now_ms()
        self.note(text)

    def is_back(self, outage: Outage) -> None:
        """Note that a member certifies again."""
        outage.back_ms = _now_ms()


class Committee(Protocol):
    """The nodes, as far as faults need them."""

    async def leader(self) -> int:
        """Return the member that leads now."""
        ...

    def name(self, member: int) -> str:
        """Return a member's name."""
        ...

    async def kill(self, member: int) -> None:
        """SIGKILL a member's node and wait until it is gone."""
        ...

    async def stop(self, member: int) -> None:
        """Ask a member's node to stop and wait until it is gone."""
        ...

    async def start(self, member: int) -> None:
        """Start a member's node again."""
        ...

    def freeze(self, member: int) -> None:
        """SIGSTOP a member's node."""
        ...

    def thaw(self, member: int) -> None:
        """SIGCONT a member's node."""
        ...

    async def killed_itself(self, member: int) -> bool:
        """Wait until a member's node is gone; tell whether by its own SIGKILL."""
        ...

    def part(self, parts: tuple[tuple[int, ...], ...]) -> None:
        """Let members hear those of their own part only; all, without parts."""
        ...

    def takes_part(self, member: int) -> bool:
        """Tell whether a member certifies the newest reports."""
        ...

    @property
    def plain(self) -> Sequence[int]:
        """The members without a persona."""
        ...


async def kill_leaders(committee: Committee, log: FaultLog) -> None:
    """Kill the leader every ten seconds and restart it three seconds later, until cancelled.

    A kill is put off until the one killed before takes part again: the committee promises to
    stand one crash at a time.
    """
    while True:
        due = time.monotonic() + KILL_EVERY_S
        leader = await committee.leader()
        name = committee.name(leader)
        await committee.kill(leader)
        outage = log.take_away(name, f"killed the leader, {name}")
        await asyncio.sleep(RESTART_AFTER_S)
        await committee.start(leader)
        log.give_back(outage, f"restarted {name}")
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        await until_back(committee, committee.plain)
        log.is_back(outage)


async def until_back(committee: Committee, members: Iterable[int]) -> None:
    """Wait until members certify the newest reports."""
    for member in members:
        while True:
            if committee.takes_part(member):
                break
            await asyncio.sleep(_READY_POLL_S)


async def restart_whenever_crashed(committee: Committee, member: int, log: FaultLog) -> None:
    """Start a member again each time it has killed itself, until cancelled."""
    while await committee.killed_itself(member):
        name = committee.name(member)
        outage = log.take_away(name, f"{name} killed itself")
        await asyncio.sleep(_CRASHED_S)
        await committee.start(member)
        log.give_back(outage, f"restarted {name}")
        log.is_back(outage)


async def freeze_exchanges(control_url: str, venues: Sequence[str], log: FaultLog) -> None:
    """Freeze exchanges for good; raise `FaultFailed`."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session:
        for venue in venues:
            order = {"venue": venue, "fault": "freeze"}
            try:
                async with session.post(control_url, json=order) as response:
                    if response.status != 200:
                        raise FaultFailed(f"cannot freeze {venue}: {await response.text()}")
            except (aiohttp.ClientError, TimeoutError) as error:
                raise FaultFailed(f"cannot freeze {venue}: {error}") from None
            log.inject(f"froze {venue}")


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
