"""The edges that make a node one of the personas."""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random

from aggregation.observation import Entry
from aggregation.price import UINT64_MAX
from node.edges import Edges, Seat
from node.runtime import Events, Network, OwnObservation
from testnet.personas import ailing, impostors, pests, traitors
from testnet.personas.catalogue import PERSONAS
from testnet.personas.turncoat import turncoat
from testnet.personas.wire import Tampering

LIE_FACTOR = 10
DRIFT_BP_PER_SECOND = 5

TAMPERING: dict[str, type[Tampering]] = {
    "equivocator": traitors.Equivocator,
    "withholder": traitors.Withholder,
    "stale": traitors.Stale,
    "overreacher": traitors.Overreacher,
    "wrong-times": traitors.WrongTimes,
    "misinformer": traitors.Misinformer,
    "bad-signer": impostors.BadSigner,
    "misdirector": impostors.Misdirector,
    "garbage": pests.Garbage,
    "replayer": pests.Replayer,
    "future": pests.Future,
    "flood": pests.Flood,
    "slow": ailing.Slow,
}
# Those come last that others soon stop listening to.
TAMPERING["turncoat"] = turncoat(
    [
        *(traitors.Equivocator, traitors.Withholder, traitors.WrongTimes, traitors.Misinformer),
        *(traitors.Stale, ailing.Slow, pests.Future, pests.Flood, pests.Replayer),
        *(impostors.BadSigner, impostors.Misdirector, traitors.Overreacher, pests.Garbage),
    ]
)


class Order:
    """The order to misbehave: a file that exists from some moment on."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._given = False

    def __call__(self) -> bool:
        """Tell whether it was given."""
        self._given = self._given or self._file.exists()
        return self._given


class FalsePrices(Edges):
    """Observes other prices than there are."""

    def __init__(self, misbehaves: Callable[[], bool], falsify: Callable[[int], int]) -> None:
        self._misbehaves = misbehaves
        self._falsify = falsify

    def observation(self, own: OwnObservation) -> OwnObservation:
        """Return the observation with false prices."""
        if not self._misbehaves():
            return own
        entries = tuple(self._false(entry) for entry in own.body.entries)
        return replace(own, body=replace(own.body, entries=entries))

    def _false(self, entry: Entry) -> Entry:
        if not entry.price:
            return entry
        return entry._replace(price=min(max(1, self._falsify(entry.price)), UINT64_MAX))


class Drift:
    """A factor on prices that grows from the first call on."""

    def __init__(self, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._clock_s = clock_s
        self._begun: float | None = None

    def __call__(self, price: int) -> int:
        """Return the price after so much drift."""
        now = self._clock_s()
        self._begun = now if self._begun is None else self._begun
        drifted_bp = round((now - self._begun) * DRIFT_BP_PER_SECOND)
        return price * (10_000 + drifted_bp) // 10_000


class Tampered(Edges):
    """Sends and receives other things than the core believes."""

    signs_beside = True

    def __init__(
        self, kind: type[Tampering], random: Random, misbehaves: Callable[[], bool]
    ) -> None:
        self._kind = kind
        self._random = random
        self._misbehaves = misbehaves

    def network(self, seat: Seat, network: Network) -> Network:
        """Return the network with a persona in between."""
        return self._kind(seat, network, self._random, self._misbehaves)


class Doomed(Edges):
    """Dies between two steps."""

    def __init__(self, random: Random, misbehaves: Callable[[], bool]) -> None:
        self._random = random
        self._doom = ailing.Doom(random, misbehaves)

    def network(self, seat: Seat, network: Network) -> Network:
        """Return a network in the midst of which the process may die."""
        return ailing.DoomedNetwork(network, self._doom)

    def events(self, events: Events) -> Events:
        """Return events at which the process may die."""
        return ailing.doomed(events, self._doom, self._random)


def edges_of(persona: str, seed: str, misbehaves: Callable[[], bool]) -> Edges:
    """Return the edges of a persona; a skewed clock is set wrong at once."""
    assert persona in PERSONAS
    random = Random(f"{persona} {seed}")
    match persona:
        case "liar":
            return FalsePrices(misbehaves, lambda price: price * LIE_FACTOR)
        case "drifter":
            return FalsePrices(misbehaves, Drift())
        case "clock-skewed":
            ailing.set_clock_wrong(seed, misbehaves)
            return Edges()
        case "crasher":
            return Doomed(random, misbehaves)
        case _:
            return Tampered(TAMPERING[persona], random, misbehaves)
