"""Faults on order: what is broken, when, and how often."""

import asyncio
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import aiohttp

from node.errors import OperatorError
from testnet.market import FACTOR_MAX, Depeg
from testnet.personas.catalogue import PERSONAS

KILL_EVERY_S = 10.0
RESTART_AFTER_S = 3.0
FROZEN_VENUES = ("binance", "gemini")
_READY_POLL_S = 0.25
_CRASHED_S = 1.0

LIE_FACTOR = 1.1
LYING_VENUE = "kraken"
DEPEG_ASSET, DEPEG_FACTOR, DEPEG_OVER_MS = "USDT", 0.5, 5_000

FaultKind = Literal[
    "kill-leader", "chaos", "partitions", "dead-exchange", "lying-exchange", "depeg", "persona"
]

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
    "lying-exchange[:VENUE]": "Kraken, or the one named, is 10 % too high",
    "depeg[:ASSET]": "USDT, or the asset named, falls to half",
}
"""All faults but the personas: how each is written, and what it does."""


class FaultFailed(OperatorError):
    """A fault could not be brought about, so the run would prove nothing."""


@dataclass(frozen=True, slots=True)
class FaultOrder:
    """A fault as it was asked for: `venues` of a dead exchange, how many members are a persona.

    `factor` is that of a lying exchange's prices, or of what an `asset` is worth in the end.
    """

    kind: FaultKind
    venues: tuple[str, ...] = ()
    persona: str = ""
    count: int = 1
    factor: float = 1.0
    asset: str = ""


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
    if kind == "lying-exchange":
        venue, factor = _with_factor(text, rest, LYING_VENUE, LIE_FACTOR)
        if venue not in known_venues:
            raise ValueError(f"there is no exchange {venue!r}; there are {', '.join(known_venues)}")
        if factor == 1.0:
            raise ValueError(f"{text!r}: a factor of 1 is no lie; give another, such as 1.1")
        return FaultOrder("lying-exchange", (venue,), factor=factor)
    if kind == "depeg":
        asset, factor = _with_factor(text, rest, DEPEG_ASSET, DEPEG_FACTOR)
        Depeg(asset, factor, 0)
        return FaultOrder("depeg", asset=asset, factor=factor)
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


def _with_factor(text: str, rest: str, usual: str, usual_factor: float) -> tuple[str, float]:
    """Read what stands behind a fault's name: NAME:FACTOR, NAME, or nothing."""
    name, colon, factor_text = rest.partition(":")
    try:
        factor = float(factor_text) if colon else usual_factor
    except ValueError:
        factor = 0.0
    if not 0.0 < factor <= FACTOR_MAX:
        raise ValueError(f"{text!r}: a factor is a number above 0, at most {FACTOR_MAX:g}")
    return name or usual, factor


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


async def break_exchanges(
    control_url: str, orders: Iterable[FaultOrder], log: FaultLog
) -> tuple[Depeg, ...]:
    """Let exchanges freeze or lie for good, and assets lose their worth; raise `FaultFailed`.

    Returns what lost its worth, and when that began.
    """
    depegs = []
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session:
        for order in orders:
            if order.kind == "depeg":
                fall = {"asset": order.asset, "factor": order.factor, "over_ms": DEPEG_OVER_MS}
                url = control_url.removesuffix("/control") + "/depeg"
                begun = await _order(session, url, fall)
                depegs.append(Depeg(order.asset, order.factor, begun["at_ms"], DEPEG_OVER_MS))
                log.inject(f"{order.asset} begins to fall to {order.factor:g} of its worth")
            for venue in order.venues:
                said: dict[str, object] = {"venue": venue, "fault": "freeze"}
                done = f"froze {venue}"
                if order.kind == "lying-exchange":
                    said = {"venue": venue, "fault": "lie", "factor": order.factor}
                    done = f"{venue} begins to lie by a factor of {order.factor:g}"
                await _order(session, control_url, said)
                log.inject(done)
    return tuple(depegs)


async def _order(
    session: aiohttp.ClientSession, url: str, order: dict[str, object]
) -> dict[str, Any]:
    try:
        async with session.post(url, json=order) as response:
            if response.status != 200:
                raise FaultFailed(f"cannot have {order}: {await response.text()}")
            answer: dict[str, Any] = await response.json()
            return answer
    except (aiohttp.ClientError, TimeoutError) as error:
        raise FaultFailed(f"cannot have {order}: {error}") from None


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
