"""Faults on order: what is broken, when, and how often."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

import aiohttp

from node.errors import OperatorError

KILL_EVERY_S = 10.0
RESTART_AFTER_S = 3.0
FROZEN_VENUES = ("binance", "gemini")
_READY_POLL_S = 0.25

FaultKind = Literal["kill-leader", "liar", "dead-exchange"]


class FaultFailed(OperatorError):
    """A fault could not be brought about, so the run would prove nothing."""


@dataclass(frozen=True, slots=True)
class FaultOrder:
    """A fault as it was asked for; `venues` only for a dead exchange."""

    kind: FaultKind
    venues: tuple[str, ...] = ()


def parse_fault(text: str, known_venues: Sequence[str]) -> FaultOrder:
    """Read `kill-leader`, `liar` or `dead-exchange[:venue,…]`; raise `ValueError`."""
    kind, colon, rest = text.partition(":")
    if kind == "dead-exchange":
        venues = tuple(dict.fromkeys(rest.split(","))) if colon else FROZEN_VENUES
        for venue in venues:
            if venue not in known_venues:
                raise ValueError(
                    f"there is no exchange {venue!r}; there are {', '.join(known_venues)}"
                )
        return FaultOrder("dead-exchange", venues)
    if colon or kind not in ("kill-leader", "liar"):
        raise ValueError(
            f"{text!r} is no fault; there are kill-leader, liar and dead-exchange[:venue,venue]"
        )
    return FaultOrder("kill-leader") if kind == "kill-leader" else FaultOrder("liar")


@dataclass(slots=True)
class FaultLog:
    """What was done so far; times are Unix ms."""

    entries: list[tuple[int, str]] = field(default_factory=list)
    injected: int = 0

    def inject(self, text: str) -> None:
        """Note a fault that happens now."""
        self.injected += 1
        self.note(text)

    def note(self, text: str) -> None:
        """Note what else belongs to a fault, such as its end."""
        self.entries.append((time.time_ns() // 1_000_000, text))


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

    async def start(self, member: int) -> None:
        """Start a member's node again."""
        ...

    async def everyone_takes_part(self) -> bool:
        """Tell whether all nodes certify the newest reports."""
        ...


async def kill_leaders(committee: Committee, log: FaultLog) -> None:
    """Kill the leader every ten seconds and restart it three seconds later, until cancelled.

    A kill is put off until the one killed before takes part again: the committee promises to
    stand one crash at a time.
    """
    while True:
        due = time.monotonic() + KILL_EVERY_S
        leader = await committee.leader()
        await committee.kill(leader)
        log.inject(f"killed the leader, {committee.name(leader)}")
        await asyncio.sleep(RESTART_AFTER_S)
        await committee.start(leader)
        log.note(f"restarted {committee.name(leader)}")
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        await _until_everyone_takes_part(committee)


async def _until_everyone_takes_part(committee: Committee) -> None:
    while True:
        if await committee.everyone_takes_part():
            return
        await asyncio.sleep(_READY_POLL_S)


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
